"""The planner against closed forms, and the promises it makes whatever the models say."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from analytic import LAYOUT, SIGMAS, SIZE, closed_form_step, linear_bundle, planner_settings
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.config import PlannerConfig
from sgp_core.distance import squared_distance
from sgp_core.errors import InputError
from sgp_core.iteration import iteration_of
from sgp_core.planner import Planner
from sgp_core.safety import check_step
from sgp_core.types import Goal, PlanStatus, State

BUNDLE = linear_bundle()
START = State(stamp_s=5.0, x=LAYOUT.pack(LAYOUT.markers_at(0.5, 0.0, 0.0), np.array([0.42, 0.0])))


def goal_at(x_m: float, y_m: float) -> Goal:
    return Goal.from_pose(LAYOUT, x_m, y_m, 0.0)


def solve(config: PlannerConfig, goal: Goal, warm_start: np.ndarray | None = None, seed: int = 0):
    warm_start = np.zeros((config.horizon, 2)) if warm_start is None else warm_start
    return Planner(BUNDLE, config).plan(START, goal, warm_start, torch.Generator().manual_seed(seed))


def test_linear_dynamics_quadratic_cost_reaches_the_closed_form():
    config = planner_settings(beta=0.0, running_weight=0.0, iterations=600, learning_rate=0.01)
    plan = solve(config, goal_at(0.57, -0.06))
    expected = closed_form_step(np.array([0.07, -0.06]), config.horizon, config.action_weight)
    np.testing.assert_allclose(plan.u, np.tile(expected, (config.horizon, 1)), atol=2e-4)
    np.testing.assert_allclose(plan.x[0], START.x, atol=1e-6)
    np.testing.assert_allclose(plan.x[-1], START.x + np.tile(plan.u.sum(axis=0), SIZE // 2), atol=1e-6)
    assert plan.stamp_s == START.stamp_s


def test_far_goal_is_pushed_at_with_the_largest_steps():
    plan = solve(planner_settings(beta=0.0), goal_at(0.9, 0.25))
    np.testing.assert_allclose(plan.u, 0.05, atol=1e-6)


def test_workspace_bounds_the_pusher():
    plan = solve(planner_settings(beta=0.0, workspace_m=(0.3, 0.5, -0.02, 0.35)), goal_at(0.9, -0.3))
    pusher = START.x[-2:] + np.cumsum(plan.u, axis=0)
    assert pusher[:, 0].max() <= 0.5 + 1e-6
    assert pusher[:, 1].min() >= -0.02 - 1e-6
    np.testing.assert_allclose(pusher[-1], [0.5, -0.02], atol=1e-5)


@pytest.mark.parametrize(
    "limits",
    [
        {"keep_out_m": (0.46, 0.50, -0.05, 0.05)},
        {"workspace_m": (0.30, -0.1, 0.60, -0.1, 0.44, 0.1, 0.30, 0.1)},
        {"workspace_m": (0.30, -0.1, 0.60, -0.1, 0.44, 0.1, 0.30, 0.1), "keep_out_m": (0.45, 0.47, 0.0, 0.2)},
    ],
)
def test_plans_keep_to_a_polygon_and_out_of_keep_outs(limits):
    config = planner_settings(beta=0.0, restarts=4, **limits)
    plan = solve(config, goal_at(0.9, 0.02))
    x = plan.x[0, -2:]
    for u in plan.u:
        assert check_step(u, x, config) is None
        x = x + u
    assert plan.objective < plan.warm_start_objective


def test_settings_that_the_pusher_could_not_follow_are_refused():
    for changes, words in (
        ({"speed_limit_mps": 0.05}, "raise the speed"),
        ({"acceleration_limit_mps2": 0.1}, "acceleration_limit_mps2"),
    ):
        with pytest.raises(InputError, match=words):
            Planner(BUNDLE, planner_settings(**changes))


@settings(max_examples=25, deadline=None)
@given(
    warm=st.lists(st.floats(-0.2, 0.2), min_size=8, max_size=8),
    x=st.floats(0.3, 0.9),
    y=st.floats(-0.3, 0.3),
    beta=st.sampled_from([0.0, 0.01, 1.0]),
    rate=st.sampled_from([0.01, 0.1, 3.0]),
    restarts=st.sampled_from([1, 3]),
)
def test_never_worse_than_the_warm_start_and_always_in_bounds(warm, x, y, beta, rate, restarts):
    config = planner_settings(beta=beta, learning_rate=rate, restarts=restarts, iterations=8)
    plan = solve(config, goal_at(x, y), np.array(warm).reshape(4, 2))
    assert plan.objective <= plan.warm_start_objective
    assert np.abs(plan.u).max() <= config.step_limit_m + 1e-6
    pusher = START.x[-2:] + np.cumsum(plan.u, axis=0)
    low_x, high_x, low_y, high_y = config.workspace_m
    assert np.all((pusher >= np.array([low_x, low_y]) - 1e-6) & (pusher <= np.array([high_x, high_y]) + 1e-6))
    total = plan.task_cost + beta * plan.distance2
    assert plan.objective == pytest.approx(total, rel=1e-5, abs=1e-9)
    if plan.status is PlanStatus.IMPROVED:
        assert plan.objective < plan.warm_start_objective


def task_cost(x0: torch.Tensor, u: torch.Tensor, target: torch.Tensor, config: PlannerConfig) -> tuple:
    """The definition, on autograd's tape; and the states."""
    x, cost = [x0.expand(len(u), -1)], config.action_weight * (u**2).sum((-2, -1))
    for t in range(config.horizon):
        x.append(BUNDLE.dynamics(x[-1], u[:, t]))
        weight = config.running_weight if t < config.horizon - 1 else 1.0
        cost = cost + weight * ((x[-1][:, :-2] - target) ** 2).sum(-1)
    return cost / BUNDLE.normalizer.x_scale**2, torch.stack(x, dim=1)


