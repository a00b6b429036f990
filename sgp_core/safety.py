"""The checks between a measurement and a motion: pure functions, used wherever a state or step is to be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import Workspace
from sgp_core.layout import MarkerLayout
from sgp_core.types import Goal, Reason

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


def outside_by(point_m: Float[ndarray, "2"], workspace_m: Workspace) -> float:
    """How far a point lies outside the workspace along its worst axis [m]; negative inside."""
    x_min, x_max, y_min, y_max = workspace_m
    x, y = float(point_m[0]), float(point_m[1])
    return max(x_min - x, x - x_max, y_min - y, y - y_max)


def clamp(point_m: Float[ndarray, "2"], workspace_m: Workspace) -> Float[ndarray, "2"]:
    """The nearest point of the workspace [m; table]."""
    x_min, x_max, y_min, y_max = workspace_m
    return np.clip(np.asarray(point_m, dtype=float), [x_min, y_min], [x_max, y_max])


def check_age(stamp_s: float, now_s: float, timeout_s: float) -> Fault | None:
    """Refuse a state older than `timeout_s`, or from the future beyond what clock skew explains."""
    age_s = now_s - stamp_s
    if age_s > timeout_s:
        return Fault(
            reason=Reason.STALE_STATE, text=f"the state is {age_s:.3f} s old, state_timeout_s is {timeout_s:g}"
        )
    if age_s < -FUTURE_TOLERANCE_S:
        text = f"the state is stamped {-age_s:.3f} s in the future; synchronise the clocks of driver and controller"
        return Fault(reason=Reason.STALE_STATE, text=text)
    return None


def check_state(
    x: Float[ndarray, "nx"], stamp_s: float, now_s: float, timeout_s: float, workspace_m: Workspace
) -> Fault | None:
    """May this state become a step?

    Args:
        x: markers, then pusher [m; table].
        stamp_s: when it was measured, on the clock of `now_s`.
        timeout_s: oldest age allowed.
        workspace_m: where the pusher may be; markers may stick out of it, the box is not ours to bound.

    Returns:
        None when it may, else the reason.
    """
    if not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x)).tolist()
        return Fault(reason=Reason.NON_FINITE, text=f"the state is not finite at the indices {bad} of {len(x)}")
    stale = check_age(stamp_s, now_s, timeout_s)
    if stale is not None:
        return stale
    beyond_m = outside_by(x[-2:], workspace_m)
    if beyond_m > MEASURED_SLACK_M:
        text = f"the pusher at {_point(x[-2:])} is {beyond_m * 1e3:.1f} mm outside workspace_m {list(workspace_m)}"
        return Fault(reason=Reason.OUTSIDE_WORKSPACE, text=text)
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
    u: Float[ndarray, "2"],
    pusher_m: Float[ndarray, "2"],
    step_limit_m: float,
    workspace_m: Workspace,
    *,
    slack_m: float = ROUNDING_M,
) -> Fault | None:
    """May this step be sent, or executed?

    Args:
        u: displacement [m; table].
        pusher_m: where it starts [m; table].
        step_limit_m: largest component [m].
        workspace_m: where the pusher may be.
        slack_m: how far the end may lie outside before the step counts as wrong.

    Returns:
        None when it may, else the reason. A start outside is allowed as far as the end comes closer to the workspace.
    """
    wrong = check_size(u, step_limit_m)
    if wrong is not None:
        return wrong
    if not np.isfinite(pusher_m).all():
        return Fault(reason=Reason.NON_FINITE, text=f"the pusher position {_point(pusher_m)} m is not finite")
    end_m = np.asarray(pusher_m, dtype=float) + np.asarray(u, dtype=float)
    beyond_m = outside_by(end_m, workspace_m)
    # A pusher measured just outside (noise on the border) has to be allowed the way back in.
    allowed_m = max(slack_m, min(outside_by(pusher_m, workspace_m), MEASURED_SLACK_M) + ROUNDING_M)
    if beyond_m > allowed_m:
        text = f"the step ends at {_point(end_m)}, {beyond_m * 1e3:.1f} mm outside workspace_m {list(workspace_m)}"
        return Fault(reason=Reason.OUTSIDE_WORKSPACE, text=text)
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
