"""Clocks that pause and jump, a process that is stopped, and faults cleared at odd moments, in injected time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arm_rig import CONFIG, DT_S, Rig, assert_within_caps, down, reason

from sgp_core.safety import Fault
from sgp_core.types import Reason

STOPPED = Fault(reason=Reason.STOPPED, text="stopped by a call")
SPEED_MPS = 0.05  # of a step of 50 mm


def led() -> Rig:
    """In the middle of a step."""
    rig = down()
    assert rig.step(0.05, 0.0) is None
    rig.run(0.5)
    return rig


def test_silence_counts_in_full_while_the_machine_is_slow() -> None:
    rig = led()
    rig.measuring, silent_s, slow_s = False, rig.now_s, 0.09
    while rig.arm.reference.fault is None and rig.now_s < silent_s + 2.0:
        rig.now_s += slow_s
        rig.arm.tick(rig.now_s, rig.now_s)
    assert rig.arm.condition().reason == Reason.NO_PUSHER
    assert rig.now_s - silent_s < CONFIG.pusher_timeout_s + 2.0 * slow_s


def test_a_process_that_was_stopped_is_not_enabled_by_what_it_knew_before() -> None:
    rig = down()
    rig.enable(False)
    rig.run(2.0)
    rig.arm.let_go()
    rig.now_s += 10.0  # and somebody moves the arm meanwhile
    assert reason(rig.enable()) == Reason.NO_PUSHER
    rig.tool_m = np.array([0.60, 0.10, 0.10])
    rig.tick()
    assert rig.enable() is None
    rig.tick()
    np.testing.assert_allclose(rig.path[-1][:2], [0.60, 0.10], atol=1e-6)


@pytest.mark.parametrize("jump_s", [10.0, -10.0])
def test_a_line_that_was_dropped_is_told(jump_s: float) -> None:
    rig = led()
    assert rig.arm.reference.dropped == 0
    steady_s = rig.now_s
    for k in range(1, 4):
        rig.arm.tick(steady_s + jump_s + k * DT_S, steady_s + k * DT_S)
    assert rig.arm.reference.dropped == 1
    assert rig.arm.reference.ahead(steady_s + jump_s + 3 * DT_S).left_s == 0.0


def test_while_the_time_of_the_stamps_stands_still_the_arm_comes_to_rest() -> None:
    rig = led()
    began_m, path = rig.path[-1].copy(), []
    for k in range(1, 40):  # the pusher's position still comes
        rig.arm.measure(rig.tool_m, None, rig.now_s)
        rig.arm.tick(rig.now_s, rig.now_s + k * DT_S)
        command = rig.arm.command
        assert command is not None
        path.append(command.position_m)
    assert rig.arm.reference.fault is None
    assert rig.arm.standing
    assert path[-1][0] - began_m[0] < SPEED_MPS * 0.2
    assert_within_caps(np.array([*rig.path, *path]))


def test_after_a_pause_without_a_fault_nothing_moves_before_the_pusher_is_seen() -> None:
    """Found by the fuzz: a clock set back forgets the step, and then silence is no fault."""
    rig = led()
    steady_s, now_s = rig.now_s, rig.now_s - 0.3
    for k in range(1, 100):
        rig.arm.tick(now_s, steady_s + k * DT_S)
    assert rig.arm.reference.fault is None
    command = rig.arm.command
    assert command is not None
    for k in range(1, 30):
        rig.arm.tick(now_s + 0.3 + k * DT_S, steady_s + (100 + k) * DT_S)
        now = rig.arm.command
        assert now is not None
        np.testing.assert_allclose(now.position_m, command.position_m, atol=1e-6)


def test_a_jump_of_the_clock_leaves_a_fault_where_it_holds() -> None:
    """Found by the fuzz: the way back to the pusher was dropped, and the arm went on to where the reference was."""
    rig = led()
    steady_s = rig.now_s
    for k in range(1, 100):  # time stands still until silence is a fault, and the arm is back
        rig.arm.tick(rig.now_s, steady_s + k * DT_S)
    assert rig.arm.condition().reason == Reason.NO_PUSHER
    held_m = rig.arm.reference.ahead(rig.now_s).end_m.copy()
    for k in range(1, 50):
        rig.arm.tick(rig.now_s + 0.3 + k * DT_S, steady_s + (100 + k) * DT_S)
    np.testing.assert_allclose(rig.arm.reference.ahead(rig.now_s + 1.0).end_m, held_m, atol=1e-12)
    command = rig.arm.command
    assert command is not None
    np.testing.assert_allclose(command.position_m[:2], held_m, atol=1e-3)


def test_where_nothing_is_measured_either_it_is_back_before_time_goes_on() -> None:
    """Found by the fuzz: braked by the pause, and led back blindly once it was over."""
    rig = led()
    steady_s = rig.now_s
    for k in range(1, 150):
        rig.arm.tick(rig.now_s, steady_s + k * DT_S)
    assert rig.arm.condition().reason == Reason.NO_PUSHER
    command = rig.arm.command
    assert command is not None
    assert rig.arm.standing
    for k in range(1, 100):
        rig.arm.tick(rig.now_s + k * DT_S, steady_s + (150 + k) * DT_S)
        now = rig.arm.command
        assert now is not None
        np.testing.assert_allclose(now.position_m, command.position_m, atol=1e-6)


def test_a_fault_over_another_one_leaves_the_arm_where_it_holds() -> None:
    rig = led()
    rig.arm.reference.latch(STOPPED, rig.now_s)
    rig.run(1.0)
    before_m = rig.path[-1].copy()
    rig.tool_m, rig.following = rig.tool_m + np.array([0.0, 0.02, 0.0]), False  # somebody moves it a little
    rig.run(0.1)
    rig.arm.reference.latch(Fault(reason=Reason.TRACKING_ERROR, text="another one"), rig.now_s)
    rig.run(1.0)
    np.testing.assert_allclose(rig.path[-1], before_m, atol=1e-6)
    assert rig.arm.condition().reason == Reason.TRACKING_ERROR


def test_to_clear_no_fault_changes_nothing() -> None:
    rig = led()
    assert rig.arm.clear_fault(rig.now_s) is None
    assert rig.arm.condition().reason == Reason.RUNNING
    rig.run(1.0)
    np.testing.assert_allclose(rig.path[-1][:2], [0.46, 0.0], atol=1e-6)
    twist = down(velocities=True)
    assert twist.arm.clear_fault(twist.now_s) is None
    assert twist.arm.command is not None


def test_a_tool_stopped_on_its_way_up_stays_there_once_the_fault_is_cleared() -> None:
    rig = down()
    rig.enable(False)
    rig.run(1.0)
    rig.arm.reference.latch(STOPPED, rig.now_s)
    rig.run(1.0)
    height_m = float(rig.path[-1][2])
    assert CONFIG.tool_height_m < height_m < CONFIG.retreat_height_m
    assert rig.arm.clear_fault(rig.now_s) is None
    rig.run(3.0)
    assert rig.path[-1][2] == pytest.approx(height_m, abs=1e-6)


def test_a_fault_that_is_the_first_thing_after_a_pause_holds_where_the_pusher_is() -> None:
    rig = down()
    rig.following = False
    rig.step(0.03, 0.0)
    rig.run(0.5)  # blocked, and the command 15 mm ahead
    rig.now_s += 0.3
    rig.arm.reference.latch(STOPPED, rig.now_s)
    for _ in range(300):
        rig.tick()
    np.testing.assert_allclose(rig.path[-1][:2], rig.tool_m[:2], atol=1e-3)


def test_a_height_that_is_lost_on_the_way_down_stops_the_tool() -> None:
    rig = Rig()
    assert rig.enable() is None
    rig.run(0.3)
    rig.tool_m, rig.following = np.array([0.41, 0.0, math.nan]), False
    rig.run(0.1)
    assert rig.arm.condition().reason == Reason.NO_PUSHER
    assert "height" in rig.arm.condition().text
