"""Every planner parameter changed while the box is pushed: `python benchmarks/live_parameters.py` prints a table.

The nodes and the simulated rig run as in the demo; this process sets the parameters as `ros2 param set` does, and reads
the plans that follow from `plan` and `status`. After each change the default is set again.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter

from sgp_core.config import PlannerConfig
from sgp_core.goals import load_goals
from sgp_core.share import share_path
from sgp_ros import convert, messages
from sgp_ros.processes import NodeProcesses, ros_environment
from sgp_ros.rig_files import NODES
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS, REPORT_QOS

NEW: dict[str, Any] = {
    "beta": 0.1,
    "sigmas": [0.1215, 0.03223],
    "horizon": 6,
    "iterations": 20,
    "learning_rate": 0.02,
    "restarts": 16,
    "budget_ms": 40.0,
    "running_weight": 0.1,
    "action_weight": 1.0,
    "step_limit_m": 0.02,
    "workspace_m": [0.30, 0.30, 0.95, 0.30, 0.95, -0.30, 0.30, -0.30],
    "keep_out_m": [0.30, 0.40, 0.20, 0.35],
    "speed_limit_mps": 0.1,
    "acceleration_limit_mps2": 0.4,
    "tracking_limit_m": 0.04,
}
LIMIT_S = 30.0


class Watch:
    """The controller from outside."""

    def __init__(self, namespace: str) -> None:
        self.node = rclpy.create_node("watch", namespace=namespace)
        self.plans: list[Path] = []
        self.values: dict[str, str] = {}
        self.node.create_subscription(Path, "plan", self.plans.append, RELIABLE_QOS)
        self.node.create_subscription(DiagnosticStatus, "status", self._on_status, REPORT_QOS)
        self._goal = self.node.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)
        self._set = self.node.create_client(SetParameters, "mpc_node/set_parameters")
        self._goals = itertools.cycle([goal.pose for name, goal in sorted(load_goals().items()) if name != "center"])

    def _on_status(self, message: DiagnosticStatus) -> None:
        self.values = {pair.key: pair.value for pair in message.values}

    def wait(self, what: str, done: Callable[[], Any]) -> Any:
        deadline_s = time.monotonic() + LIMIT_S
        while not (found := done()):
            assert time.monotonic() < deadline_s, f"no {what} within {LIMIT_S:g} s: {self.values}"
            rclpy.spin_once(self.node, timeout_sec=0.02)
            if self.values.get("reason") in ("GOAL_REACHED", "NO_GOAL"):
                self.values = {}
                self._goal.publish(messages.pose_to_msg(0.0, *next(self._goals)))
        return found

    def set(self, name: str, value: Any) -> float:
        """Set a parameter; returns how long that took [s]."""
        began_s = time.monotonic()
        self.wait("parameter service", self._set.service_is_ready)
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        future = self._set.call_async(request)
        self.wait("answer", future.done)
        (result,) = future.result().results
        assert result.successful, result.reason
        return time.monotonic() - began_s

    def next_plan(self) -> tuple[Path, float]:
        """The first plan from a state measured after now, and how long it took to come [s]."""
        now_s, began_s = convert.clock_seconds(self.node.get_clock().now().nanoseconds), time.monotonic()
        plan = self.wait("plan", lambda: next((p for p in self.plans if convert.seconds(p.header.stamp) > now_s), None))
        self.values = {}  # the status of this plan comes after it
        self.wait("status", lambda: self.values.get("plan_ms"))
        return plan, time.monotonic() - began_s


def row(name: str, value: object, watch: Watch, took_s: float) -> str:
    plan, came_s = watch.next_plan()
    way = np.array([[p.pose.position.x, p.pose.position.y] for p in plan.poses])
    longest_mm = 1e3 * float(np.abs(np.diff(way, axis=0)).max())
    figures = [f"{float(watch.values[key]):.3g}" for key in ("objective", "data_distance", "plan_ms")]
    cells = (name, value, f"{took_s * 1e3:.0f}", f"{came_s:.2f}", len(way) - 1, f"{longest_mm:.1f}", *figures)
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    defaults = PlannerConfig().to_dict()
    with tempfile.TemporaryDirectory() as folder:
        environment = ros_environment(FilePath(folder))
        os.environ.update(environment)
        rclpy.init()
        with NodeProcesses(FilePath(folder), environment, "sgp") as nodes:
            for node in NODES:
                nodes.start(node, share_path("config", "sim.yaml"), {})
            watch = Watch("sgp")
            columns = ("parameter", "set to", "answered after ms", "next plan after s", "T", "longest component mm",
                       "J", "data distance", "plan ms")  # fmt: skip
            print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
            watch.wait("plan", lambda: watch.plans)
            print(row("(none)", "", watch, 0.0))
            for name, value in NEW.items():
                print(row(f"`{name}`", value, watch, watch.set(name, value)), flush=True)
                watch.set(name, defaults[name])
        watch.node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    main()
