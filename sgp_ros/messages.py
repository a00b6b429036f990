"""Core types as messages; `convert` reads them.

Every number goes through float(): generated messages take integers and numpy scalars without a word and send garbage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point, Pose, PoseArray, PoseStamped, Quaternion, Vector3Stamped
from jaxtyping import Float
from nav_msgs.msg import Path
from numpy import ndarray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.types import Goal, Plan, Reason, State
from sgp_ros.convert import NS, TABLE, PusherReport


def stamp(time_s: float) -> Time:
    """Seconds as a stamp."""
    whole, part = divmod(round(max(time_s, 0.0) * NS), NS)
    return Time(sec=int(whole), nanosec=int(part))


def header(time_s: float, frame: str = TABLE) -> Header:
    """A message header."""
    return Header(stamp=stamp(time_s), frame_id=frame)


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


def state_to_msg(state: State) -> PoseArray:
    """Markers 1..N, then the pusher; the header carries the time of the measurement."""
    poses = [_pose(x, y) for x, y in np.asarray(state.x).reshape(-1, 2)]
    return PoseArray(header=header(state.stamp_s), poses=poses)


def step_to_msg(time_s: float, u: Float[ndarray, "2"]) -> Vector3Stamped:
    """A step: displacement from the pusher reference at the stamp [m; table]."""
    message = Vector3Stamped(header=header(time_s))
    message.vector.x, message.vector.y = float(u[0]), float(u[1])
    return message


def cloud_to_msg(time_s: float, frame: str, points_m: Float[ndarray, "M 3"]) -> PointCloud2:
    """Points [m] without labels, as 32 bit floats."""
    data = np.asarray(points_m).astype("<f4").tobytes()
    fields = [PointField(name=n, offset=4 * i, datatype=PointField.FLOAT32, count=1) for i, n in enumerate("xyz")]
    size = {"height": 1, "width": len(points_m), "point_step": 12, "row_step": len(data)}
    return PointCloud2(header=header(time_s, frame), fields=fields, data=data, is_dense=True, **size)


def pusher_to_msg(stamp_s: float, position_m: Float[ndarray, "3"], turn: Float[ndarray, "3 3"] | None) -> PoseStamped:
    """The measured pusher [m; table] as mocap_node publishes it.

    Args:
        stamp_s: time of the measurement.
        position_m: of the tool.
        turn: rotation `table_from_tool`; None, when nobody knows it, becomes the quaternion (0, 0, 0, 0).
    """
    x, y, z = (float(number) for number in position_m)
    message = pose_to_msg(stamp_s, x, y, z_m=z)
    xyzw = np.zeros(4) if turn is None else Transform(rotation=turn, translation_m=np.zeros(3)).quaternion()
    qx, qy, qz, qw = (float(number) for number in xyzw)
    message.pose.orientation = Quaternion(x=qx, y=qy, z=qz, w=qw)
    return message


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


def pusher_report_to_msg(pusher: PusherReport, extra: Mapping[str, object]) -> DiagnosticArray:
    """As one status in an array, whose header carries the time of the reference."""
    values = {
        **_point("reference", pusher.reference_m),
        **_point("told", pusher.told_m),
        "step_stamp_ns": pusher.step_stamp_ns,
        "step_duration_s": pusher.step_duration_s,
        "enabled": pusher.enabled,
        "faulted": pusher.faulted,
        **extra,
    }
    return DiagnosticArray(header=header(pusher.stamp_s), status=[report("sgp/pusher", pusher.condition, values)])


def _point(name: str, point_m: Float[ndarray, "2"] | None) -> dict[str, float]:
    x_m, y_m = (math.nan, math.nan) if point_m is None else (float(v) for v in point_m)
    return {f"{name}_x_m": x_m, f"{name}_y_m": y_m}


_WARNINGS = {
    Reason.DRY_RUN, Reason.NO_GOAL, Reason.NO_STATE, Reason.NO_PUSHER, Reason.PUSHER_DISABLED, Reason.APPROACHING,
    Reason.LATE_STEP,
}  # fmt: skip


def level_of(reason: Reason) -> bytes:
    """OK while all is well, WARN while waiting for somebody, STALE for data too old, ERROR when something is wrong."""
    if reason in (Reason.RUNNING, Reason.GOAL_REACHED):
        return DiagnosticStatus.OK
    if reason == Reason.STALE_STATE:
        return DiagnosticStatus.STALE
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
