"""A plan in one go gives what a plan in bursts gives; nothing of it is left behind on the CPU."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic import linear_bundle, planner_settings

from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.graph import DescentGraph
from sgp_core.iteration import begin
from sgp_core.planner import Planner
from sgp_core.types import Goal, Plan, PlanStatus, State

with_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch built for it")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> ModelBundle:
    return load_bundle(bundle_path)


def planned(planner: Planner, bundle: ModelBundle, seed: int) -> Plan:
    state = State(stamp_s=0.0, x=bundle.reference_x[10 * seed])
    goal = Goal.from_pose(bundle.layout, 0.7, 0.05, 0.1)
    return planner.plan(state, goal, np.full((planner.config.horizon, 2), 0.01), torch.Generator().manual_seed(seed))


def in_one_go(bundle: ModelBundle, config: PlannerConfig) -> Planner:
    planner = Planner(bundle, config)
    planner._graph = DescentGraph(bundle, config, planner.levels, CPU)  # type: ignore[misc]
    return planner


@pytest.mark.parametrize(
    "config",
    [
        planner_settings(),
        planner_settings(restarts=1, iterations=13, horizon=2),  # levels of unequal length
        planner_settings(beta=0.0, iterations=10),
        planner_settings(workspace_m=(0.40, 0.55, -0.02, 0.02), iterations=20, running_weight=0.5),  # bounds that hold
    ],
    ids=["defaults", "short", "no penalty", "narrow"],
)
def test_all_iterations_at_once_equal_bursts_of_them(bundle: ModelBundle, config: PlannerConfig) -> None:
    bursts, once = Planner(bundle, config), in_one_go(bundle, config)
    for seed in range(3):
        wanted, found = planned(bursts, bundle, seed), planned(once, bundle, seed)
        np.testing.assert_allclose(found.u, wanted.u, atol=1e-6)
        assert found.objective == pytest.approx(wanted.objective, rel=1e-5)
        assert found.iterations == wanted.iterations == config.iterations


def test_the_same_memory_serves_every_plan(bundle: ModelBundle) -> None:
    """And a plan does not depend on the one before."""
    once = in_one_go(bundle, planner_settings(iterations=10))
    first, other, again = (planned(once, bundle, seed) for seed in (0, 1, 0))
    assert not np.array_equal(first.u, other.u)
    np.testing.assert_array_equal(first.u, again.u)


def test_what_comes_back_broken_is_not_taken(bundle: ModelBundle) -> None:
    """Whatever a device gives: the warm start stays, within the bounds."""
    once = in_one_go(bundle, planner_settings(iterations=10, restarts=2))
    graph = once._graph
    assert graph is not None
    for value in (np.nan, np.inf, 100.0):
        spoilt = begin(torch.full((2, 4, 2), value), torch.ones(2, 4, 1))
        graph._descend = lambda spoilt=spoilt: spoilt  # type: ignore[method-assign,misc]
        plan = planned(once, bundle, 0)
        assert plan.status is PlanStatus.KEPT_WARM_START
        np.testing.assert_allclose(plan.u, 0.01, atol=1e-7)


def test_nothing_stays_on_the_cpu(bundle: ModelBundle) -> None:
    """On a device that computes nothing but minds what mixes with it; a recording may not touch the CPU either."""
    config = planner_settings(iterations=10)
    graph = DescentGraph(bundle, config, Planner(bundle, config).levels, torch.device("meta"))
    found = graph._descend()
    assert {tensor.device.type for tensor in found if isinstance(tensor, torch.Tensor)} == {"meta"}


def test_networks_of_another_kind_are_refused() -> None:
    config = planner_settings(iterations=10)
    bundle = linear_bundle()
    with pytest.raises(InputError, match="networks of `sgp train` only; set it to cpu"):
        DescentGraph(bundle, config, Planner(bundle, config).levels, CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_refused_before_anything_is_planned(bundle: ModelBundle) -> None:
    with pytest.raises(InputError, match="torch finds no CUDA device; set it to cpu"):
        Planner(bundle, planner_settings(device="cuda"))


def test_a_workspace_that_is_no_rectangle_is_refused(bundle: ModelBundle) -> None:
    with pytest.raises(InputError, match="rectangular workspace without keep_out_m only; set it to cpu"):
        Planner(bundle, planner_settings(device="cuda", keep_out_m=(0.46, 0.50, -0.05, 0.05)))


def test_unknown_devices_are_refused() -> None:
    with pytest.raises(InputError, match=re.escape("device = 'gpu' must be one of cpu, cuda")):
        planner_settings(device="gpu")


@with_cuda
@pytest.mark.parametrize("restarts", [1, 16])
def test_a_gpu_plans_as_well_as_the_cpu(bundle: ModelBundle, restarts: int) -> None:
    here, there = (Planner(bundle, planner_settings(device=device, restarts=restarts)) for device in ("cpu", "cuda"))
    for seed in range(5):
        wanted, found = planned(here, bundle, seed), planned(there, bundle, seed)
        # Sums in another order; where a box tips to one side or the other, by more than rounding.
        assert found.objective == pytest.approx(wanted.objective, rel=0.05)


@with_cuda
def test_a_gpu_keeps_to_half_of_its_budget(bundle: ModelBundle) -> None:
    planner = Planner(bundle, planner_settings(device="cuda", iterations=5000, budget_ms=50.0))
    assert planned(planner, bundle, 0).iterations < 5000
