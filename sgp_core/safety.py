"""The checks between a measurement and a motion: pure functions, used wherever a state or step is to be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import LimitsConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.types import Goal, Reason
from sgp_core.workspace import Region, region

# Clocks of two machines kept in step by NTP or PTP differ by milliseconds; a stamp further ahead than this would
# never grow stale, so it is refused.
FUTURE_TOLERANCE_S = 0.05
# A measured pusher that rests on the border of the workspace is now and then seen just outside of it.
MEASURED_SLACK_M = 0.005
# Models compute in single precision: a step bounded exactly by the planner may exceed the bound by rounding.
ROUNDING_M = 1e-5
# Markers further than this from a rigid copy of the layout are most likely in another order, or of another box.
RIGID_TOLERANCE_M = 0.02


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why something is refused: the code for machines and the figure with its limit for people."""

    reason: Reason
    text: str


def region_of(limits: LimitsConfig) -> Region:
    """Where the pusher may be under these limits."""
    return region(limits.workspace_m, limits.keep_out_m)


def check_age(stamp_s: float, now_s: float, timeout_s: float) -> Fault | None:
    """Refuse a state older than `timeout_s`, or from the future beyond what clock skew explains."""
    age_s = now_s - stamp_s
    if age_s > timeout_s:
        return Fault(
            reason=Reason.STALE_STATE,
            text=f"the state is {age_s:.3f} s old, state_timeout_s is {timeout_s:g}; see driver and mocap_node",
        )
    if age_s < -FUTURE_TOLERANCE_S:
        text = f"the state is stamped {-age_s:.3f} s in the future; synchronise the clocks of driver and controller"
        return Fault(reason=Reason.STALE_STATE, text=text)
    return None


def check_state(
    x: Float[ndarray, "nx"], stamp_s: float, now_s: float, timeout_s: float, limits: LimitsConfig
) -> Fault | None:
    """May this state become a step?

    Args:
        x: markers, then pusher [m; table].
        stamp_s: when it was measured, on the clock of `now_s`.
        timeout_s: oldest age allowed.
        limits: where the pusher may be; markers may stick out of the workspace, the box is not ours to bound.

    Returns:
        None when it may, else the reason.
    """
    if not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x)).tolist()
        return Fault(reason=Reason.NON_FINITE, text=f"the state is not finite at the indices {bad} of {len(x)}")
    stale = check_age(stamp_s, now_s, timeout_s)
    if stale is not None:
        return stale
    return check_place("the pusher", x[-2:], limits, MEASURED_SLACK_M)


def check_place(what: str, point_m: Float[ndarray, "2"], limits: LimitsConfig, slack_m: float) -> Fault | None:
    """Refuse a point [m; table] further than `slack_m` outside the workspace, or inside a keep-out."""
    allowed = region_of(limits)
    beyond_m = float(allowed.outside_by(point_m))
    if beyond_m > slack_m:
        where = f"{beyond_m * 1e3:.1f} mm outside workspace_m {list(limits.workspace_m)}"
        return Fault(reason=Reason.OUTSIDE_WORKSPACE, text=f"{what} at {_point(point_m)} is {where}")
    deep_m = float(allowed.kept_out_by(point_m))
    if deep_m > slack_m:
        where = f"{deep_m * 1e3:.1f} mm inside keep_out_m {list(limits.keep_out_m)}"
        return Fault(reason=Reason.KEEP_OUT, text=f"{what} at {_point(point_m)} is {where}")
    return None


def check_size(u: Float[ndarray, "2"], step_limit_m: float) -> Fault | None:
    """Refuse a step that is not finite or longer than the limit along an axis [m]."""
    if not np.isfinite(u).all():
        return Fault(reason=Reason.NON_FINITE, text=f"the step {_point(u)} m is not finite")
    largest_m = float(np.abs(u).max())
    if largest_m > step_limit_m + ROUNDING_M:
        text = f"the step {_point(u)} is {largest_m * 1e3:.1f} mm long along an axis, step_limit_m is {step_limit_m:g}"
        return Fault(reason=Reason.STEP_TOO_LARGE, text=text)
    return None


