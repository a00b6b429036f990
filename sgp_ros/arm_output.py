"""The publisher towards the arm: poses, velocities or single steps, with or without a header."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped, Vector3Stamped
from numpy import ndarray

from sgp_core.arm import Arm, ArmKind
from sgp_core.config import Config, FramesConfig, setting
from sgp_core.errors import InputError
from sgp_core.frames import TABLE, Frames, Transform
from sgp_core.twist import TwistServo
from sgp_ros.convert_arm import ArmFrame
from sgp_ros.running import RELIABLE_QOS, SgpNode

MESSAGES = {
    "pose": PoseStamped,
    "pose_unstamped": Pose,
    "twist": TwistStamped,
    "twist_unstamped": Twist,
    "step": Vector3Stamped,
}


@dataclass(frozen=True, kw_only=True)
class PusherNodeConfig(Config):
    """What the arm takes."""

    output: str = setting(
        "pose",
        "what the arm takes: pose (PoseStamped), pose_unstamped (Pose), twist (TwistStamped), twist_unstamped (Twist)"
        " or step (Vector3Stamped: each accepted step once, a zero step to stop)",
        live=False,
    )
    arm_topic: str = setting("arm_target", "topic of the commands", live=False)
    arm_frame: str = setting("table", "frame of the commands: table, or base for the arm's base_frame", live=False)
    tool_rpy: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0),
        "orientation of the tool in the table frame while it pushes: roll, pitch, yaw about the fixed axes; a flange"
        " that points down has roll pi",
        unit="rad",
        low=-6.3,
        high=6.3,
        live=False,
    )
    twist_gain_hz: float = setting(
        2.0, "twist outputs: velocity per distance of the measured pusher from the command", unit="1/s", low=0.1,
        high=20.0, live=False,
    )  # fmt: skip
    enabled: bool = setting(
        True, "whether the arm is released as soon as the pusher is measured; ~/enable changes it", live=False
    )

    def check(self) -> None:
        """See `Config.check`."""
        if self.output not in MESSAGES:
            raise InputError(f"output = '{self.output}' must be one of {', '.join(MESSAGES)}")
        if self.arm_frame not in (TABLE, "base"):
            raise InputError(f"arm_frame = '{self.arm_frame}' must be table or base")
        if not self.arm_topic:
            raise InputError("arm_topic is empty; name the topic that the arm listens to")
        if len(self.tool_rpy) != 3:
            raise InputError(f"tool_rpy = {self.tool_rpy} needs three numbers: roll, pitch, yaw")

    @property
    def tool(self) -> Transform:
        """Orientation of the tool in the table frame."""
        return Transform.from_numbers((0.0, 0.0, 0.0, *self.tool_rpy))

    @property
    def kind(self) -> ArmKind:
        """What follows for the arm."""
        velocities = self.output in ("twist", "twist_unstamped")
        return ArmKind(tool=self.tool, height=self.output != "step", velocities=velocities)


class ArmOutput:
    """Sends what an Arm commands.

    Args:
        node: owner of the publisher.
        config: kind, topic and frame.
        frames: where the table and the arm's base are.
    """

    def __init__(self, node: SgpNode, config: PusherNodeConfig, frames: FramesConfig) -> None:
        based = config.arm_frame == "base"
        arm_from_table = Frames(frames).table_from_base.inverse() if based else Transform.from_numbers((0.0,) * 6)
        self._frame = ArmFrame(frames.base_frame if based else TABLE, arm_from_table, config.tool)
        self._kind, self._servo = config.output, TwistServo(config.twist_gain_hz)
        self._publisher = node.create_publisher(MESSAGES[config.output], config.arm_topic, RELIABLE_QOS)
        self._stopped = True  # step output: the last step was one of zero, or none has been sent

    def tick(self, time_s: float, dt_s: float, arm: Arm, *, ending: bool = False) -> None:
        """Send the command of this tick, stamped now, and let go of an arm that nothing is sent to any more.

        Args:
            time_s: ROS time.
            dt_s: time since the last tick.
            arm: after its own tick.
            ending: whether this node is about to end.
        """
        if self._kind == "step":
            if not self._stopped and (ending or arm.reference.fault is not None or not arm.reference.enabled):
                self._stop(time_s)
        elif self._kind in ("twist", "twist_unstamped"):
            velocity_mps = self._servo.tick(arm, dt_s, ending=ending)
            if velocity_mps is not None:
                self._send(time_s, velocity_mps, self._frame.twist_stamped, self._frame.twist)
            elif arm.command is not None:
                arm.let_go()
        elif arm.command is not None:
            self._send(time_s, arm.command.position_m, self._frame.pose_stamped, self._frame.pose)

    def step(self, time_s: float, arm: Arm, *, stop: bool = False) -> None:
        """Send what is left of the step under way, where steps are what the arm takes: it is new, or its limits are.

        Args:
            time_s: ROS time.
            arm: after its own step.
            stop: the step is one of zero.
        """
        if self._kind != "step":
            return
        if stop:
            self._stop(time_s)
            return
        left_s, u = arm.displacement(time_s)
        # The arm has to stand one step duration after the stamp, when the reference does, however late the step came.
        self._publisher.publish(self._frame.step(time_s + left_s - arm.reference.config.step_duration_s, u))
        self._stopped = False

    def _stop(self, time_s: float) -> None:
        self._publisher.publish(self._frame.step(time_s, np.zeros(2)))
        self._stopped = True

    @property
    def turns(self) -> bool:
        """Whether the commands tell the arm an orientation."""
        return self._kind in ("pose", "pose_unstamped")

    @property
    def connected(self) -> bool:
        """Whether anybody listens to the commands."""
        return bool(self._publisher.get_subscription_count() > 0)

    def end(self, time_s: float) -> None:
        """The last command of all: a zero velocity, where velocities are what the arm takes."""
        self._servo.halt()
        if self._kind in ("twist", "twist_unstamped"):
            self._send(time_s, np.zeros(3), self._frame.twist_stamped, self._frame.twist)

    @property
    def standing(self) -> bool:
        """Whether the last velocity sent was zero, or none."""
        return not self._servo.velocity_mps.any()

    def _send(
        self, time_s: float, vector: ndarray, stamped: Callable[[float, ndarray], Any], bare: Callable[[ndarray], Any]
    ) -> None:
        self._publisher.publish(bare(vector) if self._kind.endswith("unstamped") else stamped(time_s, vector))
