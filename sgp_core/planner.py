"""Score-guided planning: Algorithm 1 of the paper, single shooting with Adam, warm-started and bounded.

Minimises J(u) = (e_T + w sum_t e_t + R sum_t ||u_t||^2) / s^2 + beta sum_t d^2(x_t, u_t) over u_0..u_T-1, where
x_t+1 = f(x_t, u_t), e_t = ||markers_t - goal||^2 and s is the normaliser's scale of positions: both parts are squared
lengths in normalised space. The paper has w = 0, and then a push planned for the last step is as good as one planned
for the first; replanned every step, it can stay planned forever. A small w breaks the tie.

x_0 is measured; the pairs (x_0, u_0)..(x_T-1, u_T-1) are scored, x_T is not: it has no action.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.bundle import ModelBundle
from sgp_core.config import ALL_SIGMAS, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.iteration import iteration_of
from sgp_core.safety import region_of
from sgp_core.types import Goal, Plan, PlanStatus, State

ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


class Planner:
    """Plans for one bundle under one set of settings; holds no state between plans.

    Raises:
        InputError: the settings do not fit the bundle (noise levels it does not have, steps longer than its data).
    """

    def __init__(
        self, bundle: ModelBundle, config: PlannerConfig, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.config, self._clock = config, clock
        self._bundle = bundle
        self.levels = _levels(bundle, config)
        if config.iterations < len(self.levels):
            raise InputError(
                f"iterations = {config.iterations} is fewer than the {len(self.levels)} noise levels;"
                " raise it, or set sigmas"
            )
        if config.step_limit_m > bundle.step_limit_m:
            raise InputError(
                f"step_limit_m = {config.step_limit_m} exceeds {bundle.step_limit_m}, the longest step of the"
                " bundle's data; lower it, or train on longer steps"
            )
        config.check_step_duration(bundle.step_duration_s)
        self._region = region_of(config)

    @functools.cached_property
    def _iteration(self) -> Any:
        """Compiled by the thread that plans, and not where settings are only tried."""
        return iteration_of(self._bundle, self.config)

    @torch.no_grad()
    def plan(self, state: State, goal: Goal, warm_start: Float[ndarray, "T 2"], generator: torch.Generator) -> Plan:
        """Improve a warm start; never returns a plan of higher J.

        Args:
            state: where things are [m; table].
            goal: where the markers should end [m; table].
            warm_start: steps to begin from [m]; brought within the bounds first.
            generator: draws the initial guesses of the restarts.
        """
        config, iteration = self.config, self._iteration
        started_s = self._clock()
        x0 = torch.from_numpy(state.x).float()
        target = torch.from_numpy(goal.markers_m).float().reshape(-1)
        u = self.starts(state, warm_start, generator)
        warm, adam, budget = u[:1], Adam(u.shape, config.learning_rate), Budget(config, started_s)
        best_j, best_u = np.full(len(u), np.inf), u
        for i in itertools.count():
            share = budget.share(i, self._clock())
            if share >= 1.0:
                break
            level = self.levels[int(share * len(self.levels) + 1e-9)]
            j, gradient = (found.numpy() for found in iteration(x0, torch.from_numpy(u), target, level))
            better = j < best_j
            best_j, best_u = np.where(better, j, best_j), np.where(better[:, None, None], u, best_u)
            # Adam on the action as a fraction of the step limit, so that a learning rate means the same at any scale.
            u = self._bounded(state.x, u - config.step_limit_m * adam.move(gradient * config.step_limit_m))
        # Iterations may be rough (sgp_core.packing); what is kept is compared in full.
        plan = self._best(state, x0, target, np.concatenate([warm, best_u, u]))
        return dataclasses.replace(plan, iterations=i, solve_s=self._clock() - started_s)

    @torch.no_grad()
    def gradient_ratio(self, state: State, goal: Goal, u: Float[ndarray, "T 2"], level: int) -> float:
        """||gradient of the penalty|| / ||gradient of the task cost|| by the actions, at one noise level."""
        x0, target = torch.from_numpy(state.x).float(), torch.from_numpy(goal.markers_m).float().reshape(-1)
        iteration = self._iteration
        rollout = iteration.rollout(x0, torch.from_numpy(u).float()[None], target, False)
        penalty = iteration.pull_back(rollout, *iteration.penalty_gradient(rollout, level))
        task = iteration.pull_back(rollout, *iteration.task_gradient(rollout))
        return float(penalty.norm() / task.norm())

    def starts(
        self, state: State, warm_start: Float[ndarray, "T 2"], generator: torch.Generator
    ) -> Float[ndarray, "B T 2"]:
        """The warm start and, for each further restart, steps drawn evenly from within the limit; within the bounds."""
        draws = torch.rand(self.config.restarts - 1, *warm_start.shape, generator=generator) * 2.0 - 1.0
        guesses = np.concatenate([warm_start[None], draws.numpy() * self.config.step_limit_m])
        return self._bounded(state.x, guesses)

    def _bounded(self, x0: Float[ndarray, "nx"], u: Float[ndarray, "B T 2"]) -> Float[ndarray, "B T 2"]:
        """Nearest steps, one after the other, that respect the step limit and keep the pusher where it may be."""
        limit, pusher = self.config.step_limit_m, x0[-2:]
        wishes, steps = u.clip(-limit, limit), np.empty(u.shape, dtype=np.float32)
        for t in range(u.shape[1]):
            # From outside the workspace the way back may be longer than a step.
            steps[:, t] = (self._region.reached(pusher, pusher + wishes[:, t]) - pusher).clip(-limit, limit)
            pusher = pusher + steps[:, t]
        return steps

    def _best(self, state: State, x0: Tensor, target: Tensor, candidates: Float[ndarray, "B T 2"]) -> Plan:
        """The candidate of lowest J; the first one is the warm start."""
        rollout = self._iteration.rollout(x0, torch.from_numpy(candidates), target, True)
        j = self._iteration.objective(rollout).numpy()
        k = int(j.argmin())
        u, distance2 = candidates[k].astype(float), float(rollout.distance2[k].sum())
        if not np.isfinite(j[k]):
            u = np.zeros_like(u)
            status = PlanStatus.FAILED
        else:
            status = PlanStatus.IMPROVED if j[k] < j[0] else PlanStatus.KEPT_WARM_START
        return Plan(
            stamp_s=state.stamp_s,
            x=rollout.x[k].double().numpy(),
            u=u,
            objective=float(j[k]),
            task_cost=float(rollout.task_cost[k]),
            distance2=distance2,
            data_distance=max(0.0, distance2 / len(u)) ** 0.5,
            warm_start_objective=float(j[0]),
            status=status,
            iterations=0,
            solve_s=0.0,
        )


class Budget:
    """How far a plan has got, by iterations or by time, whichever is ahead: annealing keeps pace with both."""

    def __init__(self, config: PlannerConfig, started_s: float) -> None:
        self._iterations, self._budget_s = config.iterations, config.budget_ms * 1e-3
        self._started_s = self._seen_s = started_s
        self._longest_s = 0.0

    def share(self, done: int, now_s: float) -> float:
        """Share of the plan that is done; 1 when it has to end, with what it takes to conclude still in the budget."""
        if self._budget_s == 0.0 or done == 0:
            self._seen_s = now_s
            return done / self._iterations
        self._longest_s, self._seen_s = max(self._longest_s, now_s - self._seen_s), now_s
        # To conclude takes about as long as one iteration.
        left_s = self._budget_s - 2.0 * self._longest_s
        by_time = (now_s - self._started_s) / left_s if left_s > 0.0 else 1.0
        return max(done / self._iterations, by_time)


class Adam:
    """Adam's moves for one plan: its moments start at zero."""

    def __init__(self, shape: tuple[int, ...], learning_rate: float) -> None:
        self._rate, self._count = learning_rate, 0
        self._first, self._second = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)

    def move(self, gradient: Float[ndarray, "B T 2"]) -> Float[ndarray, "B T 2"]:
        """How far to go against this gradient."""
        self._count += 1
        self._first += (1.0 - ADAM_BETA1) * (gradient - self._first)
        self._second += (1.0 - ADAM_BETA2) * (gradient**2 - self._second)
        mean = self._first / (1.0 - ADAM_BETA1**self._count)
        spread = self._second / (1.0 - ADAM_BETA2**self._count)
        move: ndarray = self._rate * mean / (np.sqrt(spread) + ADAM_EPSILON)
        return move


def _levels(bundle: ModelBundle, config: PlannerConfig) -> list[int]:
    """Indices of the noise levels to anneal through; all of the ladder when none are named."""
    levels = []
    for sigma in bundle.sigmas if config.sigmas == ALL_SIGMAS else config.sigmas:
        nearest = int(np.argmin(np.abs(np.asarray(bundle.sigmas) - sigma)))
        if abs(bundle.sigmas[nearest] - sigma) > 0.01 * sigma:
            ladder = ", ".join(f"{s:.4g}" for s in bundle.sigmas)
            raise InputError(f"sigmas: {sigma:g} is not a level of the bundle; choose from {ladder}")
        levels.append(nearest)
    return levels
