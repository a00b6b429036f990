"""Measured tool poses from messages, and arm commands as the messages that arms take.

Every number goes through float(), as in convert.py.
"""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion, Twist, TwistStamped, Vector3, Vector3Stamped
from jaxtyping import Float
from numpy import ndarray

from sgp_core.frames import TABLE, Transform
from sgp_core.safety import Fault
from sgp_core.types import Reason
from sgp_ros import convert, messages


def tool_pose_of(message: PoseStamped) -> tuple[Float[ndarray, "3"], Transform | None] | Fault:
    """Position [m; table] and orientation of the measured tool, from `pusher_pose`.

    The height may be NaN: not known. So is the orientation where the quaternion is zero, or no rotation at all.

    Returns:
        BAD_STATE for another frame, NON_FINITE when the place on the table is not finite.
    """
    if message.header.frame_id != TABLE:
        return Fault(reason=Reason.BAD_STATE, text=f"frame_id is '{message.header.frame_id}', must be '{TABLE}'")
    position = convert.point_of(message)
    if not np.isfinite(position[:2]).all():
        text = f"the position ({position[0]}, {position[1]}) is not finite"
        return Fault(reason=Reason.NON_FINITE, text=text)
    q = message.pose.orientation
    return position, Transform.from_quaternion((0.0, 0.0, 0.0), (q.x, q.y, q.z, q.w))


class ArmFrame:
    """Commands of the table frame, told in the frame that the arm takes them in.

    Args:
        frame_id: of the messages.
        arm_from_table: place of the table frame in that frame.
        tool: orientation of the tool in the table frame.
    """

    def __init__(self, frame_id: str, arm_from_table: Transform, tool: Transform) -> None:
        self._frame_id, self._arm_from_table = frame_id, arm_from_table
        x, y, z, w = (arm_from_table @ tool).quaternion()
        self._orientation = Quaternion(x=float(x), y=float(y), z=float(z), w=float(w))

    def pose(self, position_m: Float[ndarray, "3"]) -> Pose:
        """Pose of the tool at a position [m; table]."""
        x, y, z = self._arm_from_table.apply(position_m)
        return Pose(position=Point(x=float(x), y=float(y), z=float(z)), orientation=self._orientation)

    def pose_stamped(self, time_s: float, position_m: Float[ndarray, "3"]) -> PoseStamped:
        """The same with time [s] and frame."""
        return PoseStamped(header=messages.header(time_s, self._frame_id), pose=self.pose(position_m))

    def twist(self, velocity_mps: Float[ndarray, "3"]) -> Twist:
        """Velocity of the tool [m/s; table]; it does not turn."""
        return Twist(linear=self._vector(velocity_mps))

    def twist_stamped(self, time_s: float, velocity_mps: Float[ndarray, "3"]) -> TwistStamped:
        """The same with time [s] and frame."""
        return TwistStamped(header=messages.header(time_s, self._frame_id), twist=self.twist(velocity_mps))

    def step(self, time_s: float, u: Float[ndarray, "2"]) -> Vector3Stamped:
        """Displacement of the tool [m; table]."""
        return Vector3Stamped(header=messages.header(time_s, self._frame_id), vector=self._vector(np.append(u, 0.0)))

    def _vector(self, vector: Float[ndarray, "3"]) -> Vector3:
        x, y, z = self._arm_from_table.rotation @ vector
        return Vector3(x=float(x), y=float(y), z=float(z))