def test_gradient_is_that_of_the_objective():
    config = planner_settings(beta=0.7)
    iteration = iteration_of(BUNDLE, config)
    u = torch.full((2, 4, 2), 0.01)
    u[1] = -0.02
    x0, target = torch.from_numpy(START.x).float(), torch.from_numpy(goal_at(0.7, 0.1).markers_m).float().reshape(-1)
    for level, sigma in enumerate(SIGMAS):
        j, gradient = iteration(x0, u, target, level)
        free = u.clone().requires_grad_()
        task, x = task_cost(x0, free, target, config)
        last = squared_distance(BUNDLE.normalizer.normalize(x[:, :-1], free), BUNDLE.reference, SIGMAS[-1])
        torch.testing.assert_close(j, (task + 0.7 * last.sum(-1)).detach())
        z = BUNDLE.normalizer.normalize(x[:, :-1], free)
        true = task + 0.7 * squared_distance(z, BUNDLE.reference, sigma).sum(-1)
        (expected,) = torch.autograd.grad(true.sum(), free)
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4)


def test_anneals_from_high_to_low_with_equal_shares():
    BUNDLE.score.levels.clear()
    solve(planner_settings(beta=0.1, iterations=20), goal_at(0.6, 0.0))
    assert [(k, len(list(g))) for k, g in itertools.groupby(BUNDLE.score.levels)] == [(0, 5), (1, 5), (2, 5), (3, 5)]


def test_named_levels_are_used_alone():
    BUNDLE.score.levels.clear()
    solve(planner_settings(beta=0.1, iterations=10, sigmas=(0.1, 0.01)), goal_at(0.6, 0.0))
    assert sorted(set(BUNDLE.score.levels)) == [1, 3]


def test_steps_are_those_of_adam():
    config = planner_settings(beta=0.0, iterations=30, learning_rate=0.003, sigmas=(0.01,))
    goal = goal_at(0.52, 0.01)
    x0, target = torch.from_numpy(START.x).float(), torch.from_numpy(goal.markers_m).float().reshape(-1)
    fraction = torch.zeros(1, config.horizon, 2, requires_grad=True)
    adam = torch.optim.Adam([fraction], lr=config.learning_rate)
    for _ in range(config.iterations):
        adam.zero_grad()
        task_cost(x0, fraction * config.step_limit_m, target, config)[0].sum().backward()
        adam.step()
    found = solve(config, goal).u  # J falls at every iteration here, so the last iterate is the best
    np.testing.assert_allclose(found, fraction.detach().numpy()[0] * config.step_limit_m, atol=1e-7)


