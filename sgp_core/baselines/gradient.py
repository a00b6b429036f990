"""Adam on any objective that can be differentiated, from the warm start and random restarts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgp_core.baselines.shooting import Judge, Objective, Shooting
from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig


class GradientPlanner(Shooting):
    """As the score-guided planner searches, with autograd and without noise levels.

    Args:
        bundle: models and layout.
        config: limits, objective, horizon, budget, and how Adam goes on.
        objective: what is minimised; has to be differentiable.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, objective: Objective) -> None:
        super().__init__(bundle, config, objective, config.iterations)

    def search(self, judge: Judge, generator: torch.Generator, more: Callable[[], bool]) -> Tensor:
        """See `Shooting.search`."""
        config, warm_start = self.config, judge.best_u[None]
        shape = (config.restarts - 1, *warm_start.shape[1:])
        restarts = (2.0 * torch.rand(shape, generator=generator) - 1.0) * config.step_limit_m
        # As a fraction of the step limit, so that a learning rate means the same as to the score-guided planner.
        share = (judge.bounded(torch.cat([warm_start, restarts])) / config.step_limit_m).requires_grad_()
        adam = torch.optim.Adam([share], lr=config.learning_rate)
        while more():
            adam.zero_grad()
            with torch.enable_grad():
                j = judge(share * config.step_limit_m)
                j[torch.isfinite(j)].sum().backward()
            adam.step()
            share.copy_(judge.bounded(share * config.step_limit_m) / config.step_limit_m)
        judge(share.detach() * config.step_limit_m)
        return judge.best_u
