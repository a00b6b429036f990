"""Stand-ins for arms: `python arm_standins.py ARM`, a process that takes commands as the ARM's controller does.

Each has the controller's topic, type and checks, its timeout and its cap of the speed, lags as it does, and reports the
pose of its tool in its base frame. The tool moves the simulated pusher. A word on `standin_fault` makes it `deaf` (its
pose is not reported any more) or `blocked` (it does not move), until `well`.
"""

from __future__ import annotations

import contextlib
import math
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped, Vector3Stamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import String

from sgp_core.frames import Transform
from sgp_ros import convert, messages

PERIOD_S = 0.02
STEP_DURATION_S = 1.0
# An arm that stands beside the table, turned and on a pedestal, with its flange pointing down.
TABLE_FROM_BASE = (0.10, -0.45, 0.05, 0.0, 0.0, 0.7)
TOOL_RPY = (math.pi, 0.0, 0.0)
START_M = (0.41, 0.0, 0.06)
DOWN_M = (0.41, 0.0, 0.02)


@dataclass(frozen=True)
class Kind:
    """What a controller's source says of it."""

    message: type
    topic: str
    base_frame: str
    pose_topic: str
    timeout_s: float = math.inf  # halts after this time without a command
    stamp_limit_s: float = math.inf  # ignores commands older than this
    looks_at_frame: bool = True
    lag_s: float = 0.05
    axis_cap_mps: float = math.inf
    speed_cap_mps: float = 0.5
    start_m: tuple[float, float, float] = START_M


ARMS = {
    "servo": Kind(
        TwistStamped, "/servo_node/delta_twist_cmds", "base_link", "/tool_pose", timeout_s=0.1, stamp_limit_s=0.1,
        lag_s=0.03,
    ),
    "servo_pose": Kind(
        PoseStamped, "/servo_node/pose_target_cmds", "base_link", "/tool_pose", timeout_s=0.1, stamp_limit_s=0.1,
        lag_s=0.1,
    ),
    "cartesian_motion_controller": Kind(
        PoseStamped, "/cartesian_motion_controller/target_frame", "base_link",
        "/cartesian_motion_controller/current_pose",
    ),
    "crisp": Kind(PoseStamped, "/target_pose", "fr3_link0", "/current_pose", looks_at_frame=False, lag_s=0.12),
    "franka": Kind(
        PoseStamped, "/cartesian_impedance_example_controller/equilibrium_pose", "fr3_link0",
        "/franka_robot_state_broadcaster/current_pose", looks_at_frame=False, lag_s=0.2,
    ),
    "lbr_fri_twist": Kind(
        Twist, "/lbr/command/twist", "lbr_link_0", "/tool_pose", timeout_s=0.2, axis_cap_mps=0.1, lag_s=0.02
    ),
    "lbr_fri_pose": Kind(Pose, "/lbr/command/pose", "lbr_link_0", "/tool_pose", timeout_s=0.2, speed_cap_mps=0.1),
    # Keeps its own height.
    "raw_step": Kind(Vector3Stamped, "/arm_step", "base_link", "/arm_pose", start_m=DOWN_M),
}  # fmt: skip