def test_same_seed_same_plan_other_seed_other_restarts():
    config = planner_settings(restarts=4, iterations=4, beta=1.0, learning_rate=1e-5)
    first, again, other = (solve(config, goal_at(0.8, 0.2), seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.u, again.u)
    assert not np.array_equal(first.u, other.u)


def test_a_running_weight_moves_sooner():
    goal = goal_at(0.55, 0.0)
    late, soon = (solve(planner_settings(beta=0.0, running_weight=w, iterations=300), goal) for w in (0.0, 0.1))
    assert soon.u[0, 0] > 1.5 * late.u[0, 0]
    np.testing.assert_allclose(soon.u.sum(axis=0), [0.05, 0.0], atol=2e-3)


def test_penalty_keeps_the_plan_nearer_to_the_data():
    goal = goal_at(0.9, 0.3)
    free, kept = (solve(planner_settings(beta=beta), goal) for beta in (0.0, 10.0))
    assert kept.data_distance < free.data_distance
    assert free.task_cost < kept.task_cost


def test_models_that_give_nan_fail_without_motion():
    class Broken(torch.nn.Module):
        def forward(self, x, u):  # noqa: ARG002
            return x * torch.nan

    broken = dataclasses.replace(BUNDLE, dynamics=Broken())
    planner = Planner(broken, planner_settings())
    plan = planner.plan(START, goal_at(0.6, 0.0), np.full((4, 2), 0.03), torch.Generator())
    assert plan.status is PlanStatus.FAILED
    assert not plan.u.any()


def test_settings_that_do_not_fit_the_bundle_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"sigmas: 0.3 is not a level of the bundle; choose from 0.2, 0.1"):
        Planner(BUNDLE, planner_settings(sigmas=(0.3,)))
    with pytest.raises(InputError, match=r"sigmas: 0 is not a level"):
        Planner(BUNDLE, planner_settings(sigmas=(0.1, 0.0)))
    with pytest.raises(InputError, match=r"iterations = 3 is fewer than the 4 noise levels"):
        Planner(BUNDLE, planner_settings(iterations=3))
    with pytest.raises(InputError, match=r"step_limit_m = 0.06 exceeds 0.05"):
        Planner(BUNDLE, planner_settings(step_limit_m=0.06))


@pytest.mark.parametrize(("budget_ms", "most"), [(0.0, 20), (1e4, 20), (100.0, 8), (25.0, 1), (1.0, 1)])
def test_the_budget_ends_a_plan_that_is_never_worse_than_the_warm_start(budget_ms: float, most: int):
    """Ten milliseconds an iteration; levels are gone through all the same."""
    config = planner_settings(beta=0.1, iterations=20, budget_ms=budget_ms)
    BUNDLE.score.levels.clear()
    planner = Planner(BUNDLE, config, lambda: 0.01 * len(BUNDLE.score.levels))
    plan = planner.plan(START, goal_at(0.6, 0.0), np.full((4, 2), 0.01), torch.Generator().manual_seed(0))
    assert plan.iterations == most
    assert plan.objective <= plan.warm_start_objective
    if most > 4:
        assert sorted(set(BUNDLE.score.levels)) == [0, 1, 2, 3]
    if budget_ms > 25.0 and most < 20:
        assert plan.solve_s <= budget_ms * 1e-3


def test_a_plan_cut_short_by_time_can_be_made_again() -> None:
    goal, warm = goal_at(0.6, 0.02), np.full((4, 2), 0.01)
    hurried = Planner(BUNDLE, planner_settings(beta=0.1, budget_ms=170.0), lambda: 0.01 * len(BUNDLE.score.levels))
    BUNDLE.score.levels.clear()
    first = hurried.plan(START, goal, warm, torch.Generator().manual_seed(5))
    assert first.iterations < 50
    assert len(first.schedule) == 4
    calm = Planner(BUNDLE, planner_settings(beta=0.1))
    again = calm.plan(START, goal, warm, torch.Generator().manual_seed(5), schedule=first.schedule)
    np.testing.assert_array_equal(again.u, first.u)
    assert again.schedule == first.schedule
    whole = calm.plan(START, goal, warm, torch.Generator().manual_seed(5))
    assert whole.iterations == 50
    assert not np.array_equal(whole.u, first.u)
    with pytest.raises(InputError, match="went through 2 noise levels, these settings name 4"):
        calm.plan(START, goal, warm, torch.Generator(), schedule=(3, 4))


def test_time_that_is_gone_already_counts() -> None:
    config = planner_settings(beta=0.1, iterations=20, budget_ms=100.0)
    BUNDLE.score.levels.clear()
    planner = Planner(BUNDLE, config, lambda: 0.01 * len(BUNDLE.score.levels))
    warm = np.full((4, 2), 0.01)
    plan = planner.plan(START, goal_at(0.6, 0.0), warm, torch.Generator().manual_seed(0), spent_s=0.05)
    assert plan.iterations == 3  # of 8 in all of the time
