"""Messages of the nodes' own topics as core types and back; `convert_mocap` and `convert_arm` know those of others.

Every number goes through float(): generated messages take integers and numpy scalars without a word and send garbage.
Input is checked for frame, shape and finiteness; what is wrong is told in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseArray, PoseStamped, Vector3Stamped
from jaxtyping import Float
from nav_msgs.msg import Path
from numpy import ndarray
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault, check_goal
from sgp_core.types import Goal, Plan, Reason, State

TABLE = "table"
MOCAP = "mocap"
NS = 1_000_000_000


# --- time ----------------------------------------------------------------------------------------------------------


def clock_seconds(nanoseconds: int) -> float:
    """Nanoseconds of a clock in seconds; a double resolves today's date to 0.25 microseconds."""
    return nanoseconds / NS


def stamp_ns(stamp: Time) -> int:
    """A stamp in nanoseconds, exact: for comparing stamps."""
    return int(stamp.sec) * NS + int(stamp.nanosec)


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return clock_seconds(stamp_ns(stamp))


def stamp(time_s: float) -> Time:
    """Seconds as a stamp."""
    whole, part = divmod(round(max(time_s, 0.0) * NS), NS)
    return Time(sec=int(whole), nanosec=int(part))


def header(time_s: float, frame: str = TABLE) -> Header:
    """A message header."""
    return Header(stamp=stamp(time_s), frame_id=frame)


# --- poses ---------------------------------------------------------------------------------------------------------


def _pose(x: float, y: float, z: float = 0.0, yaw_rad: float = 0.0) -> Pose:
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = float(x), float(y), float(z)
    pose.orientation.z, pose.orientation.w = math.sin(0.5 * float(yaw_rad)), math.cos(0.5 * float(yaw_rad))
    return pose


def pose_to_msg(
    time_s: float, x_m: float, y_m: float, yaw_rad: float = 0.0, *, z_m: float = 0.0, frame: str = TABLE
) -> PoseStamped:
    """A pose above the table [m, rad]."""
    return PoseStamped(header=header(time_s, frame), pose=_pose(x_m, y_m, z_m, yaw_rad))


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


# --- state, goal, step ---------------------------------------------------------------------------------------------


def state_to_msg(state: State) -> PoseArray:
    """Markers 1..N, then the pusher; the header carries the time of the measurement."""
    poses = [_pose(x, y) for x, y in np.asarray(state.x).reshape(-1, 2)]
    return PoseArray(header=header(state.stamp_s), poses=poses)


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


def step_to_msg(time_s: float, u: Float[ndarray, "2"]) -> Vector3Stamped:
    """A step: displacement from the pusher reference at the stamp [m; table]."""
    message = Vector3Stamped(header=header(time_s))
    message.vector.x, message.vector.y = float(u[0]), float(u[1])
    return message


def step_from_msg(message: Vector3Stamped) -> tuple[float, Float[ndarray, "2"]] | Fault:
    """Stamp [s] and displacement [m; table]; the numbers are checked where the step is executed."""
    if message.header.frame_id != TABLE:
        return _wrong_frame(message.header.frame_id)
    return seconds(message.header.stamp), np.array([message.vector.x, message.vector.y], dtype=float)


def _wrong_frame(frame: str) -> Fault:
    return Fault(reason=Reason.BAD_STATE, text=f"frame_id is '{frame}', must be '{TABLE}'")


# --- plan ----------------------------------------------------------------------------------------------------------


def plan_to_path(plan: Plan, step_duration_s: float) -> Path:
    """The planned way of the pusher; each pose is stamped with the time it is planned for."""
    poses = [
        PoseStamped(header=header(plan.stamp_s + t * step_duration_s), pose=_pose(*plan.x[t, -2:]))
        for t in range(len(plan.x))
    ]
    return Path(header=header(plan.stamp_s), poses=poses)


