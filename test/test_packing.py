"""Layers in half precision give what single precision gives, within a tolerance, and nobody has to have them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic import planner_settings
from torch import nn

from sgp_core.adjoint import MlpScore, ScriptDynamics, ScriptScore, models_of
from sgp_core.bundle import ModelBundle, load_bundle, script
from sgp_core.iteration import Iteration
from sgp_core.packing import PACKED_FROM, TOLERANCES, HalfLinear, PlainLinear, half, plain
from sgp_core.planner import Planner
from sgp_core.resizing import Networks, resized
from sgp_core.rigid_adjoint import RigidDynamics
from sgp_core.types import Goal, PlanStatus, State

UNIT = 7  # the one that is changed where a network is spoilt
with_kernels = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="this torch has no kernels of fbgemm"
)


def matrix(rows: int, columns: int) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(columns)) / columns**0.5


def inputs(rows: int, columns: int = PACKED_FROM) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows))


def share_off(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture(scope="module")
def bundle(bundle_path: Path) -> ModelBundle:
    return load_bundle(bundle_path)


@pytest.fixture
def wide(bundle: ModelBundle) -> Networks:
    """A new one for each test, as some spoil it."""
    return resized(bundle, PACKED_FROM)


@with_kernels
@pytest.mark.parametrize("bias", [None, torch.linspace(-1.0, 1.0, PACKED_FROM)], ids=["alone", "bias"])
@pytest.mark.parametrize("rows", [1, 4, 33])
def test_a_layer_is_within_its_tolerance_compiled_or_not(bias: torch.Tensor | None, rows: int) -> None:
    weight, x = matrix(PACKED_FROM, PACKED_FROM), inputs(rows)
    made = half(weight, bias)
    assert isinstance(made, HalfLinear)
    found = made(x)
    off = share_off(found, nn.functional.linear(x, weight, bias))
    assert 0.0 < off <= TOLERANCES[half]  # exactly the same would mean that nothing is packed
    assert torch.equal(torch.jit.script(made)(x), found)


@with_kernels
def test_a_transposed_matrix_of_unequal_sides_and_no_rows_are_taken() -> None:
    """The sweep back multiplies by transposed views."""
    weight, x = matrix(PACKED_FROM, 2 * PACKED_FROM).t(), inputs(3)
    made = half(weight, None)
    assert share_off(made(x), nn.functional.linear(x, weight)) <= TOLERANCES[half]
    assert made(x[:0]).shape == (0, 2 * PACKED_FROM)


@with_kernels
def test_rows_of_zeros_stay_zero() -> None:
    """A unit that training left dead has no scale of its own."""
    weight = matrix(PACKED_FROM, PACKED_FROM)
    weight[UNIT] = 0.0
    found = half(weight, None)(inputs(4))
    assert not found[:, UNIT].any()
    assert torch.isfinite(found).all()


@with_kernels
def test_the_weights_of_the_file_are_left_as_they_were() -> None:
    weight = matrix(PACKED_FROM, PACKED_FROM)
    weight[UNIT, UNIT] = 1e6  # more than half precision can hold
    kept = weight.clone()
    half(weight, None)
    assert torch.equal(weight, kept)


@pytest.mark.parametrize("shape", [(PACKED_FROM - 1, 2 * PACKED_FROM), (2 * PACKED_FROM, 14)])
def test_small_matrices_stay_as_they_are(shape: tuple[int, int]) -> None:
    weight, x = matrix(*shape), inputs(4, shape[1])
    made = half(weight, None)
    assert isinstance(made, PlainLinear)
    torch.testing.assert_close(torch.jit.script(made)(x), nn.functional.linear(x, weight))


@with_kernels
def test_the_engine_of_the_process_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = inputs(4), matrix(PACKED_FROM, PACKED_FROM)
    for engine in torch.backends.quantized.supported_engines:
        monkeypatch.setattr(torch.backends.quantized, "engine", engine)
        made = half(weight, None)
        assert torch.backends.quantized.engine == engine
        # Nor does a layer mind which one it is.
        assert share_off(made(x), nn.functional.linear(x, weight)) <= TOLERANCES[half]


def test_a_torch_without_the_kernels_takes_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = torch.backends.quantized.engine

    def missing(*_: object) -> None:
        raise RuntimeError("no kernel")

    with monkeypatch.context() as patch:
        patch.setattr(HalfLinear, "__init__", missing)
        assert isinstance(half(matrix(PACKED_FROM, PACKED_FROM), None), PlainLinear)
    assert torch.backends.quantized.engine == engine
    # As on another processor than x86.
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["qnnpack"])
    assert isinstance(half(matrix(PACKED_FROM, PACKED_FROM), None), PlainLinear)


def points(bundle: ModelBundle, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Others than those that `models_of` tries."""
    x = torch.from_numpy(bundle.reference_x[-count:]).float()
    u = torch.from_numpy(bundle.reference_u[-count:]).float()
    return x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), u


def kinds(layers: nn.Module) -> set[type[nn.Module]]:
    """Of all layers but the first, whose matrix is small."""
    return {type(layer) for layer in list(layers.children())[1:]}