class StandIn(Node):
    """One arm; everything inside is in its base frame."""

    def __init__(self, name: str) -> None:
        super().__init__("arm", namespace="/sgp")
        self._kind = ARMS[name]
        self._table_from_base = Transform.from_numbers(TABLE_FROM_BASE)
        base_from_table = self._table_from_base.inverse()
        self._turn = (base_from_table @ Transform.from_numbers((0.0, 0.0, 0.0, *TOOL_RPY))).quaternion()
        self._tool_m = base_from_table.apply(np.array(self._kind.start_m))
        self._velocity_mps = np.zeros(3)
        self._command: Any = None  # target [m], velocity [m/s], or end of a step
        self._heard_s = -math.inf
        self._left_s = 0.0  # of a step
        self._fault = "well"
        many = QoSProfile(depth=10)
        self.create_subscription(self._kind.message, self._kind.topic, self._on_command, many)
        self.create_subscription(String, "standin_fault", self._on_fault, many)
        self._pose = self.create_publisher(PoseStamped, self._kind.pose_topic, many)
        self._truth = self.create_publisher(PoseStamped, "standin_tool", many)
        self._target = self.create_publisher(PoseStamped, "arm_target", many)
        self._refused = self.create_publisher(String, "standin_refused", many)
        self.create_timer(PERIOD_S, self._tick)

    def _now_s(self) -> float:
        return convert.clock_seconds(self.get_clock().now().nanoseconds)

    def _on_fault(self, message: String) -> None:
        self._fault = message.data

    def _on_command(self, message: Any) -> None:
        why = self._take(message)
        if why:
            self._refused.publish(String(data=why))

    def _take(self, message: Any) -> str:
        """Why a command is dropped; empty when it is taken."""
        kind = self._kind
        header = getattr(message, "header", None)
        if header is not None:
            age_s = self._now_s() - convert.seconds(header.stamp)
            if age_s > kind.stamp_limit_s:
                return f"{age_s:.3f} s old"
            if kind.looks_at_frame and header.frame_id != kind.base_frame:
                return f"frame_id '{header.frame_id}'"
        inner = message
        for part in ("pose", "twist"):
            inner = getattr(inner, part, inner)
        vector = getattr(inner, "position", None) or getattr(inner, "linear", None) or message.vector
        numbers = np.array([vector.x, vector.y, vector.z])
        if not np.isfinite(numbers).all():
            return "not finite"
        if hasattr(inner, "orientation"):
            q = inner.orientation
            turned = 1.0 - abs(float(np.dot([q.x, q.y, q.z, q.w], self._turn)))
            if turned > 1e-3:
                return "the tool would turn"
        self._heard_s = self._now_s()
        if isinstance(message, Vector3Stamped):
            ends_s = convert.seconds(message.header.stamp) + STEP_DURATION_S
            self._command = self._tool_m + numbers
            self._left_s = max(ends_s - self._now_s(), PERIOD_S) if numbers.any() else 0.0
        else:
            self._command = numbers
        return ""

    def _wish(self) -> np.ndarray:
        kind = self._kind
        if self._command is None or self._now_s() - self._heard_s > kind.timeout_s:
            return np.zeros(3)
        if kind.message is Vector3Stamped:
            wish = (self._command - self._tool_m) / max(self._left_s, PERIOD_S) if self._left_s > 0.0 else np.zeros(3)
            self._left_s -= PERIOD_S
        elif kind.message in (Twist, TwistStamped):
            wish = np.clip(self._command, -kind.axis_cap_mps, kind.axis_cap_mps)
        else:
            wish = (self._command - self._tool_m) / kind.lag_s
        speed = float(np.linalg.norm(wish))
        return wish * min(1.0, kind.speed_cap_mps / max(speed, 1e-9))

    def _tick(self) -> None:
        wish = np.zeros(3) if self._fault == "blocked" else self._wish()
        if self._kind.message in (Twist, TwistStamped):
            wish = self._velocity_mps + (wish - self._velocity_mps) * min(1.0, PERIOD_S / self._kind.lag_s)
        self._velocity_mps = wish
        self._tool_m = self._tool_m + wish * PERIOD_S
        now_s = self._now_s()
        if self._fault != "deaf":
            self._pose.publish(self._message(now_s, self._kind.base_frame, self._tool_m))
        x_m, y_m, z_m = self._table_from_base.apply(self._tool_m)
        for publisher in (self._truth, self._target):
            publisher.publish(messages.pose_to_msg(now_s, x_m, y_m, z_m=z_m))

    def _message(self, now_s: float, frame_id: str, position_m: np.ndarray) -> PoseStamped:
        x, y, z = position_m
        message = messages.pose_to_msg(now_s, x, y, z_m=z, frame=frame_id)
        for name, value in zip("xyzw", self._turn, strict=True):
            setattr(message.pose.orientation, name, float(value))
        return message


def main() -> None:
    rclpy.init()
    node = StandIn(sys.argv[1])
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
