"""Messages of the nodes' own topics as core types; `messages` makes them, `convert_mocap` knows those of others.

Input is checked for frame, shape and finiteness; what is wrong is told in words. Nothing here needs ROS: a message is
whatever has the fields of one, be it from DDS or from a bag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault, check_goal
from sgp_core.types import Goal, Reason, State

if TYPE_CHECKING:
    from builtin_interfaces.msg import Time
    from diagnostic_msgs.msg import DiagnosticArray
    from geometry_msgs.msg import Pose, PoseArray, PoseStamped, Vector3Stamped
    from visualization_msgs.msg import MarkerArray

TABLE = "table"
MOCAP = "mocap"
NS = 1_000_000_000


def clock_seconds(nanoseconds: int) -> float:
    """Nanoseconds of a clock in seconds; a double resolves today's date to 0.25 microseconds."""
    return nanoseconds / NS


def stamp_ns(stamp: Time) -> int:
    """A stamp in nanoseconds, exact: for comparing stamps."""
    return int(stamp.sec) * NS + int(stamp.nanosec)


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return clock_seconds(stamp_ns(stamp))


def point_of(message: PoseStamped) -> Float[ndarray, "3"]:
    """Position of a pose [m; the message's frame]; may hold NaN, which is how some drivers say "hidden"."""
    position = message.pose.position
    return np.array([position.x, position.y, position.z], dtype=float)


def table_point_of(message: PoseStamped) -> Float[ndarray, "2"] | Fault:
    """Position (x, y) of a pose that must be in the frame `table` [m]."""
    if message.header.frame_id != TABLE:
        return _wrong_frame(message.header.frame_id)
    point: Float[ndarray, "2"] = point_of(message)[:2]
    if not np.isfinite(point).all():
        return Fault(reason=Reason.NON_FINITE, text=f"the position ({point[0]}, {point[1]}) is not finite")
    return point


def _yaw(pose: Pose) -> float:
    q = pose.orientation
    norm2 = q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z
    if not 0.9 < norm2 < 1.1:
        raise InputError(
            f"the orientation (x={q.x}, y={q.y}, z={q.z}, w={q.w}) is no unit quaternion; use w=1 for yaw 0"
        )
    return math.atan2(2.0 * (q.w * q.z + q.x * q.y), 1.0 - 2.0 * (q.y * q.y + q.z * q.z))


def box_pose_of(message: PoseStamped) -> tuple[float, float, float]:
    """Box pose x [m], y [m], yaw [rad; table]. Raises InputError: other frame, not finite, no orientation."""
    point = table_point_of(message)
    if isinstance(point, Fault):
        raise InputError(point.text)
    return float(point[0]), float(point[1]), _yaw(message.pose)


