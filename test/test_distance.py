"""Smoothed distance and score against known answers (Eq. 4, Props. 1 and 3)."""

import numpy as np
import pytest
import torch
from analytic import gaussian_log_density
from scipy.special import logsumexp

from sgp_core.distance import exact_score, nearest_distance, squared_distance


@pytest.fixture
def points() -> torch.Tensor:
    return torch.randn(30, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 0.3


@pytest.mark.parametrize("sigma", [0.01, 0.1, 0.5])
def test_score_of_one_gaussian(sigma):
    mean, z = torch.tensor([[0.3, -0.2]]), torch.tensor([[0.1, 0.4], [0.3, -0.2]])
    torch.testing.assert_close(exact_score(z, mean, sigma), (mean - z) / sigma**2)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.7])
def test_prop_3_distance_is_log_likelihood_of_perturbed_data(points, sigma):
    z = points[:5] + 0.1
    count, n = points.shape
    log_p = np.array(
        [logsumexp([gaussian_log_density(zi, p, sigma) for p in points.numpy()]) - np.log(count) for zi in z.numpy()]
    )
    constant = sigma**2 * (np.log(count) + n / 2 * np.log(2 * np.pi * sigma**2))
    np.testing.assert_allclose(-(sigma**2) * log_p, squared_distance(z, points, sigma).numpy() + constant, rtol=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.2, 0.7])
def test_gradient_of_squared_distance_is_minus_sigma2_score(points, sigma):
    z = (points[:5] + 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(squared_distance(z, points, sigma).sum(), z)
    torch.testing.assert_close(gradient, -(sigma**2) * exact_score(z.detach(), points, sigma))


def test_small_sigma_gives_half_the_squared_nearest_distance(points):
    z = points[:5] + 0.1
    expected = nearest_distance(z, points) ** 2 / 2
    torch.testing.assert_close(squared_distance(z, points, 1e-3), expected, atol=1e-5, rtol=1e-3)


def test_prop_1_annealed_descent_lands_on_data(points):
    z = torch.randn(20, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for sigma in np.geomspace(1.0, 0.005, 60):
        for _ in range(10):
            z = z + 0.5 * sigma**2 * exact_score(z, points, sigma)
    assert nearest_distance(z, points).max() < 1e-3
