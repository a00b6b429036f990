"""Node executables as child processes: started together, watched, and gone in any case. Needs no ROS itself."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

import sgp_ros

# Nodes end within 2 s of SIGINT; a node that does not is told more firmly, like `ros2 launch` does.
INT_WAIT_S, TERM_WAIT_S = 4.0, 2.0
TAIL_LINES = 15
# Domains whose ports lie below the ports that the kernel gives out by itself.
DOMAINS = range(1, 102)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec there must be no loading


class LoopError(RuntimeError):
    """The loop of nodes broke or never closed; the text says which part is to blame and shows its last words."""


def ros_environment(log_dir: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the processes of one closed loop on this machine share; what the user has set stays.

    Args:
        log_dir: where ROS writes its own logs.
        environment: where to start from.
    """
    defaults = {
        "ROS_DOMAIN_ID": environment.get("ROS_DOMAIN_ID") or str(free_domain()),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        # Without shared memory, a killed process leaves nothing behind that could block the next one.
        "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
        "ROS_LOG_DIR": str(log_dir),
        # The ROS wheels put their ament index into the environment, but nothing tells ROS so.
        "AMENT_PREFIX_PATH": sys.prefix,
    }
    # What is set to nothing is not set.
    return {**environment, **{name: environment.get(name) or value for name, value in defaults.items()}}


def free_domain() -> int:
    """A ROS domain of this machine that nobody uses; it stays reserved until this process ends.

    Taken are domains whose first port is in use, and those that another caller has reserved: its nodes may
    still be starting, and not hold their ports yet.
    """
    first = os.getpid() % len(DOMAINS)
    for domain in (*DOMAINS[first:], *DOMAINS[:first]):
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            reservation.bind(f"\0ros-domain-{domain}")  # Linux: an abstract name, gone with the process
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(("", 7400 + 250 * domain + 10))
        except OSError:
            reservation.close()
            continue
        atexit.register(reservation.close)  # open until then: that is what reserves
        return domain
    raise LoopError(f"all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are in use on this machine; set ROS_DOMAIN_ID")


def _die_with_parent() -> None:
    """Linux sends SIGTERM to the child when its parent dies, even by SIGKILL."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Clean-up that a second Ctrl-C does not cut short; only the main thread can, and need, ask for it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class NodeProcesses:
    """The nodes of a closed loop, each a process in its own session: a Ctrl-C in the terminal reaches only this one.

    Args:
        log_dir: gets `<node>.log` with each node's stdout and stderr.
        environment: of every process.
        namespace: of every node, without slashes.
    """

    def __init__(self, log_dir: Path, environment: Mapping[str, str], namespace: str) -> None:
        self._log_dir, self._namespace = log_dir, namespace
        # The nodes run the very code that runs here, whatever the working directory holds.
        paths = [str(Path(sgp_ros.__file__).parents[1]), environment.get("PYTHONPATH", "")]
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONUNBUFFERED": "1"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        log_dir.mkdir(parents=True, exist_ok=True)

    def start(self, node: str, params_file: Path, parameters: Mapping[str, object]) -> None:
        """Start `python -m sgp_ros.<node>` with a parameter file and single parameters on top of it."""
        single = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        remap = ["-r", f"__ns:=/{self._namespace}"]
        command = [
            sys.executable,
            "-P",
            "-m",
            f"sgp_ros.{node}",
            "--ros-args",
            *remap,
            "--params-file",
            str(params_file),
        ]
        with self.log(node).open("wb") as log:
            self._processes[node] = subprocess.Popen(
                [*command, *single],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # one C call
            )

    def log(self, node: str) -> Path:
        """The file with a node's output."""
        return self._log_dir / f"{node}.log"

    def tail(self, node: str) -> str:
        """The last lines of a node's output."""
        lines = self.log(node).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:]) or "(no output)"

    def pids(self) -> dict[str, int]:
        """Process number of each node."""
        return {node: process.pid for node, process in self._processes.items()}

    def ended(self) -> dict[str, int]:
        """Exit codes of the nodes that are not running any more."""
        codes = {node: process.poll() for node, process in self._processes.items()}
        return {node: code for node, code in codes.items() if code is not None}

    def stop(self) -> dict[str, int]:
        """End all nodes: SIGINT, then SIGTERM, then SIGKILL for those that stay. Returns their exit codes."""
        with undisturbed():
            for number, wait_s in ((signal.SIGINT, INT_WAIT_S), (signal.SIGTERM, TERM_WAIT_S), (signal.SIGKILL, None)):
                running = [process for process in self._processes.values() if process.poll() is None]
                for process in running:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
                _wait(running, wait_s)
        return self.ended()

    def __enter__(self) -> NodeProcesses:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _wait(processes: Sequence[subprocess.Popen[bytes]], limit_s: float | None) -> None:
    """Until all have ended; at most `limit_s` [s] in all."""
    deadline_s = None if limit_s is None else time.monotonic() + limit_s
    for process in processes:
        left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(left_s)
