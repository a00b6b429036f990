"""How each fault is done to the loop, and undone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from fault_relay import Disturbance
from fault_scene import Scene
from fault_watch import Words

STORM_S, STORM_GOALS = 3.0, 1000
FULL_DISK_KB = 200
SPIN = "while True: pass"
COUNT = """
from pathlib import Path
from sgp_ros.bags import Bag
with Bag(Path("{}/bag")) as bag:
    print("->", sum(1 for _ in bag.messages(set(bag.topics))), "messages can be read")
"""


class Action(Protocol):
    """A fault and its end."""

    def do(self, scene: Scene) -> list[Words]:
        """Returns what a process that is not watched said."""

    def undo(self, scene: Scene) -> None:
        """The world is as it was."""


@dataclass(frozen=True)
class Kill:
    """SIGKILL, and a restart."""

    node: str

    def do(self, scene: Scene) -> list[Words]:
        scene.kill(self.node)
        return []

    def undo(self, scene: Scene) -> None:
        scene.start(self.node)


@dataclass(frozen=True)
class Disturb:
    """What the relay does."""

    disturbance: Disturbance

    def do(self, scene: Scene) -> list[Words]:
        scene.disturb(self.disturbance)
        return []

    def undo(self, scene: Scene) -> None:
        scene.disturb(None)


@dataclass(frozen=True)
class Starve:
    """Processes that want every core, so many for each."""

    per_core: int
    duration_s: float

    def do(self, scene: Scene) -> list[Words]:
        count = self.per_core * (os.cpu_count() or 1)
        spinners = [scene.spawn(sys.executable, "-c", SPIN) for _ in range(count)]
        try:
            scene.observe(self.duration_s)
        finally:
            for spinner in spinners:
                spinner.kill()
                spinner.communicate()
        return []

    def undo(self, scene: Scene) -> None:
        """They have ended."""


COUNT = """
import sys
from pathlib import Path
from sgp_ros.bags import Bag
with Bag(Path(sys.argv[1])) as bag:
    print("->", sum(1 for _ in bag.raw(set(bag.topics))), "messages")
"""


class FullDisk:
    """`sgp record` with little room: on a file system of its own if one can be mounted, else below a size limit."""

    def do(self, scene: Scene) -> list[Words]:
        folder = scene.folder / "full_disk"
        folder.mkdir(exist_ok=True)
        record = f"{sys.executable} -c 'from sgp_ros.cli import main; main()' record --out {folder}/bag --duration 30"
        mount = f"mount -t tmpfs -o size={FULL_DISK_KB}k none {folder}"
        read = f"{sys.executable} -c '{COUNT}' {folder}/bag"
        isolate = ["unshare", "--mount", "--map-root-user"]
        if subprocess.run([*isolate, "mount", "-t", "tmpfs", "none", str(folder)], capture_output=True).returncode == 0:
            process = scene.spawn(*isolate, "sh", "-c", f"{mount} && {record}; {read}")
        else:
            process = scene.spawn("bash", "-c", f"(ulimit -f {FULL_DISK_KB}; {record}); {read}")
        while process.poll() is None:
            scene.observe(0.1)
        output, _ = process.communicate()
        words = " ".join(output.split()).rpartition("error: ")[2]
        return [Words(time.time(), "sgp record", "", words, 2)]

    def undo(self, scene: Scene) -> None:
        shutil.rmtree(scene.folder / "full_disk")


class CorruptBundle:
    """mpc_node is started with a bundle of which one byte has changed."""

    def do(self, scene: Scene) -> list[Words]:
        path = scene.folder / "corrupt"
        shutil.copytree(scene.bundle, path)
        file = path / "dynamics.pt"
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        scene.kill("mpc_node")
        scene.start("mpc_node", bundle=path)
        while scene.graph.exit_code("mpc_node") is None:
            scene.observe(0.1)
        code, _ = scene.graph.stop("mpc_node")
        scene.running.discard("mpc_node")
        words = " ".join(scene.graph.output("mpc_node").split())
        return [Words(time.time(), f"mpc_node (exit code {code})", "", words, 2)]

    def undo(self, scene: Scene) -> None:
        shutil.rmtree(scene.folder / "corrupt")
        scene.start("mpc_node")


class ParameterStorm:
    """Settings changed as fast as the nodes answer: good ones, and every second one bad."""

    def do(self, scene: Scene) -> list[Words]:
        random, until_s = np.random.default_rng(0), time.monotonic() + STORM_S
        sent = taken = 0
        while time.monotonic() < until_s:
            good, node = bool(random.integers(2)), ("mpc_node", "pusher_node")[sent % 2]
            if node == "mpc_node":
                values = {"beta": float(random.uniform(0.0005, 0.002))} if good else {"horizon": 0}
            else:
                values = {"step_timeout_s": float(random.uniform(0.5, 0.7))} if good else {"step_limit_m": 0.4}
            taken += (accepted := scene.graph.set_parameters(node, **values).successful)
            assert accepted == good, f"{node} {values}"
            sent += 1
            scene.watch.poll()
        words = f"{sent} settings in {STORM_S:g} s, {taken} taken, {sent - taken} refused with the reason"
        return [Words(time.time(), "answers", "", words, 1)]

    def undo(self, scene: Scene) -> None:
        assert scene.graph.set_parameters("mpc_node", beta=0.001).successful
        assert scene.graph.set_parameters("pusher_node", step_timeout_s=0.6).successful


class GoalStorm:
    """A thousand goals in a second, the one that holds last."""

    def do(self, scene: Scene) -> list[Words]:
        random, last = np.random.default_rng(0), scene.goal_pose
        assert last is not None, "goals were given before"
        began_s = time.monotonic()
        for count in range(STORM_GOALS - 1):
            scene.give_goal((*(np.array(last[:2]) + random.uniform(-0.1, 0.1, 2)), random.uniform(-0.5, 0.5)))
            left_s = began_s + (count + 1) / STORM_GOALS - time.monotonic()
            if left_s > 0.0:
                time.sleep(left_s)
        scene.give_goal(last)
        words = f"{STORM_GOALS} goals in {time.monotonic() - began_s:.2f} s"
        return [Words(time.time(), "the giver of goals", "", words, 1)]

    def undo(self, scene: Scene) -> None:
        """The last one counts."""
