"""Behaviour cloning: a network that does what the demonstrators did, on the way to where they ended up."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.baselines.shooting import Judge, LearnedObjective, Shooting
from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.fitting import Fit
from sgp_core.normalizer import Normalizer
from sgp_core.train_config import TrainConfig
from sgp_core.weights import load_weights

GOALS_PER_TUPLE = 4  # fixed ones for each held-out tuple, so that checks compare


class Policy(nn.Module):
    """(x, goal) to u, scaled as the dynamics are: markers and goal are seen from the pusher.

    Args:
        markers: how many.
        config: width and depth.
        normalizer: of the data.
    """

    def __init__(self, markers: int, config: TrainConfig, normalizer: Normalizer) -> None:
        super().__init__()
        widths = [4 * markers] + [config.hidden] * config.layers
        blocks = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(*blocks, nn.Linear(config.hidden, 2))
        self.x_scale, self.u_scale = normalizer.x_scale, normalizer.u_scale

    def forward(self, x: Tensor, target: Tensor) -> Tensor:
        """States (B, 2N+2) and goal markers (B, 2N) to steps (B, 2) [m; table]."""
        markers, pusher = x[:, :-2], x[:, -2:].repeat(1, target.shape[1] // 2)
        seen = torch.cat([markers - pusher, target - markers], dim=-1) / (0.5 * self.x_scale)
        return self.net(seen) * self.u_scale


def policy_of(bundle: ModelBundle) -> tuple[Policy, TrainConfig]:
    """An untrained policy as large as the bundle's networks, and how those were trained."""
    config = TrainConfig().replaced(**bundle.index["training"])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return Policy(bundle.layout.count, config, bundle.normalizer), config


def train_policy(bundle: ModelBundle, data: Transitions, file: Path) -> None:
    """Clone the demonstrations that the bundle was trained on, with its settings and the same held-out ones.

    The goal of a tuple is drawn from what came after it in its demonstration: wherever the box went, somebody may have
    wanted it there.

    Args:
        bundle: says how to train, and on what.
        data: all transitions.
        file: where the weights go.

    Raises:
        InputError: other data than the bundle's.
    """
    check_data(bundle, data)
    policy, config = policy_of(bundle)
    generator = torch.Generator().manual_seed(config.seed)
    learned, held_out = (_Hindsight(part) for part in data.split(config.held_out, config.seed))
    fit = Fit(
        "policy",
        policy,
        rows=len(learned.x),
        batch_size=config.batch_size or 32,
        config=config,
        weight_decay=config.weight_decay,
        generator=generator,
    )
    rows = torch.arange(len(held_out.x)).repeat(GOALS_PER_TUPLE)
    goals = held_out.goals(rows, torch.Generator().manual_seed(config.seed + 1))

    def loss(chosen: Tensor) -> Tensor:
        wanted = learned.goals(chosen, generator)
        return _loss(policy, learned.x[chosen], wanted, learned.u[chosen])

    fit.run(loss, lambda: float(_loss(policy, held_out.x[rows], goals, held_out.u[rows])), lambda _: None)
    torch.save(policy.state_dict(), file)


def check_data(bundle: ModelBundle, data: Transitions) -> None:
    """Raises InputError unless the bundle was trained on these transitions: a comparison has to be on the same."""
    wanted = bundle.index["data"]["sha256"]
    if data.sha256 != wanted:
        raise InputError(
            f"--data has sha256 {data.sha256[:12]}, the bundle was trained on {wanted[:12]}; give the .npz file that"
            " `sgp train` was given"
        )


class CloningPlanner(Shooting):
    """Takes the policy's step, whatever the objective says of it; the model only predicts where it leads.

    Args:
        bundle: models and layout.
        config: limits.
        file: weights of the policy, of `train_policy`.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, file: Path) -> None:
        config = config.replaced(horizon=1)
        super().__init__(bundle, config, LearnedObjective(bundle, config), rounds=1)
        self._policy, _ = policy_of(bundle)
        self._policy.load_state_dict(load_weights(file))

    def search(self, judge: Judge, _generator: torch.Generator, more: Callable[[], bool]) -> Tensor:
        """See `Shooting.search`."""
        more()
        return judge.bounded(self._policy(judge.x0[None], judge.target[None])[:, None])[0]


def _loss(policy: Policy, x: Tensor, target: Tensor, u: Tensor) -> Tensor:
    return (((policy(x, target) - u) / policy.u_scale) ** 2).mean()


class _Hindsight:
    """Tuples in single precision, and where the box was later in the same demonstration."""

    def __init__(self, data: Transitions) -> None:
        self.x, self.u = torch.from_numpy(data.x).float(), torch.from_numpy(data.u).float()
        self._later = torch.from_numpy(data.x_next[:, :-2]).float()
        last = {number: row for row, number in enumerate(data.demonstration)}
        self._last = torch.from_numpy(np.array([last[number] for number in data.demonstration]))

    def goals(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Markers (B, 2N) [m] at the end of a tuple drawn evenly from each one on, to the end of its demonstration."""
        ahead = torch.rand(rows.shape, generator=generator) * (self._last[rows] - rows + 1)
        return self._later[rows + ahead.long()]
