"""What a run showed: every step, report and measured motion, with the time at which it came."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fault_relay import BEFORE, PUSHER_SOURCE
from geometry_msgs.msg import PoseArray, PoseStamped, Vector3Stamped
from numpy import ndarray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_bench import xy

from sgp_core.config import PlannerConfig
from sgp_core.safety import MEASURED_SLACK_M, ROUNDING_M, check_place, check_size
from sgp_ros import convert

# As the rig, the controller and the pusher said it, before the relay had it; a state as the controller was given it.
PUSHER, BOX = f"{BEFORE}/{PUSHER_SOURCE}", "rig/box_pose"
STEP, PUSHER_STATE, TARGET = f"{BEFORE}/step", f"{BEFORE}/pusher_state", f"{BEFORE}/arm_target"
STATE, STATUS, DIAGNOSTICS = "state", "status", "/diagnostics"
KINDS: dict[str, tuple[type, bool]] = {  # message, reliable
    PUSHER: (PoseStamped, False),
    BOX: (PoseStamped, True),
    STEP: (Vector3Stamped, True),
    PUSHER_STATE: (DiagnosticArray, True),
    TARGET: (PoseStamped, True),
    STATE: (PoseArray, False),
    STATUS: (DiagnosticStatus, True),
    DIAGNOSTICS: (DiagnosticArray, True),
}
DEPTH = 500
# A pusher stands from when it stays within this of where it ends. A camera's noise is not in it: the rig's is exact.
STANDS_M = 0.001
# Measured over this time, a speed may exceed its limit by what the simulated arm overshoots.
SPEED_OVER_S, SPEED_SLACK = 0.1, 1.5


class Seen(NamedTuple):
    """A message, when it came, and when its sender sent it [s; system time]."""

    at_s: float
    message: Any
    sent_s: float


class Words(NamedTuple):
    """What somebody said of the state of affairs."""

    at_s: float
    who: str
    reason: str
    text: str
    level: int


class Record:
    """What came on each topic, in order, and what it shows."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Seen]] = {topic: [] for topic in KINDS}

    def forget(self, before_s: float) -> None:
        """Drop what came before this instant, but for the newest of each topic."""
        for topic, known in self.seen.items():
            self.seen[topic] = [one for one in known[:-1] if one.at_s >= before_s] + known[-1:]

    # --- what came

    def since(self, topic: str, from_s: float) -> list[Seen]:
        """What came on a topic from an instant on."""
        return [one for one in self.seen[topic] if one.at_s >= from_s]

    def track(self, topic: str, from_s: float) -> tuple[ndarray, ndarray]:
        """Times (n,) [s] and places (n, 2) [m; table]."""
        seen = self.since(topic, from_s)
        return np.array([one.at_s for one in seen]), np.array([xy(one.message) for one in seen]).reshape(-1, 2)

    def words(self, from_s: float) -> list[Words]:
        """What was said from an instant on, in order."""
        found = [Words(s.at_s, STATUS, *_said(s.message)) for s in self.since(STATUS, from_s)]
        for topic in (PUSHER_STATE, DIAGNOSTICS):
            for at_s, message, _ in self.since(topic, from_s):
                found += [
                    Words(at_s, "pusher_state" if topic == PUSHER_STATE else f"diagnostics of {one.name}", *_said(one))
                    for one in message.status
                ]
        return sorted(found)

    def moving_steps(self, from_s: float) -> list[Seen]:
        """Steps that are not stops."""
        return [s for s in self.since(STEP, from_s) if s.message.vector.x or s.message.vector.y]

    def stopped_after_s(self, from_s: float, topic: str = PUSHER) -> float:
        """From an instant until the pusher stands for the rest of what was seen [s]; 0 when it never moved."""
        times_s, places_m = self.track(topic, from_s)
        if not len(times_s):
            return 0.0
        away = np.linalg.norm(places_m - places_m[-1], axis=1) > STANDS_M
        return float(times_s[np.flatnonzero(away)[-1]] - from_s) if away.any() else 0.0

    def moved_m(self, from_s: float, topic: str = PUSHER) -> float:
        """Largest distance from where it was at an instant [m]."""
        _, places_m = self.track(topic, from_s)
        return float(np.linalg.norm(places_m - places_m[0], axis=1).max()) if len(places_m) else 0.0

    # --- what must never be

    def unsafe(self, from_s: float, limits: PlannerConfig, state_timeout_s: float, *, stamps: bool) -> list[str]:
        """Steps and motions that no fault excuses, in words.

        Args:
            from_s: where to begin [s; system time].
            limits: of the step and the place.
            state_timeout_s: oldest state that a step may rest on.
            stamps: whether stamps are of this machine's clock; else a state is as old as its arrival.
        """
        wrong = []
        states = self.seen[STATE]
        arrived_s = np.array([one.at_s for one in states])
        measured_s = np.array([convert.seconds(s.message.header.stamp) for s in states]) if stamps else arrived_s
        times_s, places_m = self.track(PUSHER, 0.0)
        for at_s, step, sent_s in self.moving_steps(from_s):
            u = np.array([step.vector.x, step.vector.y])
            where_m = places_m[np.searchsorted(times_s, at_s) - 1] if len(times_s) else u
            fault = check_size(u, limits.step_limit_m)
            fault = fault or check_place("its end", where_m + u, limits, MEASURED_SLACK_M + limits.tracking_limit_m)
            known = measured_s[arrived_s <= at_s]
            age_s = sent_s - known.max() if len(known) else np.inf
            if fault is not None:
                wrong.append(f"step at {at_s:.3f} s: {fault.text}")
            elif age_s > state_timeout_s + ROUNDING_M:
                wrong.append(f"step at {at_s:.3f} s rests on a state {age_s:.3f} s old")
        return wrong + self._unsafe_motion(from_s, limits)

    def _unsafe_motion(self, from_s: float, limits: PlannerConfig) -> list[str]:
        times_s, places_m = self.track(PUSHER, from_s)
        wrong = [
            fault.text
            for place_m in places_m
            if (fault := check_place("the measured pusher", place_m, limits, MEASURED_SLACK_M)) is not None
        ]
        # Times of measurement: those of arrival bunch when the machine is busy.
        stamps_s = np.array([convert.seconds(s.message.header.stamp) for s in self.since(PUSHER, from_s)])
        last = 0
        for index in range(len(stamps_s)):
            while stamps_s[index] - stamps_s[last] > 2.0 * SPEED_OVER_S:
                last += 1
            passed_s = stamps_s[index] - stamps_s[last]
            speed_mps = np.linalg.norm(places_m[index] - places_m[last]) / passed_s if passed_s >= SPEED_OVER_S else 0.0
            if speed_mps > limits.speed_limit_mps * SPEED_SLACK:
                wrong.append(f"the pusher moved at {speed_mps:.3f} m/s at {times_s[index]:.3f} s")
        return wrong


class Watch(Record):
    """Takes messages in batches with the times of the middleware, so that looking seldom costs no precision."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self._node = Node(
            "watch", namespace="sgp", context=context, enable_rosout=False, start_parameter_services=False
        )
        self._subscriptions = {}
        for topic, (kind, reliable) in KINDS.items():
            qos = QoSProfile(
                depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            )
            self._subscriptions[topic] = self._node.create_subscription(kind, topic, print, qos)

    def poll(self) -> None:
        """Take what has come."""
        for topic, subscription in self._subscriptions.items():
            handle, kind = subscription.handle, KINDS[topic][0]
            with handle:
                while (taken := handle.take_message(kind, False)) is not None:
                    came_s, sent_s = (taken[1][f"{when}_timestamp"] / convert.NS for when in ("received", "source"))
                    self.seen[topic].append(Seen(came_s, taken[0], sent_s))

    def close(self) -> None:
        """Leave the graph; its context goes on."""
        self._node.destroy_node()


def _said(status: DiagnosticStatus) -> tuple[str, str, int]:
    reason = next((pair.value for pair in status.values if pair.key == "reason"), "")
    return reason, status.message, status.level[0]
