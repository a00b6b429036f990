"""A network that was taught the distance to data itself, instead of its gradient (Eq. 43).

Points around the data, as far away as the noise levels of the score reach, and the smoothed distance to data (Eq. 4) of
each: a regression. The paper's argument is that a small error of such a network does not make its gradient right (A.4).
"""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from torch import Tensor, nn

from sgp_core.baselines.penalty import PenalisedObjective
from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.distance import squared_distance
from sgp_core.fitting import Fit
from sgp_core.train_config import TrainConfig
from sgp_core.weights import load_weights

CHECKED = 4096  # points of a check, fixed, so that checks compare


class DistanceMLP(nn.Module):
    """z (B, n), normalised, to the distance (B,), whose half square stands for d^2."""

    def __init__(self, size: int, config: TrainConfig) -> None:
        super().__init__()
        widths = [size] + [config.hidden] * config.layers
        blocks = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(*blocks, nn.Linear(config.hidden, 1))

    def forward(self, z: Tensor) -> Tensor:
        """See the class."""
        return self.net(z)[..., 0]


def distance_of(bundle: ModelBundle) -> tuple[DistanceMLP, TrainConfig]:
    """An untrained network as large as the bundle's, and how those were trained."""
    config = TrainConfig().replaced(**bundle.index["training"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return DistanceMLP(bundle.layout.state_size + 2, config), config


def train_distance(bundle: ModelBundle, file: Path) -> None:
    """Teach it the distance to the bundle's reference tuples.

    Args:
        bundle: tuples, noise levels, and how to train.
        file: where the weights go.
    """
    network, config = distance_of(bundle)
    data, sigmas = bundle.reference, torch.tensor(bundle.sigmas)
    generator = torch.Generator().manual_seed(config.seed)

    def loss_of(rows: Tensor, source: torch.Generator) -> Tensor:
        sigma = sigmas[torch.randint(len(sigmas), rows.shape, generator=source)]
        z = data[rows] + sigma[:, None] * torch.randn((len(rows), data.shape[1]), generator=source)
        wanted = (2.0 * squared_distance(z, data, bundle.sigmas[-1])).clamp_min(0.0).sqrt()
        return ((network(z) - wanted) ** 2).mean()

    def check() -> float:
        fixed = torch.Generator().manual_seed(config.seed + 1)
        return float(loss_of(torch.randint(len(data), (CHECKED,), generator=fixed), fixed))

    fit = Fit(
        "distance",
        network,
        rows=len(data),
        batch_size=config.batch_size or 128,
        config=config,
        weight_decay=0.0,
        generator=generator,
    )
    fit.run(lambda rows: loss_of(rows, generator), check, lambda _: None)
    torch.save(network.state_dict(), file)


class DistanceObjective(PenalisedObjective):
    """Predicts as the bundle does; the penalty is the learned squared distance to data.

    Args:
        bundle: dynamics and normaliser.
        config: weights, horizon, beta.
        file: weights, of `train_distance`.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, file: Path) -> None:
        super().__init__(bundle, config, self._step)
        self._bundle = bundle
        self._network, _ = distance_of(bundle)
        self._network.load_state_dict(load_weights(file))
        self._network.requires_grad_(False)

    def _step(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        distance = self._network(self._bundle.normalizer.normalize(x, u))
        return self._bundle.dynamics(x, u), 0.5 * distance * distance
