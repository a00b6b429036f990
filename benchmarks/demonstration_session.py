"""Demonstrations through the nodes, recorded as on a rig: a bag to make a model of.

python benchmarks/demonstration_session.py --demonstrations 100 --out out/session
sgp dataset from-bag out/session/bag -o out/session/data.npz

rig_sim_node, mocap_node and pusher_node run in real time, and so does `sgp record`. In place of a person at
teleop_node's keys stands the one of `sgp collect`, with starts, goals and play drawn as there: it looks at `state`,
says `step` and `demonstration`, all of its steps pass the limits of pusher_node, and between two demonstrations a
hand takes the box away and puts it down again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rclpy
import typer
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped, Vector3Stamped
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from sgp_core.config import PusherConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path
from sgp_core.sim import collect
from sgp_core.sim.demonstrator import Pose
from sgp_core.sim.rig import clearance
from sgp_core.types import Reason, State
from sgp_ros import convert, messages
from sgp_ros.processes import NodeProcesses, ros_environment
from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SENSOR_QOS

NODES = ("rig_sim_node", "mocap_node", "pusher_node")
ASIDE: Pose = (0.60, 0.70, 0.0)  # where the hand holds the box meanwhile
LIMIT_S, SETTLE_S, AT_M, TRIES = 120.0, 0.15, 0.0005, 40
CLEAR_M = 0.0002  # between pusher and box at the start: play begins at the rim
# A busy machine lets the nodes wait, and here nobody is hurt.
PATIENT: dict[str, object] = {"pusher_timeout_s": 1.0, "tracking_limit_m": 0.08}
BORDER_M = 0.005  # a person keeps so far from the border of the workspace


class TroubleError(RuntimeError):
    """This demonstration cannot go on."""


class Hand:
    """A demonstrator and the hand that moves the box, in the graph."""

    def __init__(self, layout: MarkerLayout, limits: PusherConfig) -> None:
        self._layout, self._limits = layout, limits
        self.node = rclpy.create_node("demonstrator", namespace="sgp")
        self._state: State | None = None
        self._condition: Any = None
        self._step = self.node.create_publisher(Vector3Stamped, "step", RELIABLE_QOS)
        self._mark = self.node.create_publisher(Header, "demonstration", REPORT_QOS)
        self._put = self.node.create_publisher(PoseStamped, "rig/put_box", RELIABLE_QOS)
        self._clear = self.node.create_client(Trigger, "pusher_node/clear_fault")
        self.node.create_subscription(PoseArray, "state", self._on_state, SENSOR_QOS)
        self.node.create_subscription(DiagnosticArray, "pusher_state", self._on_pusher, REPORT_QOS)

    def _on_state(self, message: PoseArray) -> None:
        found = convert.state_from_msg(message, self._layout)
        self._state = found if isinstance(found, State) else self._state

    def _on_pusher(self, message: DiagnosticArray) -> None:
        self._condition = convert.pusher_report_from_msg(message).condition

    def now_s(self) -> float:
        return convert.clock_seconds(self.node.get_clock().now().nanoseconds)

    def until(self, what: str, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + LIMIT_S
        while not done():
            if time.monotonic() > deadline_s:
                raise TroubleError(f"no {what} within {LIMIT_S:g} s; pusher_node: {self._condition}")
            rclpy.spin_once(self.node, timeout_sec=0.02)

    def pause(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        self.until("end of the pause", lambda: time.monotonic() >= end_s)

    def until_ready(self) -> None:
        self.until("state", lambda: self._state is not None)
        self.until("pusher", lambda: self._condition is not None and self._condition.reason == Reason.RUNNING)

    @property
    def pusher_m(self) -> np.ndarray:
        assert self._state is not None, "until_ready comes first"
        return self._state.x[-2:]

    @property
    def box(self) -> Pose:
        assert self._state is not None, "until_ready comes first"
        return self._layout.pose_of(self._layout.markers(self._state.x))

    def push(self, u: np.ndarray) -> None:
        """One step, as far as the limits go, until its time is over."""
        low, high = np.reshape(self._limits.workspace_m, (2, 2)).T
        u = np.clip(self.pusher_m + u, low + BORDER_M, high - BORDER_M) - self.pusher_m
        u = u * min(1.0, self._limits.step_limit_m / max(float(np.abs(u).max()), 1e-9))
        stamp_s = self.now_s()
        self._step.publish(messages.step_to_msg(stamp_s, u))
        self.until("end of the step", lambda: self.now_s() >= stamp_s + self._limits.step_duration_s)
        if self._condition.reason != Reason.RUNNING:
            raise TroubleError(f"{self._condition.reason}: {self._condition.text}")

    def mark(self, word: str) -> None:
        self._mark.publish(messages.header(self.now_s(), word))

    def put(self, pose: Pose) -> None:
        """The box is at a pose, and seen there."""
        self._put.publish(messages.pose_to_msg(self.now_s(), *pose))
        wanted = self._layout.markers_at(*pose)
        near_m = 0.005
        self.until("box", lambda: np.abs(self._layout.markers_at(*self.box) - wanted).max() < near_m)

    def prepare(self, box: Pose, pusher_m: np.ndarray) -> None:
        """Box and pusher at the start of a demonstration."""
        self.put(ASIDE)
        for _ in range(TRIES):
            way = pusher_m - self.pusher_m
            if np.linalg.norm(way) < AT_M:
                break
            self.push(way)
        if clearance(self._layout, box, self.pusher_m) < CLEAR_M:
            raise TroubleError("the pusher stands where the box should be")
        self.put(box)

    def demonstrate(self, config: collect.CollectConfig, number: int) -> int:
        """One demonstration, towards a goal or at play; returns its steps."""
        random = np.random.default_rng((config.seed, number))
        playing, box, pusher_m = collect.begin(self._layout, config, random)
        self.prepare(box, pusher_m)
        goal = None if playing else collect.goal(config, random)
        person = collect.Person(self._layout, config, goal, self.box, self.pusher_m, random)
        self.mark("start")
        steps = 0
        for _ in range(person.longest):
            wish = person.step(self.box, self.pusher_m)
            self.push(np.zeros(2) if wish is None else wish)
            steps += 1
            if wish is None:
                break
        self.pause(SETTLE_S)
        self.mark("stop")
        return steps

    def recover(self) -> None:
        """After a demonstration that went wrong: it does not count, and the fault is cleared."""
        self.mark("discard")
        deadline_s = time.monotonic() + LIMIT_S
        while self._condition.reason != Reason.RUNNING:  # refused as long as the pusher is not seen
            if time.monotonic() > deadline_s:
                raise InputError(f"pusher_node stays as it is: {self._condition}")
            future = self._clear.call_async(Trigger.Request())
            self.until("answer of clear_fault", future.done)
            self.pause(SETTLE_S)


def main(
    demonstrations: int = 100,
    seed: int = 0,
    out: Path = Path("out/session"),
    layout: Path | None = None,
    params_file: Path | None = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="as of `sgp collect`")] = None,
) -> None:
    box = MarkerLayout.load(layout or share_path("config", "layout.yaml"))
    pairs = dict(item.split("=", 1) for item in settings or [])
    config = collect.CollectConfig().replaced(demonstrations=demonstrations, seed=seed, **pairs)
    if out.exists():
        raise InputError(f"{out} exists already; choose another --out")
    environment = ros_environment(out / "log" / "ros")
    os.environ.update(environment)
    rclpy.init()
    began_s, steps, kept = time.monotonic(), 0, 0
    parameters: dict[str, object] = {"layout_file": layout.absolute()} if layout else {}
    with NodeProcesses(out / "log", environment, "sgp") as nodes, (out / "log" / "record.txt").open("w") as log:
        for name in NODES:
            given = PATIENT if name == "pusher_node" else parameters
            nodes.start(name, params_file or share_path("config", "sim.yaml"), given)
        hand = Hand(box, PusherConfig())
        hand.until_ready()
        sgp = [sys.executable, "-c", "from sgp_ros.cli import main; main()"]
        recorder = subprocess.Popen([*sgp, "record", "--out", str(out / "bag")], stdout=log, stderr=log)
        try:
            hand.until("recorder", lambda: hand.node.count_subscribers("demonstration") > 0)
            for number in range(demonstrations):
                try:
                    steps += hand.demonstrate(config, number)
                    kept += 1
                except TroubleError as trouble:
                    print(f"demonstration {number} is discarded: {trouble}", flush=True)
                    hand.recover()
                if number % 10 == 9:
                    print(f"{number + 1} of {demonstrations}, {time.monotonic() - began_s:.0f} s", flush=True)
        finally:
            recorder.send_signal(signal.SIGINT)
            recorder.wait()
    print(f"{kept} demonstrations of {steps} steps in {time.monotonic() - began_s:.0f} s: {out / 'bag'}")
    rclpy.shutdown()


if __name__ == "__main__":
    typer.run(main)
