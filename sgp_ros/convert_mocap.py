"""Messages of motion-capture drivers as plain numbers, in the message's own frame and unit.

What a driver says in its own way (a lost body as a quaternion of zeros, a cloud as packed bytes, a marker by name or by
its place in a list) is understood here; which topic it comes from, and where its frame is, is known in `samples`.
Nothing here needs ROS, as in `convert`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_core.pusher_gate import FAR_M
from sgp_core.safety import Fault
from sgp_core.types import Reason

if TYPE_CHECKING:
    from geometry_msgs.msg import Point, Pose, TransformStamped
    from sensor_msgs.msg import PointCloud2

# A box lies flat. A tracked body further off than this is in the air, or its axes are not what the settings say.
TILT_LIMIT_RAD = math.radians(20.0)
_FLOATS = {7: "f4", 8: "f8"}  # FLOAT32 and FLOAT64 of sensor_msgs/PointField
_BY_INDEX = 1  # mocap4r2_msgs/Marker.USE_INDEX


def position_of(point: Point) -> Float[ndarray, "3"]:
    """A position as it stands in the message; may hold NaN, or be all zero, for "hidden"."""
    return np.array([point.x, point.y, point.z], dtype=float)


def transform_of(pose: Pose, unit_m: float) -> Transform | None:
    """A measured pose [m after scaling]; None for NaN, and for a quaternion without length, as lost bodies have."""
    p, q = pose.position, pose.orientation
    return Transform.from_quaternion((p.x * unit_m, p.y * unit_m, p.z * unit_m), (q.x, q.y, q.z, q.w))


def pose_in(message: TransformStamped) -> Any:
    """What stands in a transform, with the fields of a pose."""
    return SimpleNamespace(position=message.transform.translation, orientation=message.transform.rotation)


def box_pose_of(
    pose: Pose, unit_m: float, table_from_sensor: Transform, body_from_box: Transform
) -> tuple[float, float, float] | Fault:
    """Where the box is, from the pose of its tracked body.

    Args:
        pose: of the body in the sensor's frame.
        unit_m: the driver's unit of length [m].
        table_from_sensor: place of the sensor's frame.
        body_from_box: place of the box frame in the body's frame.

    Returns:
        x [m], y [m], yaw [rad; table], or a Fault with the reason in words: not tracked, not flat, or far away.
    """
    sensor_from_body = transform_of(pose, unit_m)
    if sensor_from_body is None or not position_of(pose.position).any():
        return Fault(reason=Reason.BAD_STATE, text="the driver does not track the box: NaN, or a pose of zeros")
    placed = table_from_sensor @ sensor_from_body @ body_from_box
    if placed.tilt_rad > TILT_LIMIT_RAD:
        text = (
            f"the box seems tilted by {math.degrees(placed.tilt_rad):.0f} degrees; if it lies flat, the axes differ:"
            " a system with y up needs its roll in table_from_mocap, a body with y up its roll in body_from_box"
        )
        return Fault(reason=Reason.BAD_STATE, text=text)
    x_m, y_m, _ = placed.translation_m
    if math.hypot(x_m, y_m) > FAR_M:
        text = f"the box seems {math.hypot(x_m, y_m):.0f} m away; are these millimetres (unit_m)?"
        return Fault(reason=Reason.BAD_STATE, text=text)
    return float(x_m), float(y_m), placed.yaw_rad


def cloud_points(message: PointCloud2) -> Float[ndarray, "M 3"]:
    """All points of a cloud, whatever its padding and byte order.

    Raises:
        InputError: x, y or z is missing or no float, or there are fewer bytes than the header promises.
    """
    fields = {field.name: field for field in message.fields}
    if not all(name in fields and fields[name].datatype in _FLOATS for name in "xyz"):
        raise InputError(f"the point cloud has the fields {sorted(fields)}; it needs x, y and z as 32 or 64 bit floats")
    if any(fields[name].offset + int(_FLOATS[fields[name].datatype][1:]) > message.point_step for name in "xyz"):
        raise InputError(f"the point cloud has points of {message.point_step} bytes, too few for its fields x, y and z")
    used = message.width * message.point_step
    if used == 0 or message.height == 0:
        return np.empty((0, 3))
    if message.row_step < used or len(message.data) < message.height * message.row_step:
        raise InputError(
            f"the point cloud has {len(message.data)} bytes in rows of {message.row_step}, too few for"
            f" {message.height} x {message.width} points of {message.point_step}"
        )
    order = ">" if message.is_bigendian else "<"
    kind = np.dtype(
        {
            "names": list("xyz"),
            "formats": [order + _FLOATS[fields[name].datatype] for name in "xyz"],
            "offsets": [fields[name].offset for name in "xyz"],
            "itemsize": message.point_step,
        }
    )
    rows = np.frombuffer(message.data, dtype=np.uint8)[: message.height * message.row_step].reshape(message.height, -1)
    points = np.ascontiguousarray(rows[:, :used]).view(kind).reshape(-1)
    return np.column_stack([points[name] for name in "xyz"]).astype(float)


def named_pose(message: Any, name: str) -> Pose | None:
    """The pose of a body by its name; None when the driver does not list it, as it does when it loses it.

    Args:
        message: motion_capture_tracking_interfaces/NamedPoseArray or mocap4r2_msgs/RigidBodies.
        name: of the body.
    """
    if hasattr(message, "rigidbodies"):
        return next((body.pose for body in message.rigidbodies if body.rigid_body_name == name), None)
    return next((entry.pose for entry in message.poses if entry.name == name), None)


def marker_points(message: Any, names: Sequence[str]) -> tuple[bool, Float[ndarray, "M 3"]]:
    """Markers of a mocap4r2_msgs/Markers message.

    Args:
        message: its markers carry a name, or only their place in the frame's list, which changes when one is hidden.
        names: marker names of the layout.

    Returns:
        True and one row per name, NaN where it is missing, when the message names any of them; else False and all
        points as they come.
    """
    named = {m.marker_name: position_of(m.translation) for m in message.markers if m.id_type != _BY_INDEX}
    if not named.keys() & set(names):
        return False, np.array([position_of(m.translation) for m in message.markers], dtype=float).reshape(-1, 3)
    hidden = np.full(3, np.nan)
    return True, np.array([named.get(name, hidden) for name in names])
