"""The gates: each refuses exactly what it is there for, and says the figure and the limit."""

from __future__ import annotations

import numpy as np
import pytest

from sgp_core.config import LimitsConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault, check_goal, check_reach, check_size, check_state, check_step
from sgp_core.types import Goal, Reason

LAYOUT = MarkerLayout(
    names=("m1", "m2", "m3"),
    places_m=((0.03, 0.06), (-0.03, 0.05), (0.01, -0.07)),
    box_size_m=(0.0867, 0.1703, 0.0391),
    pusher_radius_m=0.035,
)
LIMITS = LimitsConfig()


def state(pusher: tuple[float, float] = (0.41, 0.0)) -> np.ndarray:
    return LAYOUT.pack(LAYOUT.markers_at(0.5, 0.0, 0.0), np.array(pusher))


def reason(fault: Fault | None) -> Reason | None:
    return None if fault is None else fault.reason


@pytest.mark.parametrize(
    ("age_s", "wanted"),
    [(0.0, None), (0.5, None), (0.501, Reason.STALE_STATE), (-0.04, None), (-0.06, Reason.STALE_STATE)],
)
def test_state_age(age_s: float, wanted: Reason | None) -> None:
    assert reason(check_state(state(), 100.0, 100.0 + age_s, 0.5, LIMITS)) == wanted


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_state_not_finite(value: float) -> None:
    x = state()
    x[3] = value
    fault = check_state(x, 1.0, 1.0, 0.5, LIMITS)
    assert fault is not None
    assert fault.reason == Reason.NON_FINITE
    assert "[3] of 8" in fault.text


def test_pusher_outside_workspace_is_told_with_distance_and_limit() -> None:
    fault = check_state(state((0.28, 0.0)), 1.0, 1.0, 0.5, LIMITS)
    assert fault is not None
    assert fault.reason == Reason.OUTSIDE_WORKSPACE
    assert "20.0 mm" in fault.text
    assert "0.3" in fault.text
    assert check_state(state((0.298, 0.0)), 1.0, 1.0, 0.5, LIMITS) is None  # noise on the border


@pytest.mark.parametrize(
    ("u", "start", "wanted"),
    [
        ((0.05, -0.05), (0.5, 0.0), None),
        ((0.0501, 0.0), (0.5, 0.0), Reason.STEP_TOO_LARGE),
        ((0.0, -0.06), (0.5, 0.0), Reason.STEP_TOO_LARGE),
        ((np.nan, 0.0), (0.5, 0.0), Reason.NON_FINITE),
        ((0.01, 0.0), (np.inf, 0.0), Reason.NON_FINITE),
        ((0.03, 0.0), (0.93, 0.0), Reason.OUTSIDE_WORKSPACE),
        ((0.02, 0.0), (0.93, 0.0), None),
        ((0.001, 0.0), (0.297, 0.0), None),  # still outside, but on the way back in
        ((-0.001, 0.0), (0.297, 0.0), Reason.OUTSIDE_WORKSPACE),
    ],
)
def test_step(u: tuple[float, float], start: tuple[float, float], wanted: Reason | None) -> None:
    assert reason(check_step(np.array(u), np.array(start), LIMITS)) == wanted


def test_step_rounding_of_single_precision_passes() -> None:
    assert check_size(np.array([np.float32(0.05), -np.float32(0.05)]), 0.05) is None


KEPT_OUT = LIMITS.replaced(keep_out_m=(0.60, 0.62, -0.10, 0.10, 0.80, 0.90, -0.10, 0.10))


@pytest.mark.parametrize(
    ("u", "start", "wanted"),
    [
        ((0.04, 0.0), (0.55, 0.0), None),
        ((0.04, 0.0), (0.575, 0.0), Reason.KEEP_OUT),  # ends inside
        ((0.05, 0.0), (0.58, 0.0), Reason.KEEP_OUT),  # ends behind it
        ((0.05, 0.0), (0.58, 0.11), None),  # passes beside it
        ((0.04, 0.03), (0.585, 0.085), Reason.KEEP_OUT),  # cuts its corner
        ((0.05, 0.0), (0.603, 0.0), Reason.KEEP_OUT),  # starts just inside and ends behind it
        ((-0.05, 0.0), (0.603, 0.0), None),  # starts just inside and leaves
        ((0.03, 0.0), (0.88, 0.0), Reason.KEEP_OUT),  # measured deep inside: a person has to move it
        ((0.03, 0.0), (0.617, 0.0), None),  # measured just inside: the way out
    ],
)
def test_keep_out(u: tuple[float, float], start: tuple[float, float], wanted: Reason | None) -> None:
    assert reason(check_step(np.array(u), np.array(start), KEPT_OUT)) == wanted


def test_pusher_inside_a_keep_out_is_told() -> None:
    fault = check_state(state((0.61, 0.0)), 1.0, 1.0, 0.5, KEPT_OUT)
    assert fault is not None
    assert fault.reason == Reason.KEEP_OUT
    assert "10.0 mm inside keep_out_m" in fault.text


def test_reach_ends_a_pusher_and_half_a_box_beyond_the_border() -> None:
    check_reach(Goal.from_pose(LAYOUT, 0.95 + 0.13, 0.0, 0.0), LAYOUT, LIMITS)
    with pytest.raises(InputError, match=r"150 mm outside workspace_m"):
        check_reach(Goal.from_pose(LAYOUT, 0.95 + 0.15, 0.0, 0.0), LAYOUT, LIMITS)


def test_goal_markers_in_another_order_or_unit_are_refused() -> None:
    good = LAYOUT.markers_at(0.7, 0.1, 0.2)
    assert check_goal(Goal(markers_m=good), LAYOUT) is None
    assert "order" in (check_goal(Goal(markers_m=good[[1, 0, 2]]), LAYOUT) or "")
    assert "metres" in (check_goal(Goal(markers_m=good * 1e3), LAYOUT) or "")
    assert "3" in (check_goal(Goal(markers_m=good[:2]), LAYOUT) or "")
    assert "finite" in (check_goal(Goal(markers_m=good * np.nan), LAYOUT) or "")
