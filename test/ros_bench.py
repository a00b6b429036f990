"""The world around the nodes, played by the probe: camera, arm and clients."""

from __future__ import annotations

from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped, Vector3Stamped
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_graph import Graph
from rosgraph_msgs.msg import Clock as ClockMessage
from std_srvs.srv import SetBool

from sgp_core.frames import TABLE
from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path
from sgp_core.types import Reason, State
from sgp_ros import convert, messages
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS, SENSOR_QOS

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))
START = (0.50, 0.0, 0.0)
PUSHER = np.array([0.42, 0.0])  # 2 mm from the box
NOISE_M = 1e-6
MANY_QOS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)
MANY_SENSOR_QOS = QoSProfile(depth=200, reliability=ReliabilityPolicy.BEST_EFFORT)


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def xy(message: PoseStamped) -> np.ndarray:
    return convert.point_of(message)[:2]


class Bench:
    """The world as seen by the nodes: a camera, a perfect arm, and a box that stays where it is.

    Args:
        graph: where to publish.
        states: publish `state` and `pusher_pose` as mocap_node would; else marker and pusher poses as a driver would,
            odd markers reliably and even ones best effort.
        clock: publish ROS time as /clock, from this offset.
    """

    def __init__(self, graph: Graph, *, states: bool, clock_from_s: float | None = None) -> None:
        probe = graph.probe
        self.box, self.pusher, self.height_m = START, PUSHER, 0.02
        self.seeing, self.moving, self.clock_running = True, True, True
        self.spoil = lambda message: message
        self.hidden: set[str] = set()
        self._wall = probe.get_clock()
        self._offset_s = None if clock_from_s is None else clock_from_s - self._wall_s()
        self._clock = probe.create_publisher(ClockMessage, "/clock", SENSOR_QOS) if clock_from_s is not None else None
        self._state = probe.create_publisher(PoseArray, "state", SENSOR_QOS) if states else None
        self._random = np.random.default_rng(0)
        names = () if states else ("pusher", *LAYOUT.names)
        self._poses = {
            name: probe.create_publisher(
                PoseStamped, f"vrpn_mocap/{name}/pose", RELIABLE_QOS if index % 2 else SENSOR_QOS
            )
            for index, name in enumerate(names)
        }
        if states:
            self._poses["pusher"] = probe.create_publisher(PoseStamped, "pusher_pose", SENSOR_QOS)
        self._frame = TABLE if states else "mocap"
        probe.create_subscription(PoseStamped, "arm_target", self._follow, RELIABLE_QOS)
        probe.create_timer(0.02, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _wall_s(self) -> float:
        return convert.clock_seconds(self._wall.now().nanoseconds)

    def now_s(self) -> float:
        """The time the nodes have."""
        return self._wall_s() + (self._offset_s or 0.0)

    def set_clock_back(self, by_s: float) -> None:
        assert self._offset_s is not None
        self._offset_s -= by_s

    def _follow(self, message: PoseStamped) -> None:
        if self.moving:
            self.pusher, self.height_m = xy(message), message.pose.position.z

    def _publish(self) -> None:
        # Cameras never see the same twice; a marker that repeats itself to the last bit counts as frozen.
        now_s = self.now_s()
        markers = LAYOUT.markers_at(*self.box) + self._random.normal(0.0, NOISE_M, (LAYOUT.count, 2))
        if self._clock is not None and self.clock_running:
            self._clock.publish(ClockMessage(clock=messages.stamp(now_s)))
        points = dict(zip(LAYOUT.names, markers, strict=True)) | {"pusher": self.pusher}
        for name, publisher in self._poses.items():
            if name not in self.hidden:
                publisher.publish(messages.pose_to_msg(now_s, *points[name], z_m=self.height_m, frame=self._frame))
        if self._state is not None and self.seeing:
            state = State(stamp_s=now_s, x=LAYOUT.pack(markers, self.pusher))
            self._state.publish(self.spoil(messages.state_to_msg(state)))


def enable(graph: Graph, node: str, on: bool) -> None:
    assert graph.call(SetBool, f"{node}/enable", SetBool.Request(data=on)).success


class Pusher:
    """pusher_node as its clients see it."""

    def __init__(self, graph: Graph, bench: Bench) -> None:
        self.graph, self.bench = graph, bench
        self.step = graph.probe.create_publisher(Vector3Stamped, "step", RELIABLE_QOS)
        self.states = graph.record(DiagnosticArray, "pusher_state", MANY_QOS)
        self.targets = graph.record(PoseStamped, "arm_target", MANY_QOS)

    def report(self) -> convert.PusherReport | None:
        return convert.pusher_report_from_msg(self.states[-1]) if self.states else None

    def wait_for(self, reason: Reason) -> convert.PusherReport:
        def found() -> convert.PusherReport | None:
            report = self.report()
            return report if report is not None and report.condition.reason == reason else None

        return self.graph.wait(f"pusher {reason}", found)

    def send(self, x_m: float, y_m: float) -> int:
        message = messages.step_to_msg(self.bench.now_s(), np.array([x_m, y_m]))
        self.step.publish(message)
        return convert.stamp_ns(message.header.stamp)

    def wait_accepted(self, stamp_ns: int) -> None:
        self.graph.wait("accepted step", lambda: (r := self.report()) and r.step_stamp_ns == stamp_ns)


class Controller:
    """mpc_node as its clients see it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.statuses = graph.record(DiagnosticStatus, "status", MANY_QOS)
        self.steps = graph.record(Vector3Stamped, "step", MANY_QOS)
        self._goal = graph.probe.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)

    def set_goal(self, x_m: float, y_m: float, yaw_rad: float) -> None:
        self._goal.publish(messages.pose_to_msg(0.0, x_m, y_m, yaw_rad))

    def wait_for(self, reason: Reason) -> DiagnosticStatus:
        """A status with this reason that comes after this call."""
        known = len(self.statuses)

        def found() -> Any:
            return next((s for s in self.statuses[known:] if values_of(s)["reason"] == reason), None)

        return self.graph.wait(f"status {reason}", found)

    def wait_for_any(self, *reasons: Reason) -> str:
        """The first of these that comes after this call."""
        known = len(self.statuses)

        def found() -> str | None:
            return next((r for s in self.statuses[known:] if (r := values_of(s)["reason"]) in reasons), None)

        return str(self.graph.wait(f"status {reasons}", found))

    def is_hold(self, step: Vector3Stamped) -> bool:
        return step.vector.x == 0.0 and step.vector.y == 0.0

    def expect_hold(self, bench: Bench) -> None:
        """A step under way is stopped; on a machine so slow that it has ended by itself, nothing need be."""
        last = self.steps[-1]
        if not self.is_hold(last) and bench.now_s() < convert.seconds(last.header.stamp) + 0.9:
            self.graph.wait("hold step", lambda: self.is_hold(self.steps[-1]))
