"""The cross-entropy method: draw, keep the best, draw around those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sgp_core.baselines.shooting import Judge, Objective, Shooting
from sgp_core.bundle import ModelBundle
from sgp_core.config import Config, PlannerConfig, setting
from sgp_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CemConfig(Config):
    """How the cross-entropy method searches."""

    rounds: int = setting(8, "rounds of draws per plan, if time allows", low=1, high=10_000)
    samples: int = setting(256, "candidates of each round", low=2, high=100_000)
    elites: int = setting(8, "best candidates, whose mean and spread the next round has", low=2, high=100_000)
    spread: float = setting(0.7, "standard deviation of the first round, in step limits", low=1e-3, high=10.0)

    def check(self) -> None:
        """See `Config.check`."""
        if self.elites > self.samples:
            raise InputError(f"elites = {self.elites} must not exceed samples = {self.samples}")


class CemPlanner(Shooting):
    """Minimises any objective by the cross-entropy method, from the warm start.

    Args:
        bundle: models and layout.
        config: limits, objective, horizon and budget.
        own: how to search.
        objective: what is minimised.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, own: CemConfig, objective: Objective) -> None:
        super().__init__(bundle, config, objective, own.rounds)
        self._own = own

    def search(self, judge: Judge, generator: torch.Generator, more: Callable[[], bool]) -> Tensor:
        """See `Shooting.search`."""
        own, mean = self._own, judge.best_u
        spread = torch.full_like(mean, own.spread * self.config.step_limit_m)
        while more():
            noise = torch.randn((own.samples, *mean.shape), generator=generator)
            u = judge.bounded(mean + spread * noise)
            elites = u[judge(u).topk(own.elites, largest=False).indices]
            mean, spread = elites.mean(dim=0), elites.std(dim=0)
        judge(mean[None])
        return judge.best_u
