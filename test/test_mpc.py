"""Model-predictive control: warm start, carry, arrival."""

import numpy as np
import pytest
from analytic import LAYOUT, linear_bundle, planner_settings

from sgp_core.config import MpcConfig
from sgp_core.layout import rotation
from sgp_core.mpc import Controller, advance, goal_error, initial_carry, toward_another_goal
from sgp_core.types import Goal, Reason, State

BUNDLE = linear_bundle()
GOAL = Goal.from_pose(LAYOUT, 0.6, 0.05, 0.1)


def state_at(x_m: float, y_m: float, yaw_rad: float, stamp_s: float = 0.0) -> State:
    return State(stamp_s=stamp_s, x=LAYOUT.pack(LAYOUT.markers_at(x_m, y_m, yaw_rad), np.array([x_m - 0.09, y_m])))


def controller(**planner) -> Controller:
    return Controller(BUNDLE, planner_settings(**{"iterations": 8, **planner}), MpcConfig())


@pytest.mark.parametrize("steps", [0, 1, 2, 4, 7])
def test_advance_by_whole_steps_is_an_exact_shift(steps):
    u = np.arange(8.0).reshape(4, 2)
    expected = np.concatenate([u, np.zeros((8, 2))])[steps : steps + 4]
    np.testing.assert_array_equal(advance(u, steps), expected)


def test_advance_by_a_fraction_keeps_the_motion_that_is_left():
    u = np.array([[0.04, 0.0], [0.02, 0.01], [0.0, -0.02]])
    np.testing.assert_allclose(advance(u, 0.25), [[0.035, 0.0025], [0.015, 0.0025], [0.0, -0.015]])
    for fraction in (0.0, 0.3, 1.0, 1.6, 2.99):
        whole = int(fraction)
        left = u[whole:].sum(axis=0) - (fraction - whole) * u[whole]
        np.testing.assert_allclose(advance(u, fraction).sum(axis=0), left, atol=1e-12)


def test_warm_start_is_the_last_plan_advanced_by_the_time_between_the_states():
    frozen = controller(learning_rate=1e-5, iterations=4, beta=0.0)  # hardly moves away from its warm start
    first = frozen.control(state_at(0.5, 0.0, 0.0, stamp_s=10.0), GOAL, initial_carry())
    carry = first.carry
    u = np.array([[0.03, 0.01], [0.02, 0.0], [0.01, 0.0], [0.005, 0.0]])
    carry = type(carry)(u=u, stamp_s=10.0, generator_state=carry.generator_state)
    later = state_at(0.53, 0.01, 0.0, stamp_s=11.0)
    moved = frozen.control(later, GOAL, carry).plan.u
    stayed = frozen.control(later, GOAL, carry, executed=False).plan.u
    np.testing.assert_allclose(moved, advance(u, 1.0), atol=1e-5)
    np.testing.assert_allclose(stayed, u, atol=1e-5)


def test_a_changed_horizon_keeps_the_warm_start():
    carry = controller().control(state_at(0.5, 0.0, 0.0), GOAL, initial_carry()).carry
    for horizon in (2, 4, 7):
        frozen = controller(horizon=horizon, learning_rate=1e-5, iterations=4)  # hardly moves away from its warm start
        decision = frozen.control(state_at(0.5, 0.0, 0.0), GOAL, carry, executed=False)
        assert decision.plan.u.shape == (horizon, 2)
        common = min(horizon, 4)
        np.testing.assert_allclose(decision.plan.u[:common], carry.u[:common], atol=1e-5)
        np.testing.assert_allclose(decision.plan.u[common:], 0.0, atol=1e-5)


