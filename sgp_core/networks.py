"""Dynamics and score networks in normalised space, and the same wrapped for TorchScript in metres."""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.normalizer import Normalizer


def cosine_sigmas(high: float, low: float, count: int) -> tuple[float, ...]:
    """Noise levels from high to low on half a cosine (App. C: from 0.2 to 0.01 in ten levels)."""
    if count == 1:
        return (high,)
    phase = np.arange(count) / (count - 1) * np.pi
    return tuple(float(v) for v in low + (high - low) * (1.0 + np.cos(phase)) / 2.0)


class DynamicsMLP(nn.Module):
    """Marker displacements as a matrix that depends on the inputs, times the step: M(x, u) u.

    The pusher's own motion is known and not learned. So is rest: pushing is quasistatic, nothing moves by itself. A
    network that gives displacements outright moves the box a little while the pusher rests, and a planner finds that
    out: near the goal it waits for a turn that never comes.
    """

    def __init__(self, markers: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [2 * markers + 2] + [hidden] * layers
        blocks = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(*blocks, nn.Linear(hidden, 4 * markers))

    def forward(self, seen: Tensor, u: Tensor) -> Tensor:
        """Markers seen from the pusher (B, 2N) and step (B, 2), both scaled, to scaled displacements (B, 2N)."""
        matrix = self.net(torch.cat([seen, u], dim=-1)).unflatten(-1, (-1, 2))
        return (matrix * u[:, None]).sum(-1)


class ScoreMLP(nn.Module):
    """Noise-conditioned score: each sigma is a token whose embedding multiplies every hidden layer's output.

    The network learns the score times sigma, which is of order one at every level: Eq. 10's sigma^2 weight makes its
    loss the squared error of exactly that.
    """

    def __init__(self, size: int, levels: int, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [size] + [hidden] * layers
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        tokens = [nn.Embedding(levels, hidden) for _ in range(layers)]
        for token in tokens:
            nn.init.uniform_(token.weight)
        self.tokens = nn.ModuleList(tokens)
        self.head = nn.Linear(hidden, size)

    def forward(self, z: Tensor, level: Tensor) -> Tensor:
        """z_bar (B, 2N+4) and integer level (B,) to sigma * score (B, 2N+4)."""
        for linear, token in zip(self.linears, self.tokens):  # noqa: B905 - TorchScript knows no strict=
            z = torch.relu(linear(z)) * token(level)
        return self.head(z)


class DynamicsInMetres(nn.Module):
    """The dynamics with scaling inside.

    The network sees the markers from the pusher: a push does the same everywhere on a table, and a model that knows
    this needs fewer demonstrations (docs/results.md has the figures).

    Args:
        net: predicts scaled marker displacements.
        normalizer: of its training data; the scales are used, its centre is not.
    """

    def __init__(self, net: DynamicsMLP, normalizer: Normalizer) -> None:
        super().__init__()
        self.net = net
        self.x_scale = normalizer.x_scale
        self.u_scale = normalizer.u_scale

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """x (B, 2N+2) and u (B, 2) to x_next (B, 2N+2) [m; table]; the pusher moves by exactly u."""
        markers, pusher = x[:, :-2], x[:, -2:]
        # Half the range: distances to the pusher are about half as large as the region they lie in.
        seen = (markers - pusher.repeat(1, markers.shape[1] // 2)) / (0.5 * self.x_scale)
        return x + torch.cat([self.net(seen, u / self.u_scale) * self.x_scale, u], dim=-1)


class ScoreInMetres(nn.Module):
    """The score with the normaliser inside, its chain rule included: grad_z log p = grad_zbar log p / scale.

    Args:
        net: gives sigma times the score in normalised space.
        normalizer: of its training data.
        sigmas: noise level of each token.
    """

    centre: Tensor
    scale: Tensor
    sigmas: Tensor

    def __init__(self, net: ScoreMLP, normalizer: Normalizer, sigmas: tuple[float, ...]) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("centre", torch.tensor((*normalizer.x_centre, 0.0, 0.0), dtype=torch.float32))
        self.register_buffer("scale", normalizer.scales())
        self.register_buffer("sigmas", torch.tensor(sigmas, dtype=torch.float32))

    def forward(self, x: Tensor, u: Tensor, level: Tensor) -> Tensor:
        """x (B, 2N+2), u (B, 2) [m; table], level (B,) to the gradient of log p_sigma by (x, u), (B, 2N+4) [1/m]."""
        z = (torch.cat([x, u], dim=-1) - self.centre) / self.scale
        return self.net(z, level) / (self.sigmas[level].unsqueeze(-1) * self.scale)