def check_step(
    u: Float[ndarray, "2"], pusher_m: Float[ndarray, "2"], limits: LimitsConfig, *, slack_m: float = ROUNDING_M
) -> Fault | None:
    """May this step be sent, or executed?

    Args:
        u: displacement [m; table].
        pusher_m: where it starts [m; table].
        limits: largest component, workspace, keep-outs.
        slack_m: how far its end, and the way there, may lie where it must not before the step counts as wrong.

    Returns:
        None when it may, else the reason. A start outside is allowed as far as the end comes closer to the workspace.
    """
    wrong = check_size(u, limits.step_limit_m)
    if wrong is not None:
        return wrong
    start_m = np.asarray(pusher_m, dtype=float)
    if not np.isfinite(start_m).all():
        return Fault(reason=Reason.NON_FINITE, text=f"the pusher position {_point(start_m)} m is not finite")
    allowed, end_m = region_of(limits), start_m + np.asarray(u, dtype=float)
    # A pusher measured just outside (noise on the border) has to be allowed the way back in.
    outside_m, inside_m = float(allowed.outside_by(start_m)), float(allowed.kept_out_by(start_m))
    most_m = max(slack_m, min(max(outside_m, inside_m), MEASURED_SLACK_M) + ROUNDING_M)
    wrong = check_place("the end of the step", end_m, limits, most_m)
    if wrong is None and inside_m > most_m:
        wrong = check_place("the start of the step", start_m, limits, most_m)
    if wrong is not None:
        return wrong
    # An end just inside is moved to the border, by whoever executes the step; a way through is not to be mended.
    reached_m = allowed.reached(start_m, end_m, into_m=max(inside_m, 0.0) + ROUNDING_M)
    short_m = float(np.linalg.norm(reached_m - allowed.clamp(end_m)))
    if short_m > ROUNDING_M and float(allowed.kept_out_by(end_m)) <= 0.0:
        text = f"the step from {_point(start_m)} to {_point(end_m)} crosses keep_out_m {list(limits.keep_out_m)}"
        return Fault(reason=Reason.KEEP_OUT, text=text)
    return None


def check_goal(goal: Goal, layout: MarkerLayout) -> str | None:
    """What is wrong with a goal, in words: shape, finiteness, or markers that do not form the box; None when good."""
    markers = np.asarray(goal.markers_m, dtype=float)
    if markers.shape != (layout.count, 2):
        return f"the goal has {len(markers)} markers, the layout has {layout.count}: {list(layout.names)}"
    if not np.isfinite(markers).all():
        return "the goal is not finite"
    strange = check_rigid(markers, layout)
    return None if strange is None else f"the goal {strange}"


def check_reach(goal: Goal, layout: MarkerLayout, limits: LimitsConfig) -> None:
    """Raises InputError for a goal [m; table] so far outside the workspace that the pusher cannot bring the box there.

    A box can be pushed beyond the border by the pusher's radius and half its own size, and no further.
    """
    x_m, y_m, yaw_rad = layout.pose_of(goal.markers_m)
    reach_m = layout.pusher_radius_m + 0.5 * math.hypot(*layout.box_size_m[:2])
    beyond_m = float(region_of(limits).outside_by(np.array([x_m, y_m])))
    if beyond_m > reach_m:
        raise InputError(
            f"the goal (x {x_m:.3f} m, y {y_m:.3f} m, yaw {yaw_rad:.3f} rad) is {beyond_m * 1e3:.0f} mm outside"
            f" workspace_m {list(limits.workspace_m)}, where the pusher cannot bring the box; choose another, or widen"
            " the workspace"
        )


def check_tracking(
    reference_m: Float[ndarray, "2"] | None,
    pusher_m: Float[ndarray, "2"],
    limits: LimitsConfig,
    told_m: Float[ndarray, "2"] | None = None,
) -> Fault | None:
    """Refuse to plan for a pusher that is not where it is told to be.

    Args:
        reference_m: where the reference is [m; table]; None before the first measurement.
        pusher_m: where the pusher is [m; table].
        limits: `tracking_limit_m` counts.
        told_m: where the arm's command is, when only its caps keep it behind the reference [m; table].
    """
    if reference_m is None:
        return Fault(reason=Reason.NO_PUSHER, text="pusher_node has no reference yet")
    places = [reference_m] if told_m is None else [reference_m, told_m]
    apart_m = min(float(np.linalg.norm(np.asarray(place) - np.asarray(pusher_m))) for place in places)
    if apart_m <= limits.tracking_limit_m:
        return None
    text = (
        f"the pusher is {apart_m * 1e3:.1f} mm from where it is told to be, tracking_limit_m is"
        f" {limits.tracking_limit_m:g}; is the arm following, is something in its way?"
    )
    return Fault(reason=Reason.TRACKING_ERROR, text=text)


def check_rigid(markers_m: Float[ndarray, "N 2"], layout: MarkerLayout) -> str | None:
    """How markers [m; table] fail to form the box, in words; None when they do."""
    off_m = np.linalg.norm(layout.markers_at(*layout.pose_of(markers_m)) - markers_m, axis=1)
    if off_m.max() <= RIGID_TOLERANCE_M:
        return None
    worst = layout.names[int(off_m.argmax())]
    return (
        f"markers do not form the box: {worst} is {off_m.max() * 1e3:.0f} mm off the fitted layout;"
        f" they must come in the order {list(layout.names)}, in metres, from the layout of the bundle"
    )


def _point(point: ndarray) -> str:
    return "(" + ", ".join(f"{float(value):.4f}" for value in point) + ")"
