"""What a person beside the rig would note down: the way of box and pusher, the controller's words, its plan times."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rclpy.node import Node

from sgp_core.layout import MarkerLayout
from sgp_core.run_cost import cost_cm2
from sgp_core.types import Goal, Reason
from sgp_ros import convert
from sgp_ros.recorder import Received

# Who must talk to whom before anything can move: topic, publishing node, listening node.
LINKS = (
    ("vrpn_mocap/pusher/pose", "rig_sim_node", "mocap_node"),
    ("pusher_pose", "mocap_node", "pusher_node"),
    ("state", "mocap_node", "mpc_node"),
    ("step", "mpc_node", "pusher_node"),
    ("pusher_state", "pusher_node", "mpc_node"),
    ("arm_target", "pusher_node", "rig_sim_node"),
    ("rig/box_pose", "rig_sim_node", None),
    ("status", "mpc_node", None),
    ("goal_pose", None, "mpc_node"),
)


def missing_links(node: Node, namespace: str) -> list[tuple[str, str]]:
    """Nodes that do not publish or listen yet: (node, what is missing in words)."""
    missing = []
    for name, publisher, listener in LINKS:
        topic = f"/{namespace}/{name}"
        publishing = {info.node_name for info in node.get_publishers_info_by_topic(topic)}
        listening = {info.node_name for info in node.get_subscriptions_info_by_topic(topic)}
        if publisher is not None and publisher not in publishing:
            missing.append((publisher, f"{publisher} does not publish {topic}"))
        if listener is not None and listener not in listening:
            missing.append((listener, f"{listener} does not listen to {topic}"))
    return missing


def strangers(node: Node, namespace: str) -> list[str]:
    """Topics on which more than one node says what one node of the loop should: another loop is in this domain.

    Goals are nobody's own: RViz has a publisher of them as soon as it runs.
    """
    topics = [f"/{namespace}/{name}" for name, publisher, _ in LINKS if publisher]
    return [topic for topic in topics if node.count_publishers(topic) > 1]


class Observer:
    """Takes every recorded message and keeps what the report needs.

    Args:
        layout: of the box.
        goal: box pose x [m], y [m], yaw [rad; table].
        namespace: of the topics.
        step_duration_s: time of one step, which is what steps are counted in however often they are replaced.
    """

    def __init__(
        self, layout: MarkerLayout, goal: tuple[float, float, float], namespace: str, step_duration_s: float
    ) -> None:
        self._layout, self._step_duration_s = layout, step_duration_s
        self._goal = Goal.from_pose(layout, *goal)
        self._takers = {
            f"/{namespace}/rig/box_pose": self._take_truth,
            f"/{namespace}/state": self._take_state,
            f"/{namespace}/status": self._take_status,
        }
        self.seen: set[str] = set()
        self.reason = ""  # code of the last status
        self.words = ""
        self.values: dict[str, str] = {}
        self._sent = 0  # steps sent, as the controller counts
        self._step_times_s: list[float] = []  # system time of each
        self.plan_ms: list[float] = []
        self._truth: list[tuple[float, float, float, float]] = []  # system time, x, y, yaw
        self._pusher: list[tuple[float, float]] = []

    def take(self, received: Received) -> None:
        """Note one message."""
        self.seen.add(received.topic)
        taker = self._takers.get(received.topic)
        if taker is not None:
            taker(received.received_ns * 1e-9, received.message)

    @property
    def reached(self) -> bool:
        """Whether the controller's last word is that it has arrived."""
        return self.reason == Reason.GOAL_REACHED

    @property
    def steps(self) -> int:
        """Step durations that have begun since the first step."""
        return self._count(self._step_times_s[-1]) if self._step_times_s else 0

    def last_step_s(self, at_most: int) -> float:
        """System time of the last step of the first so many [s]; 0 when there was none."""
        return max((time_s for time_s in self._step_times_s if self._count(time_s) <= at_most), default=0.0)

    def _count(self, time_s: float) -> int:
        return round((time_s - self._step_times_s[0]) / self._step_duration_s) + 1

    @property
    def box_poses(self) -> Float[ndarray, "M 3"]:
        """True box poses over time [m, m, rad; table]."""
        return np.array([pose[1:] for pose in self._truth]).reshape(-1, 3)

    @property
    def pusher_m(self) -> Float[ndarray, "K 2"]:
        """Measured pusher positions over time [m; table]."""
        return np.array(self._pusher).reshape(-1, 2)

    def truth_since(self, time_s: float) -> bool:
        """Whether the true box pose is known at or after a system time [s]."""
        return bool(self._truth) and self._truth[-1][0] >= time_s

    def cost_cm2(self, time_s: float = 0.0) -> float:
        """Sum of squared marker coordinate errors [cm^2] in the first true pose at or after a system time [s]."""
        pose = next(pose for pose in self._truth if pose[0] >= time_s)
        return cost_cm2(self._layout.markers_at(*pose[1:]), self._goal)

    def number(self, key: str) -> float:
        """A number of the last status; NaN when it has none."""
        return float(self.values.get(key) or "nan")

    def _take_truth(self, time_s: float, message: Any) -> None:
        self._truth.append((time_s, *convert.box_pose_of(message)))

    def _take_state(self, _time_s: float, message: Any) -> None:
        position = message.poses[-1].position
        self._pusher.append((position.x, position.y))

    def _take_status(self, time_s: float, message: Any) -> None:
        before = self.values.get("plan_ms")
        self.values = {pair.key: pair.value for pair in message.values}
        self.reason, self.words = self.values.get("reason", ""), message.message
        sent = int(self.values.get("steps") or 0)
        self._step_times_s += [time_s] * (sent - self._sent)
        self._sent = sent
        # A status that only tells of a change repeats the figures of the last plan, to the last digit.
        if self.values.get("plan_ms") not in ("", None, before) and np.isfinite(self.number("plan_ms")):
            self.plan_ms.append(self.number("plan_ms"))