@with_kernels
def test_wide_networks_are_packed_and_pull_back_the_same_way(wide: Networks) -> None:
    dynamics, score = models_of(wide.bundle)
    assert isinstance(dynamics, RigidDynamics)
    assert isinstance(score, MlpScore)
    assert kinds(dynamics.hidden) == kinds(score.hidden) == {HalfLinear}
    assert {type(layer) for layer in list(dynamics.back_hidden)[:-1]} == {HalfLinear}
    x, u = points(wide.bundle, 200)
    exact = ScriptDynamics(wide.bundle.dynamics)
    (rough, tapes), (states, exact_tapes) = dynamics.roll(x, u[:, None]), exact.roll(x, u[:, None])
    assert share_off(rough[:, 1] - x, states[:, 1] - x) <= TOLERANCES[half]
    gradient = torch.randn(states.shape, generator=torch.Generator().manual_seed(1))
    # Less what a step that moves nothing but the pusher would give: that part is right whatever the network.
    known = -gradient[:, 1:, -2:]
    one, other = dynamics.pull_back(tapes, gradient, known), exact.pull_back(exact_tapes, gradient, known)
    assert nn.functional.cosine_similarity(one, other, dim=-1).median() > 0.99
    assert nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99


@with_kernels
def test_a_wide_score_is_as_good_on_other_points(wide: Networks) -> None:
    """The lowest noise levels are steep."""
    x, u = points(wide.bundle, 64)
    exact, score = ScriptScore(wide.bundle.score), models_of(wide.bundle)[1]
    for level in range(len(wide.bundle.sigmas)):
        assert share_off(score(x, u, level), exact(x, u, level)) <= 2.0 * TOLERANCES[half]


def one_tiny_layer(_: nn.Linear, second: nn.Linear, third: nn.Linear) -> None:
    """Made good by the next: the same function, in numbers of which half precision has few."""
    for parameter in (second.weight, second.bias):
        parameter.mul_(2.0**-16)
    third.weight.mul_(2.0**16)


@with_kernels
def test_dynamics_that_suffer_keep_single_precision(wide: Networks) -> None:
    with torch.no_grad():
        one_tiny_layer(*[layer for layer in wide.dynamics.net.net if isinstance(layer, nn.Linear)][:3])
    spoilt = dataclasses.replace(wide.bundle, dynamics=script(wide.dynamics))
    dynamics = models_of(spoilt)[0]
    assert isinstance(dynamics, RigidDynamics)
    assert kinds(dynamics.hidden) == {PlainLinear}
    x, u = points(spoilt, 64)
    assert share_off(dynamics.roll(x, u[:, None])[0][:, 1] - x, spoilt.dynamics(x, u) - x) <= TOLERANCES[plain]


@with_kernels
def test_a_score_that_suffers_keeps_single_precision(wide: Networks) -> None:
    with torch.no_grad():
        one_tiny_layer(*list(wide.score.net.linears)[:3])
    spoilt = dataclasses.replace(wide.bundle, score=script(wide.score))
    score = models_of(spoilt)[1]
    assert isinstance(score, MlpScore)
    assert kinds(score.hidden) == {PlainLinear}
    x, u = points(spoilt, 64)
    exact = ScriptScore(spoilt.score)
    for level in range(len(spoilt.sigmas)):
        assert share_off(score(x, u, level), exact(x, u, level)) <= 2.0 * TOLERANCES[plain]


def test_a_plan_on_packed_networks_is_judged_as_the_file_would(wide: Networks) -> None:
    config = planner_settings(beta=0.1, restarts=2, iterations=20)
    planner, judge = Planner(wide.bundle, config), Iteration(wide.bundle, config)
    judge.dynamics = ScriptDynamics(wide.bundle.dynamics)
    goal = Goal.from_pose(wide.bundle.layout, 0.7, 0.05, 0.1)
    target = torch.from_numpy(goal.markers_m).float().reshape(-1)

    @torch.no_grad()
    def objective(x: np.ndarray, u: np.ndarray) -> float:
        one = torch.from_numpy(u).float()[None]
        return float(judge.objective(judge.rollout(torch.from_numpy(x).float(), one, target)))

    for row in range(0, 30, 10):
        x = wide.bundle.reference_x[row]
        warm = np.full((config.horizon, 2), 0.01)
        plan = planner.plan(State(stamp_s=0.0, x=x), goal, warm, torch.Generator().manual_seed(row))
        assert plan.status is PlanStatus.IMPROVED
        assert plan.objective == pytest.approx(objective(x, plan.u), rel=1e-2)
        assert plan.objective < plan.warm_start_objective
        assert objective(x, plan.u) < objective(x, warm)
        again = planner.plan(State(stamp_s=0.0, x=x), goal, plan.u, torch.Generator().manual_seed(row))
        assert again.objective <= again.warm_start_objective == pytest.approx(plan.objective, rel=1e-5)


@with_kernels
def test_a_state_that_is_no_number_fails_without_motion_as_on_narrow_networks(wide: Networks) -> None:
    config, goal = planner_settings(iterations=10), Goal.from_pose(wide.bundle.layout, 0.7, 0.0, 0.0)
    state = State(stamp_s=0.0, x=np.full(wide.bundle.layout.state_size, np.nan))
    plan = Planner(wide.bundle, config).plan(state, goal, np.zeros((config.horizon, 2)), torch.Generator())
    assert plan.status is PlanStatus.FAILED
    assert not plan.u.any()
