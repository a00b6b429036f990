"""Training against known answers: a linear map, a Gaussian whose score is known."""

import json

import numpy as np
import pytest
import torch
from analytic import LAYOUT, data

from sgp_core.checks import rigid_error_mm
from sgp_core.data import Transitions
from sgp_core.export import train_bundle
from sgp_core.networks import ScoreMLP
from sgp_core.train_config import TrainConfig
from sgp_core.training import denoising_loss, train

QUICK = TrainConfig(hidden=32, layers=2, steps=400, check_every=50, sigma_count=3)


def glued(rows: int = 300) -> Transitions:
    """Every marker moves by u."""
    x, u = data(rows)
    x_next = x + np.tile(u, x.shape[1] // 2)
    return Transitions(
        x=x,
        u=u,
        u_commanded=u,
        x_next=x_next,
        demonstration=np.arange(rows) // 6,
        layout=LAYOUT,
        step_duration_s=1.0,
        provenance={},
    )


def quietly(*_):
    pass


def test_dynamics_learn_a_linear_map():
    held_out = glued(60)
    trained = train(glued(), held_out, QUICK.replaced(steps=1500, weight_decay=0.0), quietly)
    with torch.no_grad():
        found = trained.dynamics(torch.from_numpy(held_out.x).float(), torch.from_numpy(held_out.u).float()).numpy()
    assert np.abs(found - held_out.x_next).max() < 0.004
    assert np.abs(found - held_out.x_next).mean() < 0.0007


def test_score_of_gaussian_data_is_learned():
    # Data N(0, 0.3^2 I) perturbed by sigma is N(0, (0.09 + sigma^2) I), whose score is known.
    spread, sigmas = 0.3, torch.tensor([0.4, 0.1])
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net = ScoreMLP(2, 2, 64, 2)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(1500):
        z = spread * torch.randn(256, 2, generator=generator)
        level = torch.randint(2, (256,), generator=generator)
        optimizer.zero_grad()
        denoising_loss(net, z, level, sigmas, generator).backward()
        optimizer.step()
    z = spread * torch.randn(500, 2, generator=generator)
    for k, sigma in enumerate(sigmas):
        with torch.no_grad():
            found = net(z, torch.full((500,), k)) / sigma
        expected = -z / (spread**2 + sigma**2)
        assert ((found - expected).norm() / expected.norm()) < 0.15


def test_the_best_constant_guess_scores_one():
    class Zero(torch.nn.Module):
        def forward(self, z, level):  # noqa: ARG002
            return torch.zeros_like(z)

    level = torch.zeros(20000, dtype=torch.long)
    loss = denoising_loss(Zero(), torch.zeros(20000, 3), level, torch.tensor([0.1]), torch.Generator().manual_seed(0))
    assert float(loss) == pytest.approx(1.0, abs=0.02)


def test_same_seed_same_weights_other_seed_others():
    config = QUICK.replaced(steps=100)
    first, again, other = (train(glued(), glued(60), config.replaced(seed=s), quietly) for s in (1, 1, 2))
    for name, value in first.dynamics.state_dict().items():
        torch.testing.assert_close(value, again.dynamics.state_dict()[name], rtol=0, atol=0)
    weight = "net.net.0.weight"
    assert not torch.equal(first.dynamics.state_dict()[weight], other.dynamics.state_dict()[weight])


def test_training_stops_early_and_keeps_the_best_weights():
    seen = []
    config = QUICK.replaced(steps=4000, check_every=10, patience=3, learning_rate=0.05)
    trained = train(glued(60), glued(30), config, seen.append)
    assert trained.checks == seen
    for name in ("dynamics", "score"):
        checks = [(check.held_out_loss, check.step) for check in seen if check.network == name]
        assert trained.history[name]["best_step"] == min(checks)[1]
        assert trained.history[name]["held_out_loss"] == min(checks)[0]
        assert checks[-1][1] < 4000


def test_train_bundle_splits_by_demonstration_and_measures(tmp_path):
    transitions = glued()
    bundle, _ = train_bundle(transitions, tmp_path / "bundle", QUICK.replaced(copies=0), quietly)
    metrics = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["metrics"]
    assert metrics["held_out_demonstrations"] == 8  # 15 % of 50
    assert len(bundle.reference_x) + metrics["held_out_transitions"] == len(transitions)
    assert metrics["one_step"]["mm"] < 10.0
    assert metrics["score_descent"]["distance_after"] < metrics["score_descent"]["distance_before"]
    assert bundle.index["data"]["sha256"] == transitions.sha256
    assert bundle.step_limit_m == pytest.approx(0.05)


def test_rigid_error_of_a_rigid_and_of_a_torn_box():
    x, _ = data(3)
    torn = x.copy()
    torn[1, 0] += 0.03
    errors = rigid_error_mm(LAYOUT, torn)
    assert errors[0] == pytest.approx(0.0, abs=1e-9)
    assert 5.0 < errors[1] < 20.0
