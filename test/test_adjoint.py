"""The models as plain matrices give what their TorchScript gives, and their reverse mode is autograd's."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
import torch
from analytic import linear_bundle
from torch import nn

from sgp_core.adjoint import MlpDynamics, MlpScore, ScriptDynamics, ScriptScore, models_of
from sgp_core.bundle import ModelBundle, load_bundle, script
from sgp_core.networks import DynamicsInMetres, DynamicsMLP
from sgp_core.rigid_adjoint import RigidDynamics


@pytest.fixture(scope="module", params=[RigidDynamics, MlpDynamics])
def kind(request: pytest.FixtureRequest) -> type[nn.Module]:
    """Of dynamics: the default bundle's, and those that know of no box."""
    chosen: type[nn.Module] = request.param
    return chosen


@pytest.fixture(scope="module")
def bundle(bundle_path: Path, kind: type[nn.Module]) -> ModelBundle:
    default = load_bundle(bundle_path)
    if kind is RigidDynamics:
        return default
    torch.manual_seed(0)
    free = DynamicsInMetres(DynamicsMLP(default.layout.count, 32, 3), default.normalizer)
    return dataclasses.replace(default, dynamics=script(free))


def points(bundle: ModelBundle, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(bundle.reference_x[:count]).float()
    u = torch.from_numpy(bundle.reference_u[:count]).float()
    return x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), u


def test_networks_of_this_package_are_taken_as_matrices(bundle: ModelBundle, kind: type[nn.Module]) -> None:
    dynamics, score = models_of(bundle)
    assert isinstance(dynamics, kind)
    assert isinstance(score, MlpScore)


def test_dynamics_and_their_reverse_mode(bundle: ModelBundle, kind: type[nn.Module]) -> None:
    x, u = points(bundle, 200)
    steps = torch.stack([u, -0.5 * u.flip(1), u], dim=1)
    found, expected = kind(bundle.dynamics), ScriptDynamics(bundle.dynamics)
    (x_found, tapes_found), (x_expected, tapes_expected) = found.roll(x, steps), expected.roll(x, steps)
    torch.testing.assert_close(x_found, x_expected, atol=1e-6, rtol=0.0)
    by_x = torch.randn(x_found.shape, generator=torch.Generator().manual_seed(1))
    one, other = (d.pull_back(t, by_x, steps) for d, t in ((found, tapes_found), (expected, tapes_expected)))
    # A ReLU at the edge may fall to either side.
    off = (one - other).abs().amax((-1, -2)) > 1e-3 * other.abs().max()
    assert off.float().mean() <= 0.01


def test_a_file_is_differentiated_through_all_its_steps(bundle: ModelBundle) -> None:
    """Frozen TorchScript once left out what a step gets from the one before."""
    x, u = (v.double() for v in points(bundle, 8))
    steps = torch.stack([u, u, u], dim=1)
    file = ScriptDynamics(bundle.dynamics.double())
    states, tapes = file.roll(x, steps)
    weights = torch.randn(states.shape, generator=torch.Generator().manual_seed(1), dtype=states.dtype)
    found = file.pull_back(tapes, weights, torch.zeros_like(steps))
    for t, k in itertools.product(range(3), range(2)):
        further = torch.zeros_like(steps)
        further[:, t, k] = 1e-7
        j = [(weights * file.roll(x, steps + sign * further)[0]).sum((1, 2)) for sign in (1.0, -1.0)]
        torch.testing.assert_close(found[:, t, k], (j[0] - j[1]) / 2e-7, atol=1e-3, rtol=1e-3)


def test_score_at_every_level(bundle: ModelBundle) -> None:
    x, u = points(bundle, 200)
    found, expected = MlpScore(bundle.score), ScriptScore(bundle.score)
    for level in range(len(bundle.sigmas)):
        wanted = expected(x, u, level)
        torch.testing.assert_close(found(x, u, level), wanted, atol=1e-4 * float(wanted.abs().max()), rtol=0.0)


def test_other_models_are_differentiated_by_autograd() -> None:
    bundle = linear_bundle()
    dynamics, score = models_of(bundle)
    assert isinstance(dynamics, ScriptDynamics)
    assert isinstance(score, ScriptScore)
    x, u = points(bundle, 3)
    states, tapes = dynamics.roll(x, u[:, None])
    by_u = dynamics.pull_back(tapes, torch.ones_like(states), u[:, None])
    torch.testing.assert_close(states[:, 1], x + u.repeat(1, x.shape[1] // 2))
    torch.testing.assert_close(by_u, u[:, None] + x.shape[1] // 2)


def test_matrices_that_do_not_fit_the_file_are_not_used(
    bundle: ModelBundle, kind: type[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another architecture may have the same names inside."""
    honest = kind.roll
    monkeypatch.setattr(kind, "roll", lambda self, x, u: (honest(self, x, u)[0] + 1e-3, None))
    assert isinstance(models_of(bundle)[0], ScriptDynamics)
