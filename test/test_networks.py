"""Networks in metres: the normaliser's chain rule, the known motion of the pusher, the noise ladder."""

import numpy as np
import pytest
import torch
from analytic import LAYOUT, SIZE, data

from sgp_core.bundle import script
from sgp_core.distance import exact_score, squared_distance
from sgp_core.networks import DynamicsInMetres, DynamicsMLP, ScoreInMetres, ScoreMLP, cosine_sigmas
from sgp_core.normalizer import Normalizer

SIGMAS = (0.3, 0.1, 0.02)


@pytest.fixture
def normalizer() -> Normalizer:
    x, _ = data()
    return Normalizer(x_centre=tuple(x.mean(axis=0)), x_scale=0.37, u_scale=0.11)


def test_chain_rule_the_score_in_metres_is_the_gradient_of_the_log_density_in_metres(normalizer):
    x, u = (torch.from_numpy(a).float() for a in data())
    reference = normalizer.normalize(x, u)

    class SigmaTimesScore(torch.nn.Module):
        def forward(self, z, level):
            return SIGMAS[int(level[0])] * exact_score(z, reference, SIGMAS[int(level[0])])

    wrapped = ScoreInMetres(SigmaTimesScore(), normalizer, SIGMAS)
    x = (x[:6] + 0.01).requires_grad_()
    u = (u[:6] - 0.01).requires_grad_()
    for level, sigma in enumerate(SIGMAS):
        log_p = -squared_distance(normalizer.normalize(x, u), reference, sigma) / sigma**2
        expected = torch.cat(torch.autograd.grad(log_p.sum(), (x, u)), dim=-1)
        found = wrapped(x.detach(), u.detach(), torch.full((6,), level))
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-2)


def test_scripted_models_equal_the_eager_ones_and_move_the_pusher_by_u(normalizer):
    torch.manual_seed(0)
    dynamics = DynamicsInMetres(DynamicsMLP(LAYOUT.count, 16, 3), normalizer)
    score = ScoreInMetres(ScoreMLP(SIZE + 2, len(SIGMAS), 16, 3), normalizer, SIGMAS)
    x, u = (torch.from_numpy(a).float() for a in data())
    level = torch.arange(len(x)) % len(SIGMAS)
    torch.testing.assert_close(script(dynamics)(x, u), dynamics(x, u))
    torch.testing.assert_close(script(score)(x, u, level), score(x, u, level))
    torch.testing.assert_close(dynamics(x, u)[:, -2:], x[:, -2:] + u)


def test_the_noise_level_multiplies_every_hidden_layer():
    torch.manual_seed(0)
    net = ScoreMLP(6, 2, 8, 3)
    with torch.no_grad():
        for token in net.tokens:
            token.weight[1] = 0.0  # silences level 1
    z = torch.randn(5, 6)
    torch.testing.assert_close(net(z, torch.ones(5, dtype=torch.long)), net.head.bias.expand(5, 6))
    assert net(z, torch.zeros(5, dtype=torch.long)).std() > 1e-3


def test_cosine_ladder():
    sigmas = cosine_sigmas(0.2, 0.01, 10)
    assert sigmas[0] == pytest.approx(0.2)
    assert sigmas[-1] == pytest.approx(0.01)
    assert all(np.diff(sigmas) < 0)
    assert sigmas[0] - sigmas[1] < sigmas[4] - sigmas[5] > sigmas[8] - sigmas[9]  # slow, fast, slow
    assert cosine_sigmas(0.2, 0.01, 1) == (0.2,)