def test_arrival_with_hysteresis_then_leaving():
    tolerance, control = MpcConfig().goal_tolerance_m, controller().control
    inside, border = state_at(0.6 + 0.9 * tolerance, 0.05, 0.1), state_at(0.6 + 1.2 * tolerance, 0.05, 0.1)
    outside = state_at(0.6 + 2.0 * tolerance, 0.05, 0.1)
    assert control(border, GOAL, initial_carry()).step.status is Reason.RUNNING
    reached = control(inside, GOAL, initial_carry())
    assert reached.step.status is Reason.GOAL_REACHED
    assert reached.plan is None
    assert not reached.step.u.any()
    still = control(border, GOAL, reached.carry)
    assert still.step.status is Reason.GOAL_REACHED
    gone = control(outside, GOAL, still.carry)
    assert gone.step.status is Reason.RUNNING
    assert not gone.carry.arrived


def test_a_turned_box_has_not_arrived():
    # Turned about the middle of its markers, so that they stay close while the yaw is off.
    turned = GOAL.markers_m.mean(axis=0) + (GOAL.markers_m - GOAL.markers_m.mean(axis=0)) @ rotation(0.11).T
    state = State(stamp_s=0.0, x=LAYOUT.pack(turned, np.array([0.5, 0.0])))
    error_m, yaw_rad = goal_error(LAYOUT, state.x, GOAL)
    assert yaw_rad == pytest.approx(0.11)
    wide = Controller(BUNDLE, planner_settings(iterations=8), MpcConfig(goal_tolerance_m=2 * error_m))
    assert wide.control(state, GOAL, initial_carry()).step.status is Reason.RUNNING


def test_yaw_error_wraps():
    assert goal_error(LAYOUT, state_at(0.6, 0.0, 3.1).x, Goal.from_pose(LAYOUT, 0.6, 0.0, -3.1))[1] == pytest.approx(
        2 * np.pi - 6.2
    )


def test_the_same_carry_gives_the_same_decision():
    once, again = (controller(restarts=3).control(state_at(0.5, 0.0, 0.0), GOAL, initial_carry(7)) for _ in range(2))
    np.testing.assert_array_equal(once.plan.u, again.plan.u)
    assert once.carry.generator_state == again.carry.generator_state
    assert once.carry.generator_state != initial_carry(7).generator_state


def test_a_box_that_comes_no_nearer_is_spoken_of():
    one, carry = controller(), initial_carry()
    said = []
    for cycle in range(14):
        decision = one.control(state_at(0.5, 0.0, 0.0, stamp_s=1000.0 + cycle), GOAL, carry)
        said.append("no nearer" in decision.step.reason)
        carry = decision.carry
    assert decision.step.status is Reason.RUNNING
    assert said == [False] * 11 + [True] * 3
    assert "111 mm away" in decision.step.reason
    # A break does not count; a nearer box and another goal end it.
    for state, before in (
        (state_at(0.51, 0.0, 0.0, 1014.0), carry),
        (state_at(0.5, 0.0, 0.0, 1014.0), toward_another_goal(carry)),
    ):
        assert "no nearer" not in one.control(state, GOAL, before).step.reason
    rested = one.control(state_at(0.5, 0.0, 0.0, stamp_s=5000.0), GOAL, initial_carry()).carry
    assert one.control(state_at(0.5, 0.0, 0.0, stamp_s=9000.0), GOAL, rested).carry.idle_s == 2.0


def test_off_the_data_steps_are_shorter_and_then_there_are_none():
    state, carry = state_at(0.5, 0.0, 0.0), initial_carry()
    planner = planner_settings(iterations=8)

    def decided(trust_distance: float):
        return Controller(BUNDLE, planner, MpcConfig(trust_distance=trust_distance)).control(state, GOAL, carry)

    trusted = decided(0.0)
    distance = trusted.plan.data_distance
    assert distance > 0.05
    assert trusted.step.status is Reason.RUNNING
    np.testing.assert_array_equal(decided(1.01 * distance).step.u, trusted.step.u)
    shorter = decided(distance / 1.5)
    assert shorter.step.status is Reason.RUNNING
    assert "off the data" in shorter.step.reason
    np.testing.assert_allclose(shorter.step.u, trusted.step.u / 1.5, atol=1e-12)
    refused = decided(distance / 2.01)
    assert refused.step.status is Reason.OFF_DATA
    assert "record more" in refused.step.reason
    assert not refused.step.u.any()
