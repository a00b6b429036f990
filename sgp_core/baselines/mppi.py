"""Model-predictive path integral control, by the library pytorch-mppi."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sgp_core.baselines.shooting import Judge, Objective, Shooting
from sgp_core.bundle import ModelBundle
from sgp_core.config import Config, PlannerConfig, setting
from sgp_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class MppiConfig(Config):
    """How MPPI searches."""

    rounds: int = setting(6, "updates of the mean per plan, if time allows", low=1, high=10_000)
    samples: int = setting(256, "candidates of each update", low=2, high=100_000)
    spread: float = setting(0.5, "standard deviation of the candidates, in step limits", low=1e-3, high=10.0)
    temperature: float = setting(
        0.01, "lambda, as a share of the objective of the plan that an update starts from", low=1e-6, high=1e3
    )


class MppiPlanner(Shooting):
    """Minimises any objective by MPPI, from the warm start.

    lambda is a share of what the mean costs now: the objective of a box half a table away is a thousand times that of
    one near the goal, and one lambda would be cold for the first and hot for the second.

    Args:
        bundle: models and layout.
        config: limits, objective, horizon and budget.
        own: how to search.
        objective: what is minimised.

    Raises:
        InputError: pytorch-mppi is not installed.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, own: MppiConfig, objective: Objective) -> None:
        super().__init__(bundle, config, objective, own.rounds)
        if importlib.util.find_spec("pytorch_mppi") is None:
            raise InputError("planner mppi needs pytorch-mppi; install it with `pip install 'sgp_ros[baselines]'`")
        self._own = own

    def search(self, judge: Judge, generator: torch.Generator, more: Callable[[], bool]) -> Tensor:
        """See `Shooting.search`."""
        from pytorch_mppi import MPPI  # here: its imports take a second, which no other planner should wait for

        limit = self.config.step_limit_m
        # The library's rollout only hands the candidates through; the objective predicts all steps at once.
        mppi = MPPI(
            dynamics=lambda state, _u: state,
            running_cost=lambda state, _u: torch.zeros(len(state)),
            terminal_state_cost=lambda _states, u: judge(u[0] * limit),
            nx=1,
            noise_sigma=torch.eye(2) * self._own.spread**2,
            num_samples=self._own.samples,
            horizon=self.config.horizon,
            u_min=-torch.ones(2),
            u_max=torch.ones(2),
            U_init=judge.best_u / limit,
        )
        start = torch.zeros(1)
        with torch.random.fork_rng(devices=[]):  # the library draws from the global generator
            torch.manual_seed(int(torch.randint(2**31 - 1, (1,), generator=generator)))
            while more():
                mean_j = float(judge(mppi.U[None] * limit)[0])
                mppi.lambda_ = self._own.temperature * max(min(mean_j, 1e6), 1e-9)
                mppi.command(start, shift_nominal_trajectory=False)
        judge(mppi.U[None] * limit)
        return judge.best_u
