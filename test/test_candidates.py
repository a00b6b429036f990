"""Plans that begin with a walk to another side of the box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgp_core.adjoint import models_of
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.candidates import Candidates, most_candidates
from sgp_core.config import MpcConfig, PlannerConfig, SimConfig
from sgp_core.mpc import Controller, initial_carry
from sgp_core.planner import Planner
from sgp_core.safety import region_of
from sgp_core.share import share_path
from sgp_core.sim.rig import Rig, clearance
from sgp_core.types import Goal, Plan, State

CONFIG = PlannerConfig(iterations=20)
BOX = (0.65, 0.0, 0.0)
BEHIND = np.array([0.56, 0.0])


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return load_bundle(share_path("models", "default"))


@pytest.fixture(scope="module")
def planner(bundle: ModelBundle) -> Planner:
    return Planner(bundle, CONFIG)


def state_of(bundle: ModelBundle, box: tuple[float, float, float] = BOX, pusher: np.ndarray = BEHIND) -> State:
    return State(stamp_s=3.0, x=bundle.layout.pack(bundle.layout.markers_at(*box), pusher))


def towards_the_arm(planner: Planner, bundle: ModelBundle, seed: int = 0) -> Plan:
    """The box has to come back to where the pusher is, so the pusher has to go to its other side."""
    goal = Goal.from_pose(bundle.layout, 0.55, 0.0, 0.0)
    return planner.plan(state_of(bundle), goal, np.zeros((4, 2)), torch.Generator().manual_seed(seed))


def test_a_box_that_has_to_come_back_is_pushed_from_its_far_side(planner: Planner, bundle: ModelBundle) -> None:
    plan = towards_the_arm(planner, bundle)
    assert plan.walk >= 3
    assert plan.u.shape == (plan.walk + 4, 2)
    assert plan.x.shape == (plan.walk + 5, 12)
    np.testing.assert_allclose(np.diff(plan.x[:, -2:], axis=0), plan.u, atol=1e-6)
    np.testing.assert_allclose(plan.x[0], state_of(bundle).x, atol=1e-6)
    np.testing.assert_allclose(plan.x[: plan.walk + 1, :-2], np.tile(plan.x[0, :-2], (plan.walk + 1, 1)), atol=1e-6)
    assert plan.from_m is not None
    assert plan.from_m[0] > 0.65
    assert np.abs(plan.u).max() <= CONFIG.step_limit_m + 1e-6
    for start, u in zip(plan.x[: plan.walk, -2:], plan.u, strict=False):
        assert min(clearance(bundle.layout, BOX, start + u * share) for share in np.linspace(0.0, 1.0, 11)) > 0.0
    assert plan.objective == pytest.approx(plan.task_cost + CONFIG.beta * plan.distance2, rel=1e-4)
    assert plan.objective <= plan.warm_start_objective
    # Another push may follow these four: planned from where they end, the box is back.
    last, goal = State(stamp_s=4.0, x=plan.x[-1]), Goal.from_pose(bundle.layout, 0.55, 0.0, 0.0)
    then = planner.plan(last, goal, np.zeros((4, 2)), torch.Generator().manual_seed(0))
    assert bundle.layout.markers(then.x[-1])[:, 0].mean() < 0.60


def test_without_contacts_it_stays_where_it_is(bundle: ModelBundle) -> None:
    plan = towards_the_arm(Planner(bundle, CONFIG.replaced(contacts_per_side=0)), bundle)
    assert plan.walk == 0
    assert plan.from_m is None
    assert plan.u.shape == (4, 2)


def test_the_next_plan_goes_on_with_the_walk(bundle: ModelBundle) -> None:
    """Carried out by the physics: the pusher walks round, the box stays meanwhile, then comes back to the goal."""
    layout, controller = bundle.layout, Controller(bundle, CONFIG, MpcConfig())
    goal, carry = Goal.from_pose(layout, 0.55, 0.0, 0.0), initial_carry(0)
    rig = Rig(layout, SimConfig(seed=1), BOX, (float(BEHIND[0]), float(BEHIND[1])))
    rig.advance(0.5)
    walks, reference = [], rig.pusher()
    for _ in range(20):
        state = State(stamp_s=rig.time_s, x=layout.pack(rig.noisy_markers(), rig.pusher()))
        decision = controller.control(state, goal, carry)
        carry = decision.carry
        if decision.plan is None:
            break
        walks.append(decision.plan.walk)
        assert ("walking" in decision.step.reason) == (decision.plan.walk > 0)
        assert (carry.from_m is None) == (decision.plan.walk == 0)
        assert carry.u is not None
        assert carry.u.shape == (4, 2)
        if walks == sorted(walks, reverse=True) and decision.plan.walk:
            np.testing.assert_allclose(rig.box_pose(), BOX, atol=1e-3)
        rig.move(reference, decision.step.u, bundle.step_duration_s)
        reference = reference + decision.step.u
    assert decision.plan is None, walks
    assert walks[0] >= 3
    assert walks[1] == walks[0] - 1


def test_the_same_plan_without_a_clock(planner: Planner, bundle: ModelBundle) -> None:
    one, same = (towards_the_arm(planner, bundle, seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.u, same.u)
    again = planner.plan(
        state_of(bundle),
        Goal.from_pose(bundle.layout, 0.55, 0.0, 0.0),
        np.zeros((4, 2)),
        torch.Generator().manual_seed(4),
        schedule=one.schedule,
    )
    np.testing.assert_array_equal(again.u, one.u)


def test_there_are_never_more_than_room_is_made_for(bundle: ModelBundle) -> None:
    candidates = Candidates(bundle, CONFIG, region_of(CONFIG))
    goal, roll = Goal.from_pose(bundle.layout, 0.55, 0.1, 1.0), models_of(bundle)[0].roll
    random = np.random.default_rng(0)
    for _ in range(30):
        box = tuple(float(v) for v in random.uniform((0.5, -0.15, -3.0), (0.8, 0.15, 3.0)))
        pusher = np.array(box[:2]) + random.uniform(-0.3, 0.3, 2)
        found = candidates.from_sides(state_of(bundle, box, pusher), goal, roll)  # wherever the pusher is said to be
        assert CONFIG.restarts + len(found) <= most_candidates(CONFIG)
        for candidate in found:
            walk, _ = candidates.walk(state_of(bundle, box, pusher), candidate, 1.0)
            np.testing.assert_allclose(pusher + walk.sum(axis=0), candidate.from_m, atol=1e-6)


def test_a_place_that_cannot_be_reached_any_more_is_given_up(planner: Planner, bundle: ModelBundle) -> None:
    goal = Goal.from_pose(bundle.layout, 0.72, 0.0, 0.0)
    push = np.tile([0.03, 0.0], (4, 1))
    inside_box = np.array(BOX[:2])
    plan = planner.plan(state_of(bundle), goal, push, torch.Generator().manual_seed(0), from_m=inside_box)
    assert np.isfinite(plan.objective)
    assert np.abs(plan.u).max() <= CONFIG.step_limit_m + 1e-6
