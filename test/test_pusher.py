"""The pusher reference in injected time: straight lines, hard limits, latched faults."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.config import PusherConfig
from sgp_core.pusher import PusherReference
from sgp_core.safety import Fault, region_of
from sgp_core.types import Reason

CONFIG = PusherConfig()
START = np.array([0.41, 0.0])


class Arm:
    """A pusher that follows its reference exactly, and one clock for everything."""

    def __init__(self, config: PusherConfig = CONFIG, start: np.ndarray = START) -> None:
        self.reference = PusherReference(config)
        self.now_s, self.measured = 100.0, start
        self.reference.measure(start, self.now_s)
        self.reference.update(self.now_s, self.now_s)

    def run(
        self, duration_s: float, *, follow: bool = True, measure: bool = True, tick_s: float = 0.01
    ) -> list[np.ndarray]:
        out = []
        for _ in range(round(duration_s / tick_s)):
            self.now_s += tick_s
            self.reference.update(self.now_s, self.now_s)
            target = self.reference.target(self.now_s)
            assert target is not None
            out.append(target)
            self.measured = target if follow else self.measured
            if measure:
                self.reference.measure(self.measured, self.now_s)
        return out

    def step(self, u: tuple[float, float], age_s: float = 0.0) -> Fault | None:
        return self.reference.step(self.now_s - age_s, np.array(u), self.now_s)

    def at(self, time_s: float) -> np.ndarray:
        target = self.reference.target(time_s)
        assert target is not None
        return target


def reason(fault: Fault | None) -> Reason | None:
    return None if fault is None else fault.reason


def test_no_target_before_the_first_measurement() -> None:
    reference = PusherReference(CONFIG)
    reference.update(1.0, 1.0)
    assert reference.target(1.0) is None
    assert reason(reference.step(1.0, np.zeros(2), 1.0)) == Reason.NO_PUSHER
    reference.measure(np.array([np.nan, 0.0]), 1.0)
    assert reference.target(1.0) is None
    assert reference.condition().reason == Reason.NO_PUSHER


def test_step_is_a_straight_line_over_its_duration_and_then_the_pusher_stands() -> None:
    arm = Arm()
    t0 = arm.now_s
    assert arm.step((0.04, -0.02)) is None
    for fraction in (0.0, 0.25, 0.5, 1.0):
        np.testing.assert_allclose(arm.at(t0 + fraction), START + fraction * np.array([0.04, -0.02]), atol=1e-12)
    arm.run(3.0)
    np.testing.assert_allclose(arm.at(arm.now_s), START + np.array([0.04, -0.02]), atol=1e-12)
    assert arm.reference.fault is None


def test_step_counts_from_the_reference_at_its_stamp_and_ends_on_time() -> None:
    arm = Arm()
    arm.step((0.04, 0.0))
    arm.run(0.5)  # the reference is at +0.02
    assert arm.step((0.02, 0.01), age_s=0.2) is None  # stamped when it was at +0.012
    np.testing.assert_allclose(arm.at(arm.now_s), START + np.array([0.02, 0.0]), atol=1e-12)  # nothing jumps
    np.testing.assert_allclose(arm.at(arm.now_s + 0.8), START + np.array([0.032, 0.01]), atol=1e-12)


def test_planning_at_20_hz_does_not_sum_up() -> None:
    """The same wish for 4 cm/s, repeated 20 times a second for one second, moves the pusher by 4 cm."""
    arm = Arm()
    for _ in range(20):
        assert arm.step((0.04, 0.0), age_s=0.01) is None
        arm.run(0.05)
    assert arm.measured[0] - START[0] == pytest.approx(0.04, abs=0.002)


def test_stamp_before_the_first_anchor_uses_the_anchor() -> None:
    arm = Arm()
    assert arm.step((0.03, 0.0), age_s=0.3) is None
    np.testing.assert_allclose(arm.at(arm.now_s + 5.0), START + np.array([0.03, 0.0]))


def test_late_step_ends_in_time_and_short_rather_than_fast_or_long() -> None:
    arm = Arm()
    arm.run(1.0)
    assert arm.step((0.05, 0.05), age_s=0.55) is None
    path = arm.run(1.5)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1) / 0.01
    assert speed.max() <= CONFIG.speed_limit_mps + 1e-9
    in_time = CONFIG.speed_limit_mps * (CONFIG.step_duration_s - 0.55)
    np.testing.assert_allclose(np.linalg.norm(path[-1] - START), in_time, atol=1e-9)
    np.testing.assert_allclose(path[round((CONFIG.step_duration_s - 0.55) / 0.01) - 1], path[-1], atol=1e-9)


@pytest.mark.parametrize("age_s", [0.61, -0.06])
def test_late_and_future_steps_are_dropped_without_a_fault(age_s: float) -> None:
    arm = Arm()
    assert reason(arm.step((0.02, 0.0), age_s=age_s)) == Reason.LATE_STEP
    assert arm.reference.fault is None
    np.testing.assert_array_equal(arm.at(arm.now_s + 2.0), START)


def test_step_not_newer_than_the_last_is_dropped() -> None:
    arm = Arm()
    assert arm.step((0.02, 0.0)) is None
    assert reason(arm.step((0.05, 0.0))) == Reason.LATE_STEP
    np.testing.assert_allclose(arm.at(arm.now_s + 1.0), START + np.array([0.02, 0.0]))


@pytest.mark.parametrize(
    ("u", "wanted"),
    [
        ((np.nan, 0.0), Reason.NON_FINITE),
        ((0.0, np.inf), Reason.NON_FINITE),
        ((0.06, 0.0), Reason.STEP_TOO_LARGE),
        ((-0.04, 0.0), Reason.OUTSIDE_WORKSPACE),
    ],
)
def test_bad_step_latches_and_clears(u: tuple[float, float], wanted: Reason) -> None:
    arm = Arm(start=np.array([0.32, 0.0]))
    assert reason(arm.step(u)) == wanted
    assert arm.reference.condition().reason == wanted
    arm.run(0.2)
    assert reason(arm.step((0.02, 0.0))) == Reason.PUSHER_FAULT
    np.testing.assert_array_equal(arm.at(arm.now_s + 1.0), [0.32, 0.0])
    assert arm.reference.clear_fault(arm.now_s) is None
    assert arm.reference.condition().reason == Reason.RUNNING
    arm.run(0.01)
    assert arm.step((0.02, 0.0)) is None


def test_end_just_outside_is_moved_to_the_border() -> None:
    arm = Arm(start=np.array([0.33, 0.0]))
    assert arm.step((-0.035, 0.01)) is None
    np.testing.assert_allclose(arm.at(arm.now_s + 2.0), [0.30, 0.01])


def test_silent_pusher_source_latches_and_holds_the_last_measurement() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    arm.run(0.3)
    last = arm.measured
    arm.run(0.19, measure=False)
    assert arm.reference.fault is None
    arm.run(0.03, measure=False)
    assert arm.reference.condition().reason == Reason.NO_PUSHER
    arm.reference.update(arm.now_s, arm.now_s)
    np.testing.assert_array_equal(arm.at(arm.now_s + 1.0), last)
    assert reason(arm.reference.clear_fault(arm.now_s)) == Reason.NO_PUSHER  # the source is still silent
    arm.reference.measure(last, arm.now_s)
    assert arm.reference.clear_fault(arm.now_s) is None


def test_pause_of_this_process_is_not_silence_of_the_sensor() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    arm.run(0.1)
    arm.now_s += 1.0  # nothing ran for a second; the waiting samples are read after the first update
    arm.reference.update(arm.now_s, arm.now_s)
    assert arm.reference.condition().reason != Reason.NO_PUSHER


def test_blocked_pusher_latches_a_tracking_error() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    arm.run(0.55, follow=False)
    assert arm.reference.fault is None  # 27.5 mm behind
    arm.run(0.1, follow=False)
    assert arm.reference.condition().reason == Reason.TRACKING_ERROR
    assert "tracking_limit_m" in arm.reference.condition().text
    # Not in a jump: the measurement may be the one that is wrong.
    path = arm.run(1.0, follow=False)
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() <= CONFIG.speed_limit_mps * 0.01 + 1e-9
    np.testing.assert_allclose(arm.at(arm.now_s), START, atol=CONFIG.speed_limit_mps * 0.01)


def test_one_wrong_pusher_sample_never_becomes_a_target() -> None:
    for enabled in (True, False):
        for stepping in (True, False):
            arm = Arm()
            arm.reference.set_enabled(enabled, arm.now_s)
            arm.run(0.1)
            if stepping and enabled:
                arm.step((0.05, 0.0))
            before = arm.run(0.2)[-1]
            arm.reference.measure(np.array([-2.0, 3.0]), arm.now_s)
            path = np.array([before, *arm.run(1.0)])
            assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() <= CONFIG.speed_limit_mps * 0.01 + 1e-9
            assert np.linalg.norm(path - before, axis=1).max() <= CONFIG.tracking_limit_m + 1e-9


def test_a_jump_of_the_clock_does_not_skip_along_the_line() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    before = arm.run(0.4)[-1]
    arm.now_s += 2.0
    np.testing.assert_allclose(arm.run(0.5)[-1], before, atol=1e-9)


def test_a_step_that_comes_first_after_a_pause_does_not_skip_along_the_line() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    before = arm.run(0.4)[-1]
    arm.now_s += 0.5
    # What was measured before the pause is not where the pusher is.
    assert reason(arm.step((0.0, 0.01))) == Reason.NO_PUSHER
    arm.reference.measure(arm.measured, arm.now_s)
    assert arm.step((0.0, 0.01)) is None
    np.testing.assert_allclose(arm.at(arm.now_s), before, atol=1e-9)
    np.testing.assert_allclose(arm.at(arm.now_s + 1.0), before + np.array([0.0, 0.01]), atol=1e-9)


def test_a_first_measurement_after_a_pause_is_no_line_that_was_dropped() -> None:
    """Arms that take steps would be told of it, and nothing may be told before somebody asks for it."""
    reference = PusherReference(PusherConfig())
    reference.update(0.0, 0.0)
    reference.measure(np.array(START), 1.4)
    reference.update(1.5, 1.5)
    assert reference.dropped == 0


def test_the_slowest_output_rate_still_moves() -> None:
    arm = Arm(PusherConfig(output_rate_hz=10.0))
    arm.step((0.05, 0.0))
    path = arm.run(1.2, tick_s=0.12)  # a little late at every tick
    np.testing.assert_allclose(path[-1], START + np.array([0.05, 0.0]), atol=1e-9)


def test_a_standing_pusher_waits_for_a_silent_source_without_a_fault() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    end = arm.run(1.2)[-1]
    arm.run(1.0, measure=False)
    assert arm.reference.fault is None
    assert arm.reference.condition().reason == Reason.NO_PUSHER
    assert reason(arm.step((0.01, 0.0))) == Reason.NO_PUSHER
    np.testing.assert_allclose(arm.at(arm.now_s), end, atol=1e-9)


def test_a_fault_of_a_standing_pusher_does_not_move_it_to_an_old_measurement() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    end = arm.run(1.2)[-1]
    arm.reference.measure(end + 0.01, arm.now_s)
    arm.run(1.0, measure=False)
    assert reason(arm.step((0.2, 0.0))) == Reason.STEP_TOO_LARGE
    np.testing.assert_allclose(arm.at(arm.now_s + 1.0), end, atol=1e-9)


def test_pusher_moved_by_hand_before_the_first_step_is_a_fault_and_not_chased() -> None:
    arm = Arm()
    arm.measured = START + np.array([0.2, 0.0])
    arm.reference.measure(arm.measured, arm.now_s)
    path = arm.run(2.0, follow=False)
    assert reason(arm.reference.fault) == Reason.TRACKING_ERROR
    assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() <= CONFIG.speed_limit_mps * 0.01 + 1e-9
    np.testing.assert_allclose(path[-1], START + np.array([CONFIG.tracking_limit_m, 0.0]))


def test_disabling_stands_at_once_and_refuses_steps_planned_before_enabling() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    arm.run(0.4)
    arm.reference.set_enabled(False, arm.now_s)
    where = arm.at(arm.now_s)
    np.testing.assert_allclose(where, START + np.array([0.02, 0.0]))
    arm.run(1.0)
    np.testing.assert_allclose(arm.at(arm.now_s), where)
    assert reason(arm.step((0.02, 0.0))) == Reason.PUSHER_DISABLED
    arm.reference.set_enabled(True, arm.now_s)
    assert reason(arm.step((0.02, 0.0), age_s=0.1)) == Reason.LATE_STEP
    arm.run(0.05)
    assert arm.step((0.02, 0.0), age_s=0.01) is None


def test_clock_set_back_stands_and_starts_again() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    arm.run(0.4)
    where, arm.now_s = arm.at(arm.now_s), 5.0
    arm.reference.update(arm.now_s, 200.0)
    arm.run(0.5)
    np.testing.assert_allclose(arm.at(arm.now_s), where)
    assert arm.step((0.02, 0.0)) is None


def test_smaller_workspace_bends_the_line_under_way() -> None:
    arm = Arm()
    arm.step((0.05, 0.0))
    arm.run(0.2)
    arm.reference.configure(CONFIG.replaced(workspace_m=(0.30, 0.44, -0.35, 0.35)), arm.now_s)
    arm.run(2.0)
    np.testing.assert_allclose(arm.at(arm.now_s), [0.44, 0.0])


@settings(max_examples=60, deadline=None)
@given(
    start=st.tuples(st.floats(0.30, 0.95), st.floats(-0.35, 0.35)),
    steps=st.lists(
        st.tuples(st.floats(-0.06, 0.06), st.floats(-0.06, 0.06), st.floats(-0.1, 0.8), st.integers(1, 120)),
        max_size=12,
    ),
)
def test_no_reference_ever_outside_the_workspace_or_faster_than_the_cap(
    start: tuple[float, float], steps: list[tuple[float, float, float, int]]
) -> None:
    arm = Arm(start=np.array(start))
    path = [arm.at(arm.now_s)]
    for x, y, age_s, ticks in steps:
        arm.step((x, y), age_s=age_s)
        path += arm.run(0.01 * ticks)
        arm.reference.clear_fault(arm.now_s)
    assert all(region_of(CONFIG).outside_by(point) <= 1e-9 for point in path)
    if len(path) > 1:
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).max() <= CONFIG.speed_limit_mps * 0.01 + 1e-9
