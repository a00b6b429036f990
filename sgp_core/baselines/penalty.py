"""An objective of the score-guided planner's form with another model and another penalty, for autograd."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgp_core.baselines.shooting import Outcome
from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig

# States (B, nx) and steps (B, 2) [m] to the states after them and a penalty (B,) [normalised].
Model = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class PenalisedObjective:
    """J = (e_T + w sum_t e_t + R sum_t ||u_t||^2) / s^2 + beta sum_t p(x_t, u_t), the penalty in place of d^2.

    Args:
        bundle: says what s is.
        config: weights, horizon, beta.
        model: predicts, and knows the penalty.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, model: Model) -> None:
        self._model, self._config = model, config
        self._scale2 = bundle.normalizer.x_scale**2

    def __call__(self, x0: Tensor, u: Tensor, target: Tensor) -> Outcome:
        """See `Objective`."""
        config, x = self._config, x0.expand(len(u), -1)
        states, penalty = [x], torch.zeros(len(u))
        task = config.action_weight * (u * u).sum([-2, -1])
        for t in range(u.shape[1]):
            x, more = self._model(x, u[:, t])
            states.append(x)
            penalty = penalty + more
            weight = 1.0 if t == u.shape[1] - 1 else config.running_weight
            error = (x[:, :-2] - target).unflatten(-1, (-1, 2))
            mean = error.mean(-2, keepdim=True)
            turned = config.turn_weight * ((error - mean) ** 2).sum((-2, -1))
            task = task + weight * (error.shape[-2] * (mean**2).sum((-2, -1)) + turned)
        task = task / self._scale2
        return Outcome(torch.stack(states, dim=1), task, penalty, task + config.beta * penalty)
