"""Whether the arm follows, in injected time: what is a fault of it, and what is only a command with caps."""

from __future__ import annotations

import numpy as np
import pytest
from arm_rig import CONFIG, DT_S, TOOL, Rig, assert_within_caps, down

from sgp_core.arm import Arm, ArmKind
from sgp_core.config import SimConfig
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.share import share_path
from sgp_core.sim.rig import Rig as SimulatedRig
from sgp_core.types import Reason


def turning_back(lag_s: float) -> Rig:
    """Its reference far ahead of its command, in full motion."""
    rig = down(lag_s=lag_s)
    rig.step(0.05, 0.05)
    rig.run(0.6)
    rig.step(-0.05, -0.05)
    rig.run(0.3)
    return rig


@pytest.mark.parametrize("lag_s", [0.03, 0.1])
def test_a_step_that_turns_back_in_full_motion_is_no_fault_of_an_arm_that_follows(lag_s: float) -> None:
    rig = down(lag_s=lag_s)
    furthest_m = 0.0
    for u_m in (0.05, -0.05, 0.05):
        assert rig.step(u_m, u_m) is None
        for _ in range(round(0.6 / DT_S)):
            rig.tick()
            target_m = rig.arm.reference.target(rig.now_s)
            assert target_m is not None
            furthest_m = max(furthest_m, float(np.linalg.norm(target_m - rig.tool_m[:2])))
    assert rig.arm.condition().reason == Reason.RUNNING
    assert furthest_m > CONFIG.tracking_limit_m  # the reference is, but the arm cannot have been told
    assert_within_caps(np.array(rig.path))


def test_an_arm_that_stands_still_while_a_step_turns_back_is_a_fault() -> None:
    rig = down()
    rig.step(0.05, 0.05)
    rig.run(0.6)
    rig.following = False
    rig.step(-0.05, -0.05)
    rig.run(1.0)
    assert rig.arm.condition().reason == Reason.TRACKING_ERROR


def test_after_a_fault_in_the_middle_of_turning_back_the_command_ends_where_the_pusher_was() -> None:
    """The reference is further from the pusher than `tracking_limit_m` then, and has to come back all of it."""
    rig = turning_back(lag_s=0.1)
    target_m = rig.arm.reference.target(rig.now_s)
    assert target_m is not None
    assert np.linalg.norm(target_m - rig.tool_m[:2]) > CONFIG.tracking_limit_m
    measured_m = rig.tool_m[:2].copy()
    rig.arm.reference.latch(Fault(reason=Reason.STOPPED, text="stopped by hand"), rig.now_s)
    rig.run(3.0)
    np.testing.assert_allclose(rig.path[-1][:2], measured_m, atol=1e-3)
    assert_within_caps(np.array(rig.path))


def test_a_wrong_sample_while_turning_back_leads_no_further_than_the_limit_from_the_command() -> None:
    rig = turning_back(lag_s=0.03)
    reference_m = rig.arm.reference.target(rig.now_s)
    before_m, speed_mps = rig.path[-1][:2], np.linalg.norm(rig.path[-1][:2] - rig.path[-2][:2]) / DT_S
    assert np.linalg.norm(reference_m - before_m) > 0.02
    rig.measuring = False
    wrong_m = np.append(before_m - np.array([0.15, -0.1]), rig.tool_m[2])
    rig.arm.measure(wrong_m, TOOL, rig.now_s)
    rig.run(3.0)
    assert rig.arm.reference.fault is not None
    reach_m = CONFIG.tracking_limit_m + speed_mps**2 / CONFIG.acceleration_limit_mps2 + 0.002
    assert np.linalg.norm(np.array(rig.path)[-300:, :2] - before_m, axis=1).max() <= reach_m
    assert_within_caps(np.array(rig.path))


