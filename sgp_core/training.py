"""Training of the dynamics and the score from transitions, with early stopping on held-out demonstrations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.checkpoint import Checkpoint
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.fitting import Check, Fit
from sgp_core.layout import MarkerLayout
from sgp_core.networks import DynamicsInMetres, DynamicsMLP, ScoreInMetres, ScoreMLP, cosine_sigmas
from sgp_core.normalizer import Normalizer
from sgp_core.rigid_networks import RigidInMetres, TwistMLP
from sgp_core.train_config import TrainConfig

# Of a large data set a batch is a 200th part, so that an epoch has about as many steps whatever the size.
BATCH_LEAST, BATCH_MOST, BATCHES = 256, 1024, 200
# A held-out check takes so many tuples at most, and of the noise so many draws per tuple and level, fixed, so that
# checks compare.
HELD_OUT_ROWS, HELD_OUT_DRAWS = 2048, 16


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Two trained networks in metres, ready for export, and how training went."""

    dynamics: DynamicsInMetres | RigidInMetres
    score: ScoreInMetres
    normalizer: Normalizer
    sigmas: tuple[float, ...]
    history: dict[str, dict[str, float]]  # per network: held_out_loss, best_step, steps
    checks: list[Check]  # of both networks, in the order in which they were made


def train(
    train_data: Transitions,
    held_out: Transitions,
    config: TrainConfig,
    told: Callable[[Check], None],
    *,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Fit both networks; on a CPU the same seed gives the same weights, interrupted or not.

    Args:
        train_data: transitions to learn from.
        held_out: transitions of other demonstrations; they decide when to stop.
        config: sizes, steps, noise levels, seed.
        told: called at each held-out check.
        device: where, as torch calls it; the result is on the CPU.
        checkpoint: where an interrupted training is taken up from, and is kept meanwhile.

    Returns:
        The networks of the best held-out check.

    Raises:
        InputError: the loss is not finite: training diverged.
    """
    normalizer = Normalizer.fit(train_data)
    sigmas = cosine_sigmas(config.sigma_high, config.sigma_low, config.sigma_count)
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # weight initialisation draws from the global generator
        dynamics = _dynamics(train_data.layout, normalizer, config)
        score = ScoreMLP(train_data.layout.state_size + 2, len(sigmas), config.hidden, config.layers)
    batches, seen = _Batches(train_data, normalizer, device), _Batches(held_out, normalizer, device)
    rows = sample(len(held_out), HELD_OUT_ROWS, config.seed)
    levels = torch.tensor(sigmas, device=device)

    def dynamics_loss(chosen: Tensor, source: _Batches = batches) -> Tensor:
        x, u, x_next = source.metres(chosen)
        return (((dynamics(x, u) - x_next)[:, :-2] / normalizer.x_scale) ** 2).mean()

    def score_loss(chosen: Tensor) -> Tensor:
        level = torch.randint(len(sigmas), chosen.shape, generator=generator)
        return denoising_loss(score, batches.normalized(chosen), level.to(device), levels, generator)

    def score_check() -> float:
        fixed = torch.Generator().manual_seed(config.seed + 1)
        draws = max(1, min(HELD_OUT_DRAWS, HELD_OUT_ROWS // len(rows)))
        level = torch.arange(len(sigmas), device=device).repeat_interleave(len(rows)).repeat(draws)
        repeated = seen.normalized(rows).repeat(len(sigmas) * draws, 1)
        return float(denoising_loss(score, repeated, level, levels, fixed))

    size = config.batch_size or min(BATCH_MOST, max(BATCH_LEAST, len(train_data) // BATCHES))
    fit = functools.partial(Fit, rows=len(train_data), batch_size=size, config=config, generator=generator)
    fits = [
        fit("dynamics", dynamics.to(device), weight_decay=config.weight_decay),
        fit("score", score.to(device), weight_decay=0.0),
    ]
    _run(fits[0], dynamics_loss, lambda: float(dynamics_loss(rows, seen)), told, checkpoint)
    _run(fits[1], score_loss, score_check, told, checkpoint)
    return Trained(
        dynamics=dynamics.cpu().eval(),
        score=ScoreInMetres(score.cpu(), normalizer, sigmas).eval(),
        normalizer=normalizer,
        sigmas=sigmas,
        history={fit.name: fit.result() for fit in fits},
        checks=[check for fit in fits for check in fit.checks],
    )


def _dynamics(layout: MarkerLayout, normalizer: Normalizer, config: TrainConfig) -> DynamicsInMetres | RigidInMetres:
    if config.rigid:
        return RigidInMetres(TwistMLP(config.hidden, config.layers), layout, normalizer)
    return DynamicsInMetres(DynamicsMLP(layout.count, config.hidden, config.layers), normalizer)


def _run(
    fit: Fit,
    loss_of: Callable[[Tensor], Tensor],
    held_out_loss: Callable[[], float],
    told: Callable[[Check], None],
    checkpoint: Checkpoint | None,
) -> None:
    if checkpoint and (state := checkpoint.states.get(fit.name)):
        fit.take_up(state)

    def after(check: Check) -> None:
        if not np.isfinite((check.train_loss, check.held_out_loss)).all():
            raise InputError(
                f"training of the {fit.name} diverged before step {check.step}: its loss is not finite; lower"
                " learning_rate"
            )
        told(check)
        if checkpoint:
            checkpoint.keep(fit.name, fit.state)

    fit.run(loss_of, held_out_loss, after)


@dataclass(frozen=True)
class _Batches:
    """Tuples by their indices, in single precision: a large data set is not copied as a whole."""

    data: Transitions
    normalizer: Normalizer
    device: str

    def metres(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x, u and x_next."""
        chosen = rows.numpy()
        return tuple(  # type: ignore[return-value]
            torch.from_numpy(values[chosen]).float().to(self.device)
            for values in (self.data.x, self.data.u, self.data.x_next)
        )

    def normalized(self, rows: Tensor) -> Tensor:
        """z_bar = (x, u), (B, 2N+4)."""
        chosen = rows.numpy()
        x, u = (torch.from_numpy(values[chosen]) for values in (self.data.x, self.data.u))
        return self.normalizer.normalize(x, u).float().to(self.device)


def sample(count: int, at_most: int, seed: int) -> Tensor:
    """All indices, or as many as allowed, drawn once."""
    if count <= at_most:
        return torch.arange(count)
    return torch.from_numpy(np.sort(np.random.default_rng(seed).choice(count, at_most, replace=False)))


def tuples_of(data: Transitions, normalizer: Normalizer) -> Tensor:
    """The pairs z_bar = (x, u) of all transitions (M, 2N+4), normalised, float32."""
    return normalizer.normalize(torch.from_numpy(data.x), torch.from_numpy(data.u)).float()


def denoising_loss(score: nn.Module, z: Tensor, level: Tensor, sigmas: Tensor, generator: torch.Generator) -> Tensor:
    """Eq. 10, E sigma^2 ||s(z', sigma) + (z' - z) / sigma^2||^2 with z' = z + sigma * noise; the net gives sigma * s.

    Args:
        score: network giving sigma * s (B, n).
        z: clean points (B, n).
        level: index into `sigmas` (B,).
        sigmas: noise levels (K,).
        generator: source of the noise, on the CPU wherever the rest is.

    Returns:
        Mean over batch and coordinates; the best constant guess, zero, scores 1.
    """
    noise = torch.randn(z.shape, generator=generator).to(z.device)
    return ((score(z + sigmas[level].unsqueeze(-1) * noise, level) + noise) ** 2).mean()
