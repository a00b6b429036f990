"""Training of the dynamics and the score from transitions, with early stopping on held-out demonstrations."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.config import TrainConfig
from sgp_core.data import Transitions
from sgp_core.networks import DynamicsInMetres, DynamicsMLP, ScoreInMetres, ScoreMLP, cosine_sigmas
from sgp_core.normalizer import Normalizer

Progress = Callable[[str, int, int, float], None]
HELD_OUT_DRAWS = 16  # noise draws per held-out tuple and level, fixed, so that checks compare


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Two trained networks in metres, ready for export, and how training went."""

    dynamics: DynamicsInMetres
    score: ScoreInMetres
    normalizer: Normalizer
    sigmas: tuple[float, ...]
    history: dict[str, dict[str, float]]  # per network: held_out_loss, best_step, steps


def train(train_data: Transitions, held_out: Transitions, config: TrainConfig, progress: Progress) -> Trained:
    """Fit both networks.

    Args:
        train_data: transitions to learn from.
        held_out: transitions of other demonstrations; they decide when to stop.
        config: sizes, steps, noise levels, seed.
        progress: called with (network, step, steps, held-out loss) at each check.

    Returns:
        The networks of the best held-out check.
    """
    normalizer = Normalizer.fit(train_data)
    sigmas = cosine_sigmas(config.sigma_high, config.sigma_low, config.sigma_count)
    generator = torch.Generator().manual_seed(config.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # weight initialisation draws from the global generator
        markers = train_data.layout.count
        dynamics = DynamicsInMetres(DynamicsMLP(markers, config.hidden, config.layers), normalizer)
        score = ScoreMLP(2 * markers + 4, len(sigmas), config.hidden, config.layers)

    z, z_out = tuples_of(train_data, normalizer), tuples_of(held_out, normalizer)
    x, u, x_next = (_tensor(getattr(train_data, name)) for name in ("x", "u", "x_next"))
    x_out, u_out, x_next_out = (_tensor(getattr(held_out, name)) for name in ("x", "u", "x_next"))

    def dynamics_loss(rows: Tensor) -> Tensor:
        error = dynamics(x[rows], u[rows]) - x_next[rows]
        return ((error[:, :-2] / normalizer.x_scale) ** 2).mean()

    def score_loss(rows: Tensor) -> Tensor:
        level = torch.randint(len(sigmas), rows.shape, generator=generator)
        return denoising_loss(score, z[rows], level, torch.tensor(sigmas), generator)

    def dynamics_check() -> float:
        error = dynamics(x_out, u_out) - x_next_out
        return float(((error[:, :-2] / normalizer.x_scale) ** 2).mean())

    def score_check() -> float:
        fixed = torch.Generator().manual_seed(config.seed + 1)
        level = torch.arange(len(sigmas)).repeat_interleave(len(z_out)).repeat(HELD_OUT_DRAWS)
        rows = z_out.repeat(len(sigmas) * HELD_OUT_DRAWS, 1)
        return float(denoising_loss(score, rows, level, torch.tensor(sigmas), fixed))

    history = {
        name: _fit(name, network, loss, check, len(z), config, decay, generator, progress)
        for name, network, loss, check, decay in (
            ("dynamics", dynamics, dynamics_loss, dynamics_check, config.weight_decay),
            ("score", score, score_loss, score_check, 0.0),
        )
    }
    return Trained(
        dynamics=dynamics.eval(),
        score=ScoreInMetres(score, normalizer, sigmas).eval(),
        normalizer=normalizer,
        sigmas=sigmas,
        history=history,
    )


def tuples_of(data: Transitions, normalizer: Normalizer) -> Tensor:
    """The pairs z_bar = (x, u) of all transitions (M, 2N+4), normalised, float32."""
    return normalizer.normalize(torch.from_numpy(data.x), torch.from_numpy(data.u)).float()


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).float()


def denoising_loss(score: nn.Module, z: Tensor, level: Tensor, sigmas: Tensor, generator: torch.Generator) -> Tensor:
    """Eq. 10, E sigma^2 ||s(z', sigma) + (z' - z) / sigma^2||^2 with z' = z + sigma * noise; the net gives sigma * s.

    Args:
        score: network giving sigma * s (B, n).
        z: clean points (B, n).
        level: index into `sigmas` (B,).
        sigmas: noise levels (K,).
        generator: source of the noise.

    Returns:
        Mean over batch and coordinates; the best constant guess, zero, scores 1.
    """
    noise = torch.randn(z.shape, generator=generator)
    return ((score(z + sigmas[level].unsqueeze(-1) * noise, level) + noise) ** 2).mean()


def _fit(
    name: str,
    network: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    check: Callable[[], float],
    rows: int,
    config: TrainConfig,
    weight_decay: float,
    generator: torch.Generator,
    progress: Progress,
) -> dict[str, float]:
    """AdamW under a cosine learning rate; leaves the weights of the best check in the network."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    best_loss, best_step, best_weights = float("inf"), 0, copy.deepcopy(network.state_dict())
    step = 0
    while step < config.steps and step - best_step <= config.patience * config.check_every:
        for batch in torch.randperm(rows, generator=generator).split(config.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss_of(batch).backward()
            optimizer.step()
            schedule.step()
            step += 1
            if step % config.check_every == 0 or step == config.steps:
                with torch.no_grad():
                    loss = check()
                if loss < best_loss:
                    best_loss, best_step, best_weights = loss, step, copy.deepcopy(network.state_dict())
                progress(name, step, config.steps, loss)
            if step == config.steps:
                break
    network.load_state_dict(best_weights)
    return {"held_out_loss": best_loss, "best_step": best_step, "steps": step}