def test_a_silent_source_is_a_fault_as_long_as_the_command_is_still_on_its_way() -> None:
    config = CONFIG.replaced(acceleration_limit_mps2=0.25, tracking_limit_m=0.1)  # it arrives long after the reference
    rig = down(config=config)
    rig.step(0.05, 0.05)
    rig.run(0.6)
    rig.step(-0.05, -0.05)
    rig.run(0.95)
    rig.measuring = False
    for _ in range(100):
        if rig.arm.reference.ahead(rig.now_s).left_s == 0.0:
            break
        rig.tick()
    command, target_m = rig.arm.command, rig.arm.reference.target(rig.now_s)
    assert command is not None
    assert target_m is not None
    assert np.linalg.norm(command.position_m[:2] - target_m) > 0.002
    rig.run(0.2)
    assert rig.arm.reference.fault is not None
    assert rig.arm.reference.fault.reason == Reason.NO_PUSHER
    before_m = rig.path[-1][:2]
    rig.run(2.0)  # back to where it was seen last, and not on to where it was led
    seen_m = rig.arm.reference.measured_m
    assert np.linalg.norm(rig.path[-1][:2] - seen_m) <= np.linalg.norm(before_m - seen_m)
    np.testing.assert_allclose(rig.path[-1][:2], seen_m, atol=1e-3)


def test_an_arm_dragged_aside_in_motion_is_a_fault() -> None:
    rig = down()
    rig.step(0.05, 0.05)
    rig.following = False
    for _ in range(60):
        way_m = rig.arm.command.position_m - rig.tool_m  # type: ignore[union-attr]
        rig.tool_m = rig.tool_m + way_m * [1.0, 0.0, 1.0] - [0.0, 0.001, 0.0]
        rig.tick()
    assert rig.arm.condition().reason == Reason.TRACKING_ERROR


def test_an_arm_dragged_away_while_it_stands_is_a_fault() -> None:
    rig = down()
    rig.following = False
    for _ in range(100):
        rig.tool_m = rig.tool_m + np.array([0.002, 0.0, 0.0])
        rig.tick()
    assert rig.arm.condition().reason == Reason.TRACKING_ERROR
    assert_within_caps(np.array(rig.path))


def test_the_command_stays_near_a_pusher_that_does_not_follow() -> None:
    rig = down()
    rig.following = False
    tool_m = rig.tool_m
    rig.step(0.05, 0.05)
    rig.run(2.0)
    assert rig.arm.condition().reason == Reason.TRACKING_ERROR
    off = np.linalg.norm(np.array(rig.path)[:, :2] - tool_m[:2], axis=1)
    assert off.max() <= CONFIG.tracking_limit_m + 1e-9


def test_a_tool_raised_in_the_middle_of_a_push_comes_down_beside_the_box() -> None:
    """Raised while it pushes, it stands above the box's edge by what the box gave way, and would come down on it."""
    layout = MarkerLayout.load(share_path("config", "layout.yaml"))
    rig = SimulatedRig(layout, SimConfig(seed=0))
    arm = Arm(CONFIG, ArmKind(tool=TOOL))
    start_m, height_m = rig.pusher(), CONFIG.retreat_height_m

    def run(duration_s: float) -> None:
        nonlocal height_m
        for _ in range(round(duration_s / DT_S)):
            arm.measure(np.append(rig.pusher(), height_m), TOOL, rig.time_s)
            arm.tick(rig.time_s, rig.time_s)
            if arm.command is not None:
                rig.set_target(arm.command.position_m[:2], float(arm.command.position_m[2]))
            rig.advance(DT_S)
            height_m = rig.height()

    rig.set_target(start_m, height_m)
    run(5.0)
    assert arm.condition().reason == Reason.RUNNING
    for _ in range(3):
        assert arm.step(rig.time_s, np.array([0.05, 0.0]), rig.time_s) is None
        run(0.7)
        assert arm.set_enabled(False, rig.time_s) is None
        run(4.0)
        assert rig.height() > 0.1
        box_before = rig.box_pose()
        assert arm.set_enabled(True, rig.time_s) is None
        run(5.0)
        assert arm.condition().reason == Reason.RUNNING
        np.testing.assert_allclose(rig.box_pose(), box_before, atol=1e-4)
    assert rig.box_pose()[0] > 0.55
