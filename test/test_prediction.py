"""What the sender of steps knows of the pusher reference is what the pusher does, and plans start from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analytic import linear_bundle, planner_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.config import MpcConfig, PusherConfig
from sgp_core.mpc import Controller, in_time, initial_carry
from sgp_core.planner import Planner
from sgp_core.prediction import CommandedMotion, Outlook
from sgp_core.pusher import PusherReference
from sgp_core.types import Goal, Reason, State

CENTRE = np.array([0.6, 0.0])
TICK_S = 0.01


def pushed(steps: list[tuple[int, int, tuple[float, float]]]) -> tuple[list[float], list[np.ndarray], CommandedMotion]:
    """Instants, the reference of a real pusher there, and the motion as its sender knows it.

    Each step comes so many ticks after the one before, stamped so many ticks earlier.
    """
    reference, motion = PusherReference(PusherConfig()), CommandedMotion(1.0)
    due: dict[int, tuple[int, tuple[float, float]]] = {}
    at = 10
    for gap, age, u in steps:
        at += gap
        due[at] = age, u
    times, places = [], []
    for k in range(at + 150):
        now_s = 100.0 + k * TICK_S
        target = reference.target(now_s)
        reference.measure(CENTRE if target is None else target, now_s)
        reference.update(now_s, now_s)
        if k in due:
            age, u = due[k]
            assert reference.step(now_s - age * TICK_S, np.array(u), now_s) is None
            motion.step(now_s - age * TICK_S, np.array(u), now_s, reference.config.speed_limit_mps)
        times.append(now_s)
        places.append(reference.target(now_s))
    return times, places, motion


STEP = st.tuples(st.integers(6, 120), st.integers(0, 5), st.tuples(st.floats(-0.02, 0.02), st.floats(-0.02, 0.02)))


@settings(deadline=None, max_examples=30)
@given(st.lists(STEP, min_size=1, max_size=5))
def test_the_sender_knows_what_the_reference_did(steps: list[tuple[int, int, tuple[float, float]]]) -> None:
    times, places, motion = pushed(steps)
    recent = [k for k, t in enumerate(times) if t > times[-1] - 1.5]
    for k in recent[::10]:
        np.testing.assert_allclose(motion.between(times[k], times[-1]), places[-1] - places[k], atol=1e-9)


def test_after_a_hold_nothing_moves_and_before_the_first_step_neither() -> None:
    motion = CommandedMotion(1.0)
    assert not motion.between(0.0, 5.0).any()
    motion.step(10.0, np.array([0.05, 0.0]), 10.0, 0.12)
    motion.stand(10.4)
    np.testing.assert_allclose(motion.between(10.0, 20.0), [0.02, 0.0], atol=1e-9)
    motion.forget()
    assert not motion.between(10.0, 20.0).any()


def test_a_plan_starts_where_the_pusher_will_be() -> None:
    bundle = linear_bundle()  # x_next = x + u for every point
    controller = Controller(bundle, planner_settings(restarts=1), MpcConfig())
    x = np.tile([0.55, 0.0], bundle.layout.count + 1)
    goal = Goal.from_pose(bundle.layout, 0.7, 0.0, 0.0)
    outlook = Outlook(start_s=7.2, motion_m=np.array([0.01, -0.005]))
    decision = controller.control(State(stamp_s=7.0, x=x), goal, initial_carry(), outlook=outlook)
    assert decision.step.status is Reason.RUNNING
    assert decision.step.stamp_s == decision.carry.stamp_s == 7.2
    assert decision.plan is not None
    np.testing.assert_allclose(decision.plan.x[0].reshape(-1, 2), [[0.56, -0.005]] * (len(x) // 2), atol=1e-6)


def test_without_motion_the_state_is_taken_as_measured() -> None:
    bundle = linear_bundle()
    planner = Planner(bundle, planner_settings())
    x = np.random.default_rng(0).uniform(0.4, 0.6, bundle.layout.state_size)
    found = planner.predict(State(stamp_s=1.0, x=x), Outlook(start_s=1.5, motion_m=np.zeros(2)))
    assert found.stamp_s == 1.5
    np.testing.assert_array_equal(found.x, x)


@pytest.mark.parametrize(
    ("asked_ms", "rate_hz", "given_ms"), [(0.0, 20.0, 30.0), (0.0, 1.0, 300.0), (12.0, 20.0, 12.0)]
)
def test_a_loop_gives_each_plan_its_time(asked_ms: float, rate_hz: float, given_ms: float) -> None:
    found = in_time(planner_settings(budget_ms=asked_ms), MpcConfig(rate_hz=rate_hz))
    assert found.budget_ms == pytest.approx(given_ms)


def test_a_box_and_a_polygon_of_the_same_shape_bound_alike() -> None:
    """A box is kept to inside of the iterations, anything else between them."""
    bundle = linear_bundle()
    x = np.tile([0.55, 0.0], bundle.layout.count + 1)
    state, goal = State(stamp_s=0.0, x=x), Goal.from_pose(bundle.layout, 0.9, 0.2, 0.0)
    plans = []
    for workspace in ((0.3, 0.6, -0.02, 0.05), (0.3, -0.02, 0.6, -0.02, 0.6, 0.05, 0.3, 0.05)):
        planner = Planner(bundle, planner_settings(workspace_m=workspace, restarts=3))
        plans.append(planner.plan(state, goal, np.zeros((4, 2)), torch.Generator().manual_seed(0)))
    np.testing.assert_allclose(plans[0].u, plans[1].u, atol=1e-5)
    ends = x[-2:] + np.cumsum(plans[0].u, axis=0)
    assert (ends <= np.array([0.6, 0.05]) + 1e-6).all()
    assert (ends >= np.array([0.3, -0.02]) - 1e-6).all()