def state_from_msg(message: PoseArray, layout: MarkerLayout) -> State | Fault:
    """The state, or BAD_STATE for another frame or number of poses, NON_FINITE for NaN and infinity."""
    if message.header.frame_id != TABLE:
        return _wrong_frame(message.header.frame_id)
    if len(message.poses) != layout.count + 1:
        text = f"the state has {len(message.poses)} poses, expected are {layout.count} markers and the pusher"
        return Fault(reason=Reason.BAD_STATE, text=text)
    x = np.array([[pose.position.x, pose.position.y] for pose in message.poses], dtype=float).reshape(-1)
    if not np.isfinite(x).all():
        bad = (np.flatnonzero(~np.isfinite(x)) // 2).tolist()
        return Fault(reason=Reason.NON_FINITE, text=f"the state is not finite at the poses {sorted(set(bad))}")
    return State(stamp_s=seconds(message.header.stamp), x=x)


def goal_from_pose(message: PoseStamped, layout: MarkerLayout) -> Goal:
    """Goal markers of a box pose. Raises InputError."""
    return _checked(Goal.from_pose(layout, *box_pose_of(message)), layout)


def goal_from_markers(message: PoseArray, layout: MarkerLayout) -> Goal:
    """Goal markers as given, 1..N. Raises InputError."""
    if message.header.frame_id != TABLE:
        raise InputError(_wrong_frame(message.header.frame_id).text)
    positions = [[pose.position.x, pose.position.y] for pose in message.poses]
    return _checked(Goal(markers_m=np.array(positions, dtype=float).reshape(-1, 2)), layout)


def _checked(goal: Goal, layout: MarkerLayout) -> Goal:
    wrong = check_goal(goal, layout)
    if wrong is not None:
        raise InputError(wrong)
    return goal


def step_from_msg(message: Vector3Stamped) -> tuple[float, Float[ndarray, "2"]] | Fault:
    """Stamp [s] and displacement [m; table]; the numbers are checked where the step is executed."""
    if message.header.frame_id != TABLE:
        return _wrong_frame(message.header.frame_id)
    return seconds(message.header.stamp), np.array([message.vector.x, message.vector.y], dtype=float)


def _wrong_frame(frame: str) -> Fault:
    return Fault(reason=Reason.BAD_STATE, text=f"frame_id is '{frame}', must be '{TABLE}'")


@dataclass(frozen=True, kw_only=True)
class PusherReport:
    """What the pusher says about itself."""

    stamp_s: float  # time of the reference
    condition: Fault  # RUNNING when a step would be executed
    reference_m: Float[ndarray, "2"] | None  # [m; table]; None before the first measurement
    step_stamp_ns: int  # stamp of the last accepted step; 0 for none
    step_duration_s: float
    enabled: bool
    faulted: bool  # a fault is latched
    # Where the arm's command is, when only its caps keep it behind the reference [m; table].
    told_m: Float[ndarray, "2"] | None = None
    last_refused: str = ""  # why the last refused step was, however long ago


def pusher_report_from_msg(message: DiagnosticArray) -> PusherReport:
    """The report. Raises InputError when a value is missing or malformed."""
    try:
        (status,) = message.status
        values = {pair.key: pair.value for pair in status.values}
        reference, told = (
            np.array([float(values.get(f"{name}_{axis}_m", "nan")) for axis in "xy"]) for name in ("reference", "told")
        )
        return PusherReport(
            stamp_s=seconds(message.header.stamp),
            condition=Fault(reason=Reason(values["reason"]), text=status.message),
            reference_m=reference if np.isfinite(reference).all() else None,
            step_stamp_ns=int(values["step_stamp_ns"]),
            step_duration_s=float(values["step_duration_s"]),
            enabled=values["enabled"] == "true",
            faulted=values["faulted"] == "true",
            told_m=told if np.isfinite(told).all() else None,
            last_refused=values.get("last_refused", ""),
        )
    except (KeyError, ValueError) as error:
        raise InputError(f"pusher_state is malformed ({error!r}); start the pusher_node of the same version") from error


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What `plan_markers` tells of a plan."""

    stamp_s: float  # when it begins
    markers_m: Float[ndarray, "T+1 N 2"]  # of the box, as predicted [m; table]
    pusher_m: Float[ndarray, "T+1 2"]  # [m; table]
    goal_m: Float[ndarray, "N 2"]  # of the markers [m; table]


def planned_from_msg(message: MarkerArray, layout: MarkerLayout) -> Planned:
    """The plan that `messages.plan_to_markers` put into lines. Raises InputError: of another layout or version."""
    lines = {marker.id: np.array([[p.x, p.y] for p in marker.points]).reshape(-1, 2) for marker in message.markers}
    ways = [lines.get(number, np.zeros((0, 2))) for number in range(layout.count + 2)]
    lengths = {len(way) for way in ways[:-1]}
    if len(lines) != layout.count + 2 or len(lengths) != 1 or 0 in lengths or len(ways[-1]) != layout.count:
        raise InputError(
            f"plan_markers holds {len(lines)} lines, expected are those of {layout.count} markers, pusher and goal; see"
            " --layout"
        )
    return Planned(
        stamp_s=seconds(message.markers[0].header.stamp),
        markers_m=np.stack(ways[:-2], axis=1),
        pusher_m=ways[-2],
        goal_m=ways[-1],
    )
