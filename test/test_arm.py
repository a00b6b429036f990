"""What the arm is told, in injected time: nothing before release, straight down, within caps, still after a fault."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arm_rig import ACCELERATION, CONFIG, DT_S, TOOL, Rig, assert_within_caps, down, reason
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.arm import Arm, ArmKind
from sgp_core.frames import Transform
from sgp_core.safety import region_of
from sgp_core.types import Reason


def test_nothing_is_commanded_before_release_and_the_first_command_is_the_measured_pose() -> None:
    rig = Rig()
    rig.run(1.0)
    assert not rig.path
    assert rig.arm.condition().reason == Reason.PUSHER_DISABLED
    assert rig.enable() is None
    rig.tick()
    np.testing.assert_allclose(rig.path[0], [0.41, 0.0, 0.10], atol=CONFIG.approach_speed_mps * DT_S)


def test_enabled_from_the_start_waits_for_the_measurement() -> None:
    arm = Arm(CONFIG, ArmKind(tool=TOOL))
    arm.tick(1.0, 1.0)
    assert arm.command is None
    assert arm.condition().reason == Reason.NO_PUSHER
    arm.measure(np.array([0.41, 0.0, 0.10]), None, 1.0)
    arm.tick(1.01, 1.01)
    np.testing.assert_array_equal(arm.command.position_m, [0.41, 0.0, 0.10])  # type: ignore[union-attr]


def test_straight_down_then_steps_then_straight_up() -> None:
    rig = Rig()
    rig.enable()
    assert rig.arm.condition().reason == Reason.APPROACHING
    assert reason(rig.step(0.02, 0.0)) == Reason.APPROACHING
    assert rig.arm.reference.fault is None
    began_s = rig.now_s
    rig.run_until(Reason.RUNNING)
    way_down = np.array(rig.path)
    assert rig.now_s - began_s == pytest.approx(0.08 / CONFIG.approach_speed_mps, abs=0.3)
    assert np.ptp(way_down[:, :2], axis=0).max() < 1e-12
    rig.run(0.5)
    assert rig.path[-1][2] == CONFIG.tool_height_m
    assert rig.step(0.04, 0.02) is None
    pushed = rig.run(1.5)
    np.testing.assert_allclose(pushed[-1], [0.45, 0.02, CONFIG.tool_height_m], atol=1e-9)
    assert np.ptp(pushed[:, 2]) == 0.0
    assert rig.enable(False) is None
    raised = rig.run(4.0)
    np.testing.assert_allclose(raised[-1], [0.45, 0.02, CONFIG.retreat_height_m], atol=1e-9)
    assert np.ptp(raised[:, :2], axis=0).max() < 1e-12
    assert_within_caps(np.array(rig.path))


def test_disabling_in_full_motion_brakes_before_it_raises() -> None:
    rig = down()
    rig.step(0.05, 0.05)
    rig.run(0.5)
    where, speed = rig.path[-1], float(np.linalg.norm(rig.path[-1] - rig.path[-2])) / DT_S
    assert speed > 0.05
    rig.enable(False)
    after = rig.run(3.0)
    assert np.linalg.norm(after[-1][:2] - where[:2]) <= speed**2 / (2 * ACCELERATION) + 1e-6
    braking = np.linalg.norm(np.diff(after[:, :2], axis=0), axis=1) > 0.0
    assert not (braking & (np.diff(after[:, 2]) != 0.0)).any()
    assert after[-1][2] == CONFIG.retreat_height_m
    assert_within_caps(np.array(rig.path))
    assert rig.enable() is None  # and down again from there
    rig.run_until(Reason.RUNNING)
    assert_within_caps(np.array(rig.path))


def test_enabling_on_the_way_up_turns_round_within_the_caps() -> None:
    rig = down()
    rig.enable(False)
    rig.run(0.8)
    rig.enable()
    rig.run_until(Reason.RUNNING)
    assert_within_caps(np.array(rig.path))


def test_an_unknown_height_is_lowered_from_the_retreat_height_but_not_by_velocities() -> None:
    rig = Rig((0.41, 0.0, math.nan))
    assert rig.enable() is None
    rig.tick()
    assert rig.path[0][2] == pytest.approx(CONFIG.retreat_height_m, abs=CONFIG.approach_speed_mps * DT_S)
    rig.run_until(Reason.RUNNING)
    refused = Rig((0.41, 0.0, math.nan), velocities=True).enable()
    assert refused is not None
    assert "height" in refused.text


@pytest.mark.parametrize(
    ("spoil", "wanted", "word"),
    [
        ({"measuring": False}, Reason.NO_PUSHER, "waiting"),
        ({"tool_m": np.array([0.20, 0.0, 0.1])}, Reason.OUTSIDE_WORKSPACE, "workspace_m"),
        ({"tool_m": np.array([410.0, 0.0, 100.0])}, Reason.OUTSIDE_WORKSPACE, "workspace_m"),
        ({"tool_m": np.array([0.41, 0.0, -0.05])}, Reason.OUTSIDE_WORKSPACE, "tool_height_m"),
        ({"tool_m": np.array([0.41, 0.0, 0.90])}, Reason.OUTSIDE_WORKSPACE, "table_from_base"),
        ({"tool_m": np.array([0.60, 0.0, 0.10])}, Reason.KEEP_OUT, "keep_out_m"),
        ({"orientation": Transform.from_numbers((0, 0, 0, math.pi, 0, 0.4))}, Reason.BAD_STATE, "tool_rpy"),
    ],
)
def test_release_is_refused_with_words(spoil: dict[str, object], wanted: Reason, word: str) -> None:
    rig = Rig(config=CONFIG.replaced(keep_out_m=(0.55, 0.65, -0.05, 0.05)))
    for name, value in spoil.items():
        setattr(rig, name, value)
    rig.run(0.5)
    refused = rig.enable()
    assert refused is not None
    assert refused.reason == wanted
    assert word in refused.text
    rig.run(0.1)
    assert not rig.path
    # One that is enabled from the start says it, too, and is never a fault.
    rig.arm.reference.enabled = True
    assert rig.arm.condition().reason in (Reason.NO_PUSHER, Reason.PUSHER_DISABLED)
    assert word in rig.arm.condition().text


def test_an_unknown_orientation_and_a_small_turn_are_no_obstacle() -> None:
    for orientation in (None, Transform.from_numbers((0, 0, 0, math.pi, 0, 0.3))):
        rig = Rig()
        rig.orientation = orientation  # type: ignore[assignment]
        rig.tick()
        assert rig.enable() is None


def test_silence_on_the_way_down_stops_and_latches_and_is_not_raised() -> None:
    rig = Rig()
    rig.enable()
    rig.run(0.6)
    rig.measuring = False
    silent_s = rig.now_s
    rig.run_until(Reason.NO_PUSHER, 1.0)
    assert rig.arm.reference.fault is not None
    assert rig.now_s - silent_s <= CONFIG.pusher_timeout_s + 2 * DT_S
    held = rig.run(2.0)
    assert np.ptp(held[100:, 2]) == 0.0
    assert reason(rig.enable()) == Reason.PUSHER_FAULT
    rig.measuring = True
    rig.tick()
    assert rig.arm.clear_fault(rig.now_s) is None
    rig.run_until(Reason.RUNNING)
    assert_within_caps(np.array(rig.path))


def test_silence_while_raised_stops_the_tool_without_a_fault() -> None:
    rig = down()
    rig.enable(False)
    rig.run(0.5)
    rig.measuring = False
    rig.run(CONFIG.pusher_timeout_s + 0.2)
    assert np.ptp(rig.run(0.5)[:, 2]) == 0.0
    rig.measuring = True
    assert rig.run(4.0)[-1][2] == CONFIG.retreat_height_m
    assert rig.arm.reference.fault is None


def test_a_tool_that_stands_on_something_latches_before_it_presses() -> None:
    rig = Rig()
    rig.enable()
    rig.run(0.6)
    rig.following = False
    rig.run_until(Reason.TRACKING_ERROR, 2.0)
    assert "height" in rig.arm.condition().text
    rig.run(1.0)
    deepest = min(point[2] for point in rig.path)
    assert rig.tool_m[2] - deepest <= CONFIG.tracking_limit_m + 0.005
    assert rig.tool_m[2] - rig.path[-1][2] <= 0.005  # what pressed it down is taken back
    assert_within_caps(np.array(rig.path))


def test_the_age_of_a_measurement_counts_once() -> None:
    rig = down()
    rig.step(0.05, 0.0)
    rig.run(0.2)
    rig.measuring = False
    rig.arm.measure(rig.tool_m, TOOL, rig.now_s, age_s=0.15)
    rig.run(0.04)
    assert rig.arm.reference.fault is None
    rig.run(0.03)
    assert rig.arm.condition().reason == Reason.NO_PUSHER


def test_a_fault_brakes_at_the_cap_and_holds_its_height() -> None:
    rig = down()
    rig.step(0.05, 0.05)
    rig.run(0.5)
    before, speed = rig.path[-1], float(np.linalg.norm(rig.path[-1] - rig.path[-2])) / DT_S
    assert speed > 0.05
    assert reason(rig.step(math.nan, 0.0)) == Reason.NON_FINITE
    after = rig.run(2.0)
    v = np.linalg.norm(np.diff(np.vstack([before, after])[:, :2], axis=0), axis=1) / DT_S
    ticks = math.ceil(speed / ACCELERATION / DT_S)
    np.testing.assert_allclose(
        v[:ticks], np.maximum(speed - ACCELERATION * DT_S * np.arange(1, ticks + 1), 0), atol=1e-6
    )
    assert np.ptp(after[:, 2]) == 0.0
    assert np.linalg.norm(after[-1][:2] - rig.tool_m[:2]) < 1e-3  # at rest where it is measured
    assert_within_caps(np.array(rig.path))
    rig.enable(False)  # a fault stays where it is, cleared or not, until somebody enables again
    rig.arm.clear_fault(rig.now_s)
    assert np.ptp(rig.run(1.0)[:, 2]) == 0.0


def test_no_step_before_the_command_is_back_where_the_pusher_is() -> None:
    rig = down(lag_s=0.3)
    rig.step(0.05, 0.0)
    rig.run(0.6)
    rig.step(math.nan, 0.0)
    rig.run(0.02)
    rig.tick()
    rig.arm.clear_fault(rig.now_s)
    assert rig.arm.condition().reason == Reason.APPROACHING
    assert reason(rig.step(0.02, 0.0)) == Reason.APPROACHING
    rig.run_until(Reason.RUNNING)
    assert np.linalg.norm(rig.path[-1][:2] - rig.tool_m[:2]) < 0.02


def test_a_pause_of_the_process_is_not_caught_up_with_in_a_leap() -> None:
    rig = down()
    rig.step(0.05, 0.0)
    before = rig.run(0.4)[-1]
    rig.now_s += 0.5
    rig.tick()
    assert np.linalg.norm(rig.path[-1] - before) <= ACCELERATION * (2 * DT_S) ** 2 + 1e-9
    assert rig.arm.command is not None


def test_a_smaller_workspace_is_obeyed_within_the_cap() -> None:
    rig = down()
    rig.step(0.05, 0.0)
    rig.run(0.3)
    rig.arm.reference.configure(CONFIG.replaced(workspace_m=(0.30, 0.44, -0.35, 0.35)), rig.now_s)
    path = rig.run(2.0)
    assert path[:, 0].max() <= 0.44 + 1e-9
    np.testing.assert_allclose(path[-1, :2], [0.44, 0.0], atol=1e-9)
    assert_within_caps(np.array(rig.path))


def test_without_a_height_there_is_no_way_down() -> None:
    rig = Rig((0.41, 0.0, math.nan), height=False)
    assert rig.enable() is None
    rig.run(0.05)
    assert rig.arm.condition().reason == Reason.RUNNING
    assert rig.step(0.02, 0.0) is None
    rig.enable(False)
    rig.run(0.5)
    assert rig.arm.at_rest


POLYGON = CONFIG.replaced(
    workspace_m=(0.30, -0.30, 0.90, -0.20, 0.90, 0.20, 0.30, 0.30), keep_out_m=(0.50, 0.56, -0.05, 0.05)
)


@settings(max_examples=25, deadline=None)
@given(
    start=st.tuples(st.floats(0.32, 0.48), st.floats(-0.2, 0.2), st.floats(0.02, 0.15)),
    events=st.lists(
        st.tuples(
            st.sampled_from(["step", "step", "step", "disable", "enable", "clear", "deaf", "glitch", "limit"]),
            st.floats(-0.055, 0.055),
            st.floats(-0.055, 0.055),
            st.integers(1, 90),
        ),
        max_size=14,
    ),
)
def test_whatever_happens_the_command_is_within_caps_and_region(
    start: tuple[float, float, float], events: list[tuple[str, float, float, int]]
) -> None:
    rig = Rig(start, config=POLYGON, enabled=True)
    for what, x, y, ticks in events:
        if what == "step":
            rig.step(x, y)
        elif what in ("disable", "enable"):
            rig.enable(what == "enable")
        elif what == "clear":
            rig.measuring = True
            rig.measure()
            rig.arm.clear_fault(rig.now_s)
        elif what == "deaf":
            rig.measuring = False
        elif what == "glitch":
            rig.arm.measure(np.array([x * 20, y * 20, abs(x) * 4]), None, rig.now_s)
        else:
            rig.arm.reference.configure(POLYGON.replaced(step_limit_m=0.03), rig.now_s)
        rig.run(ticks * DT_S)
    if len(rig.path) > 2:
        path = np.array(rig.path)
        assert_within_caps(path)
        region = region_of(POLYGON)
        assert region.outside_by(path[:, :2]).max() <= 1e-8
        assert region.kept_out_by(path[:, :2]).max() <= 1e-8


@pytest.mark.parametrize("faulted", [False, True])
def test_an_arm_moved_by_somebody_is_let_go_and_starts_anew_where_it_is(faulted: bool) -> None:
    rig = down()
    if faulted:
        rig.step(math.nan, 0.0)
    else:
        rig.enable(False)
    rig.run(3.0)
    rig.following = False
    rig.tool_m = np.array([0.75, 0.20, 0.10])
    rig.run(2.0)
    assert rig.arm.command is None
    rig.following = True
    if faulted:
        assert rig.arm.clear_fault(rig.now_s) is None
        rig.tick()
        assert rig.arm.condition().reason == Reason.PUSHER_DISABLED
    assert rig.enable() is None
    rig.tick()
    np.testing.assert_allclose(rig.path[-1], [0.75, 0.20, 0.10], atol=1e-3)


def test_cleared_outside_the_workspace_it_is_not_released() -> None:
    rig = down()
    rig.step(math.nan, 0.0)
    rig.following = False
    rig.tool_m = np.array([0.45, -0.37, 0.02])
    rig.measure()
    assert rig.arm.clear_fault(rig.now_s) is None
    rig.tick()
    assert rig.arm.command is None
    assert "not released" in rig.arm.condition().text


def test_nobody_listens_nobody_is_released() -> None:
    rig = Rig()
    rig.arm.connected = False
    assert reason(rig.enable()) == Reason.NO_PUSHER
    rig.arm.connected = True
    assert rig.enable() is None


def test_after_the_clock_was_set_back_steps_are_taken_again() -> None:
    rig = Rig(enabled=False)
    rig.run(0.1)
    rig.now_s = 3.0
    rig.run(0.1)
    assert rig.enable() is None
    rig.run_until(Reason.RUNNING)
    assert rig.step(0.02, 0.0) is None


def test_enabled_again_after_a_disable_in_full_motion() -> None:
    rig = down(config=CONFIG.replaced(tracking_limit_m=0.016))
    rig.step(0.05, 0.05)
    rig.run(0.4)
    rig.enable(False)
    rig.run(0.5)
    assert rig.enable() is None
    rig.run_until(Reason.RUNNING)
    assert_within_caps(np.array(rig.path))
