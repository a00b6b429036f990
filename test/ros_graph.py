"""Real node processes in a ROS domain of their own, and a probe node that talks to them from the test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import DescribeParameters, SetParametersAtomically
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile

from sgp_ros.processes import free_domain

ROOT = Path(__file__).resolve().parents[1]
END_S = 5.0
NO_NAMES: Mapping[str, str] = {}
TIMEOUT_S = 40.0  # a busy machine takes seconds to import torch, and discovery may take seconds more


class Graph:
    """Start nodes, publish, record and wait for things to happen; everything ends with the `with` block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        domain = free_domain()
        settings = {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
            "FASTDDS_BUILTIN_TRANSPORTS": "UDPv4",
            "ROS_LOG_DIR": str(folder),
            "ROS_PYTHON_CHECK_FIELDS": "1",
        }
        self._saved = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)  # the probe lives in this process
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        self.environment = {**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._changed = threading.Condition()
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.probe = rclpy.create_node("probe", namespace="sgp", context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.probe)
        self._thread = threading.Thread(target=self._spin, name="probe")
        self._ending = False
        self._thread.start()

    def _spin(self) -> None:
        while not self._ending:
            self._executor.spin_once(timeout_sec=0.1)
            with self._changed:
                self._changed.notify_all()

    def __enter__(self) -> Graph:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Everybody else first, and in good order: Fast DDS now and then crashes when a participant is removed while
        # others still send to it, and one that is killed while it holds a lock in shared memory takes others with it.
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
        self._ending = True
        self._thread.join()
        self._executor.shutdown()
        self.probe.destroy_node()
        self.context.try_shutdown()
        for process in self._processes.values():
            process.kill()
            process.wait()
        for name, old in self._saved.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old

    # --- processes

    def start(self, node: str, *, label: str = "", remap: Mapping[str, str] = NO_NAMES, **parameters: object) -> None:
        """Start `python -m sgp_ros.<node>` with parameters, and with other names of topics."""
        single = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        names = [word for old, new in remap.items() for word in ("-r", f"{old}:={new}")]
        command = [sys.executable, "-P", "-m", f"sgp_ros.{node}", "--ros-args", "-r", "__ns:=/sgp", *names, *single]
        self.run(label or node, *command)

    def run(self, label: str, *command: str) -> None:
        """Start any command in the graph's environment."""
        with self._log(label).open("wb") as log:
            # A session of its own each, as `sgp demo` does it: a scheduler that shares by session gives each its part.
            self._processes[label] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def _log(self, label: str) -> Path:
        return self._folder / f"{label}.log"

    def exit_code(self, label: str) -> int | None:
        """Of a process; None while it runs."""
        return self._processes[label].poll()

    def pid(self, label: str) -> int:
        """Of a process."""
        return self._processes[label].pid

    def output(self, label: str) -> str:
        """What a process has written so far."""
        return self._log(label).read_text(errors="replace")

    def stop(self, label: str, *signals: signal.Signals) -> tuple[int, float]:
        """Send signals, one right after the other; exit code and time it took [s]."""
        process = self._processes[label]
        started_s = time.monotonic()
        for number in signals:
            process.send_signal(number)
        code = process.wait(TIMEOUT_S)
        del self._processes[label]  # `wait` looks for those that ended by themselves
        return code, time.monotonic() - started_s

    def send(self, label: str, number: signal.Signals) -> None:
        """Send one signal, and do not wait."""
        self._processes[label].send_signal(number)

    def wait_exit(self, label: str) -> int:
        """Exit code of a process that ends by itself."""
        return self._processes[label].wait(TIMEOUT_S)

    # --- messages

    def record(self, kind: type, topic: str, qos: QoSProfile) -> list[Any]:
        """A list that grows with each message."""
        messages: list[Any] = []
        self.probe.create_subscription(kind, topic, messages.append, qos)
        return messages

    def wait(self, what: str, condition: Callable[[], Any], timeout_s: float = TIMEOUT_S) -> Any:
        """Wait until the condition gives something true, return it; asked whenever the probe did something."""
        deadline_s = time.monotonic() + timeout_s
        while not (found := condition()):
            dead = [label for label, process in self._processes.items() if process.poll() not in (None, 0)]
            assert not dead, f"while waiting for {what}, {dead[0]} ended:\n{self.output(dead[0])}"
            left_s = deadline_s - time.monotonic()
            assert left_s > 0.0, f"no {what} within {timeout_s} s\n" + "\n".join(
                self.output(p) for p in self._processes
            )
            with self._changed:
                self._changed.wait(left_s)
        return found

    def never(self, condition: Callable[[], Any], duration_s: float) -> None:
        """The condition stays false for a time."""
        deadline_s = time.monotonic() + duration_s
        while (left_s := deadline_s - time.monotonic()) > 0.0:
            assert not condition()
            with self._changed:
                self._changed.wait(left_s)

    # --- services

    def call(self, kind: type, name: str, request: Any) -> Any:
        """Call a service and return its response."""
        client = self.probe.create_client(kind, name)
        self.wait(f"service {name}", client.service_is_ready)
        future = client.call_async(request)
        self.wait(f"answer of {name}", future.done)
        self.probe.destroy_client(client)
        return future.result()

    def set_parameters(self, node: str, **values: Any) -> SetParametersResult:
        """Set parameters together."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        request = SetParametersAtomically.Request(parameters=parameters)
        return self.call(SetParametersAtomically, f"{node}/set_parameters_atomically", request).result

    def describe(self, node: str, *names: str) -> list[Any]:
        """Descriptors of parameters."""
        request = DescribeParameters.Request(names=list(names))
        return list(self.call(DescribeParameters, f"{node}/describe_parameters", request).descriptors)
