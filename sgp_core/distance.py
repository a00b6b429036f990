"""Smoothed distance to data (Eq. 4) and the exact score of the perturbed data distribution (Prop. 3).

TorchScript compiles `SmoothedDistance` as it stands, hence plain annotations.
"""

import torch
from torch import Tensor, nn


def squared_distance(z: Tensor, data: Tensor, sigma: float) -> Tensor:
    """d_sigma^2(z; D) = -sigma^2 log sum_i exp(-||z - z_i||^2 / (2 sigma^2)), Eq. 4 with C = 0.

    Args:
        z: points (..., n), normalised.
        data: reference points (M, n), normalised.
        sigma: smoothing, in the same space.

    Returns:
        (...,). For small sigma half the squared distance to the nearest point; negative where many points lie close.
    """
    return -(sigma**2) * torch.logsumexp(-_squared(z, data) / (2.0 * sigma**2), dim=-1)


class SmoothedDistance(nn.Module):
    """`squared_distance` to the same data at the same sigma, over and over: what depends on neither z is computed once.

    Args:
        data: reference points (M, n), normalised.
        sigma: smoothing, in the same space.
    """

    _data: Tensor
    _bias: Tensor

    def __init__(self, data: Tensor, sigma: float) -> None:
        super().__init__()
        self._sigma2 = sigma**2
        self.register_buffer("_data", (data / self._sigma2).T.contiguous())
        self.register_buffer("_bias", -(data * data).sum(-1) / (2.0 * self._sigma2))

    def forward(self, z: Tensor) -> Tensor:
        """Points (..., n) to (...,)."""
        logits = torch.addmm(self._bias, z.flatten(0, -2), self._data)
        largest = logits.amax(-1, keepdim=True)
        # What is left out weighs less than rounding, and numbers that small make exp five times slower.
        weights = logits.sub_(largest).clamp_min_(-80.0).exp_().sum(-1)
        return 0.5 * (z * z).sum(-1) - self._sigma2 * (largest[:, 0] + weights.log()).view(z.shape[:-1])


def exact_score(z: Tensor, data: Tensor, sigma: float) -> Tensor:
    """Gradient of log p_sigma at z (..., n), p_sigma = (1/M) sum_i N(z_i, sigma^2 I); leads to a weighted mean."""
    weights = torch.softmax(-_squared(z, data) / (2.0 * sigma**2), dim=-1)
    return (weights @ data - z) / sigma**2


def nearest_distance(z: Tensor, data: Tensor) -> Tensor:
    """Euclidean distance (...,) to the nearest reference point."""
    return _squared(z, data).min(dim=-1).values.sqrt()


def _squared(z: Tensor, data: Tensor) -> Tensor:
    """||z - z_i||^2, (..., M). One matrix product; clamped because rounding may take it below zero."""
    products = z @ data.T
    return ((z * z).sum(-1, keepdim=True) - 2.0 * products + (data * data).sum(-1)).clamp_min(0.0)