def plan_to_markers(plan: Plan, layout: MarkerLayout, goal: Goal) -> MarkerArray:
    """Lines for the planned way of each box marker and of the pusher, and the goal as points."""
    tracks = np.swapaxes(layout.markers(plan.x), 0, 1)  # (N, T+1, 2)
    lines = [
        _marker(plan, index, Marker.LINE_STRIP, track, 0.003, (0.1, 0.5, 0.9)) for index, track in enumerate(tracks)
    ]
    pusher = _marker(plan, layout.count, Marker.LINE_STRIP, plan.x[:, -2:], 0.006, (0.9, 0.4, 0.1))
    target = _marker(plan, layout.count + 1, Marker.SPHERE_LIST, goal.markers_m, 0.012, (0.2, 0.8, 0.2))
    return MarkerArray(markers=[*lines, pusher, target])


def _marker(
    plan: Plan, number: int, kind: int, points: ndarray, size_m: float, color: tuple[float, float, float]
) -> Marker:
    marker = Marker(header=header(plan.stamp_s), ns="plan", id=int(number), type=int(kind), action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = float(size_m)
    if kind == Marker.SPHERE_LIST:
        marker.scale.y = marker.scale.z = float(size_m)
    marker.color = ColorRGBA(r=float(color[0]), g=float(color[1]), b=float(color[2]), a=1.0)
    marker.points = [Point(x=float(x), y=float(y), z=0.0) for x, y in points]
    return marker


# --- pusher state --------------------------------------------------------------------------------------------------


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


def pusher_report_to_msg(pusher: PusherReport, extra: Mapping[str, object]) -> DiagnosticArray:
    """As one status in an array, whose header carries the time of the reference."""
    x_m, y_m = (math.nan, math.nan) if pusher.reference_m is None else (float(v) for v in pusher.reference_m)
    values = {
        "reference_x_m": x_m,
        "reference_y_m": y_m,
        "step_stamp_ns": pusher.step_stamp_ns,
        "step_duration_s": pusher.step_duration_s,
        "enabled": pusher.enabled,
        "faulted": pusher.faulted,
        **extra,
    }
    return DiagnosticArray(header=header(pusher.stamp_s), status=[report("sgp/pusher", pusher.condition, values)])


def pusher_report_from_msg(message: DiagnosticArray) -> PusherReport:
    """The report. Raises InputError when a value is missing or malformed."""
    try:
        (status,) = message.status
        values = {pair.key: pair.value for pair in status.values}
        reference = np.array([float(values["reference_x_m"]), float(values["reference_y_m"])])
        return PusherReport(
            stamp_s=seconds(message.header.stamp),
            condition=Fault(reason=Reason(values["reason"]), text=status.message),
            reference_m=reference if np.isfinite(reference).all() else None,
            step_stamp_ns=int(values["step_stamp_ns"]),
            step_duration_s=float(values["step_duration_s"]),
            enabled=values["enabled"] == "true",
            faulted=values["faulted"] == "true",
        )
    except (KeyError, ValueError) as error:
        raise InputError(f"pusher_state is malformed ({error!r}); start the pusher_node of the same version") from error


# --- reports -------------------------------------------------------------------------------------------------------

_WARNINGS = {
    Reason.DRY_RUN, Reason.NO_GOAL, Reason.NO_STATE, Reason.STALE_STATE, Reason.NO_PUSHER, Reason.PUSHER_DISABLED,
    Reason.APPROACHING, Reason.LATE_STEP,
}  # fmt: skip


def level_of(reason: Reason) -> bytes:
    """OK while all is well, WARN while waiting for somebody, ERROR when something is wrong."""
    if reason in (Reason.RUNNING, Reason.GOAL_REACHED):
        return DiagnosticStatus.OK
    return DiagnosticStatus.WARN if reason in _WARNINGS else DiagnosticStatus.ERROR


def report(name: str, condition: Fault, values: Mapping[str, object]) -> DiagnosticStatus:
    """A status with the reason code among its values."""
    pairs = {"reason": condition.reason.value, **values}
    return DiagnosticStatus(
        level=level_of(condition.reason),
        name=name,
        message=condition.text,
        hardware_id="sgp_ros",
        values=[KeyValue(key=key, value=_text(value)) for key, value in pairs.items()],
    )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
