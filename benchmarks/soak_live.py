"""The live half of `soak.py`: all nodes and the simulated rig as processes, random faults, and what becomes of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped, Vector3Stamped
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from sgp_core.share import share_path
from sgp_ros import convert, messages
from sgp_ros.processes import NodeProcesses, ros_environment
from sgp_ros.rig_files import NODES
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS, REPORT_QOS, SENSOR_QOS

SOUND: dict[str, Any] = {"dropout": 0.0, "occlusion": 0.0, "delay_s": 0.01, "marker_noise_m": 0.0003}
FAULTS: tuple[dict[str, Any], ...] = (
    {"dropout": 0.2}, {"dropout": 1.0}, {"occlusion": 0.3}, {"occlusion": 1.0}, {"delay_s": 0.2}, {"delay_s": 1.0},
    {"marker_noise_m": 0.003},
)  # fmt: skip
# What may be said while all is well, and for so long after a fault; a busy computer also drops steps and frames.
WELL = ("RUNNING", "GOAL_REACHED")
SETTLED_S = 6.0
CLEAR_S = 2.0  # a fault that cannot be cleared in this time is one that nobody explains
TIMEOUT_S, REACT_S = 0.5, 0.5  # state_timeout_s; and until a stop has to be seen here, on a machine with other work
STEP_S = 1.0


class Watch:
    """Hears what the nodes say and keeps the books."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("soak", namespace="sgp")
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.reason, self.excused_until_s = "", time.monotonic() + 30.0
        self.last = "the start"  # fault that was mended
        self._state_s = self._until_s = self._lost_s = 0.0
        hear = self.node.create_subscription
        hear(DiagnosticStatus, "status", self._on_status, REPORT_QOS)
        hear(Vector3Stamped, "step", self._on_step, RELIABLE_QOS)
        hear(PoseArray, "state", self._on_state, SENSOR_QOS)
        hear(DiagnosticArray, "pusher_state", self._on_pusher, REPORT_QOS)
        self.goal = self.node.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)
        self.rig = self.node.create_client(SetParameters, "rig_sim_node/set_parameters")
        self.services = {
            "pusher": self.node.create_client(SetBool, "pusher_node/enable"),
            "mpc": self.node.create_client(SetBool, "mpc_node/enable"),
            "clear": self.node.create_client(Trigger, "pusher_node/clear_fault"),
        }

    def _now_s(self) -> float:
        return convert.clock_seconds(self.node.get_clock().now().nanoseconds)

    def _on_status(self, message: DiagnosticStatus) -> None:
        self.reason = {pair.key: pair.value for pair in message.values}.get("reason", "")
        self.reasons[self.reason] += 1
        if not self.reason or len(message.message) < 4:
            self.counts["statuses without explanation"] += 1
        if self.reason not in WELL and time.monotonic() > self.excused_until_s:
            self.counts["statuses that no fault explains"] += 1
            since_s = time.monotonic() - self.excused_until_s
            print(f"unexplained, {since_s:.1f} s after {self.last}: {self.reason}: {message.message}", flush=True)

    def _on_step(self, message: Vector3Stamped) -> None:
        self.counts["steps"] += 1
        u = np.array([message.vector.x, message.vector.y])
        if not np.isfinite(u).all() or np.abs(u).max() > 0.05 + 2e-5:
            self.counts["unsafe steps"] += 1
        moving = bool(u.any())
        self.counts["steps that are not zero"] += moving
        self._until_s = convert.seconds(message.header.stamp) + STEP_S if moving else 0.0

    def _on_state(self, message: PoseArray) -> None:
        self._state_s = convert.seconds(message.header.stamp)

    def _on_pusher(self, message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        if values["faulted"] == "true" or values["enabled"] != "true":
            self._until_s = 0.0  # it stands by itself

    def look(self, seconds: float) -> None:
        """Spin, and see whether a step goes on without states."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            rclpy.spin_once(self.node, timeout_sec=0.05)
            now_s = self._now_s()
            blind = now_s < self._until_s and now_s - self._state_s > TIMEOUT_S
            self._lost_s = (self._lost_s or time.monotonic()) if blind else 0.0
            if blind and time.monotonic() - self._lost_s > REACT_S:
                self.counts["missed stops"] += 1
                self._until_s = 0.0
                print(f"missed stop: the newest state is {now_s - self._state_s:.2f} s old", flush=True)

    def ask(self, client: Any, request: Any) -> Any:
        """Call a service, and let things happen until it answers, or for five seconds; None without an answer."""
        future, end_s = client.call_async(request), time.monotonic() + 5.0
        while not future.done() and time.monotonic() < end_s:
            self.look(0.02)
        self.counts["calls without answer"] += not future.done()
        return future.result() if future.done() else None

    def clear(self) -> None:
        """As an operator does: again, while it is refused because what was late still comes in late."""
        end_s = time.monotonic() + CLEAR_S
        while time.monotonic() < end_s:
            answer = self.ask(self.services["clear"], Trigger.Request())
            if answer is not None and answer.success:
                return
            self.counts["clears refused"] += 1
            self.look(0.2)

    def excuse(self, seconds: float) -> None:
        """Something is wrong, or was until now."""
        self.excused_until_s = time.monotonic() + seconds

    def set_rig(self, values: dict[str, Any]) -> None:
        """Parameters of the simulated rig."""
        parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        self.ask(self.rig, SetParameters.Request(parameters=parameters))


def rss_mib(pid: int) -> float:
    """Memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def cycle(watch: Watch, dice: np.random.Generator) -> None:
    """A goal, a fault, the mending, and quiet."""
    x_m, y_m = dice.uniform([0.55, -0.1], [0.75, 0.1])
    watch.goal.publish(messages.pose_to_msg(0.0, float(x_m), float(y_m), float(dice.uniform(-0.3, 0.3))))
    watch.look(float(dice.uniform(1.0, 5.0)))
    kind = int(dice.integers(0, len(FAULTS) + 2))
    watch.counts["faults"] += 1
    watch.excuse(1e9)
    watch.last = str(FAULTS[kind] if kind < len(FAULTS) else "disable")
    if kind < len(FAULTS):
        watch.set_rig(FAULTS[kind])
    else:
        watch.ask(watch.services["mpc" if kind == len(FAULTS) else "pusher"], SetBool.Request(data=False))
    watch.look(float(dice.uniform(1.0, 4.0)))
    watch.set_rig(SOUND)
    watch.look(1.0)
    watch.clear()
    for name in ("pusher", "mpc"):
        watch.ask(watch.services[name], SetBool.Request(data=True))
    watch.look(SETTLED_S)  # the tool goes down, the box is found again
    watch.excuse(0.0)
    watch.look(float(dice.uniform(2.0, 6.0)))


def live(minutes: float, seed: int) -> int:
    """Returns the exit code: 1 when anything was unsafe, missed, or ended."""
    dice = np.random.default_rng(seed)
    memory: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        environment = ros_environment(Path(folder))
        os.environ.update(environment)
        rclpy.init()
        with NodeProcesses(Path(folder), environment, "sgp") as nodes:
            for node in NODES:
                nodes.start(node, share_path("config", "sim.yaml"), {})
            watch = Watch()
            watch.goal.publish(messages.pose_to_msg(0.0, 0.65, 0.0, 0.0))
            while watch.reason != "RUNNING" and time.monotonic() < watch.excused_until_s + 30.0:
                watch.look(0.2)
            watch.look(3.0)
            began_s = time.monotonic()
            while time.monotonic() - began_s < 60.0 * minutes and not nodes.ended():
                cycle(watch, dice)
                for name, pid in nodes.pids().items():
                    passed_h = (time.monotonic() - began_s) / 3600.0
                    memory.setdefault(name, []).append((passed_h, rss_mib(pid)))
            ended = nodes.ended()
            for name in ended:
                print(f"{name} ended:\n{nodes.tail(name)}")
        watch.node.destroy_node()
        rclpy.shutdown()
    print(f"| minutes | {(time.monotonic() - began_s) / 60.0:.1f} |\n|---|---|")
    bad = ("unsafe steps", "missed stops", "statuses without explanation", "statuses that no fault explains")
    for name in ("faults", "steps", "steps that are not zero", *bad, "calls without answer", "clears refused"):
        print(f"| {name} | {watch.counts[name]} |")
    for name, samples in memory.items():
        table = np.array(samples[len(samples) // 4 :])
        slope = float(np.polyfit(table[:, 0], table[:, 1], 1)[0]) if len(table) > 2 else float("nan")
        figures = f"{samples[0][1]:.0f} to {samples[-1][1]:.0f}; {slope:.1f}"
        print(f"| {name}: memory, MiB; slope after a quarter, MiB/h | {figures} |")
    print(f"statuses: {dict(watch.reasons)}")
    return int(bool(ended) or any(watch.counts[name] for name in bad))
