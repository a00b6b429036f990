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
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.bundle import ModelBundle
from sgp_core.config import ALL_SIGMAS, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.graph import DescentGraph, check_device
from sgp_core.iteration import Descent, begin, iteration_of
from sgp_core.prediction import Outlook
from sgp_core.safety import region_of
from sgp_core.types import Goal, Plan, PlanStatus, State

# Iterations per call of TorchScript.
BURST, BUDGET_BURST = 10, 2
Turns = Callable[
    [int, float, int], list[int]
]  # iterations done, the time [s], how many at most: levels of the next ones


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
        check_device(config, self._region)
        # Nothing but a box can be kept to inside of TorchScript, and nobody looks at the clock in there.
        self._burst = (BUDGET_BURST if config.budget_ms else BURST) if self._region.is_box else 1

    @functools.cached_property
    def _iteration(self) -> Any:
        """Compiled by the thread that plans, and not where settings are only tried."""
        return iteration_of(self._bundle, self.config)

    @functools.cached_property
    def _graph(self) -> DescentGraph | None:
        """Recorded by the thread that plans."""
        if self.config.device == "cpu":
            return None
        return DescentGraph(self._bundle, self.config, self.levels, torch.device(self.config.device))

    @torch.no_grad()
    def plan(
        self,
        state: State,
        goal: Goal,
        warm_start: Float[ndarray, "T 2"],
        generator: torch.Generator,
        *,
        spent_s: float = 0.0,
        schedule: Sequence[int] | None = None,
    ) -> Plan:
        """Improve a warm start; never returns a plan of higher J.

        Args:
            state: where things are [m; table].
            goal: where the markers should end [m; table].
            warm_start: steps to begin from [m]; brought within the bounds first.
            generator: draws the initial guesses of the restarts.
            spent_s: how much of the budget is gone already [s].
            schedule: iterations at each noise level, as an earlier plan had them, instead of what settings and time
                give; not for a device whose iterations are recorded.

        Raises:
            InputError: `schedule` is for another number of noise levels.
        """
        config = self.config
        started_s = self._clock()
        if not (np.isfinite(state.x).all() and np.isfinite(goal.markers_m).all()):
            return _failed(state, config.horizon)
        x0 = torch.from_numpy(state.x).float()
        target = torch.from_numpy(goal.markers_m).float().reshape(-1)
        if schedule is not None and len(schedule) != len(self.levels):
            raise InputError(
                f"an earlier plan went through {len(schedule)} noise levels, these settings name {len(self.levels)};"
                " set sigmas as they were"
            )
        starts = self.starts(state, warm_start, generator)
        turns = Budget(config, len(self.levels), started_s, spent_s).turn if schedule is None else _again(schedule)
        if self._graph:
            descent, schedule = self._graph(x0, target, torch.from_numpy(starts)), self._graph.schedule
        else:
            descent, schedule = self._descended(x0, target, begin(torch.from_numpy(starts)), turns)
        candidates = np.concatenate([starts[:1], descent.best_u.numpy(), descent.u.numpy()])
        plan = self._best(state, x0, target, self._bounded(state.x, candidates))
        return dataclasses.replace(plan, schedule=tuple(schedule), solve_s=self._clock() - started_s)

    def _descended(self, x0: Tensor, target: Tensor, descent: Descent, turns: Turns) -> tuple[Descent, list[int]]:
        """After as many iterations as there are, or as time allows; and how many there were at each noise level."""
        schedule = [0] * len(self.levels)
        while turn := turns(descent.done, self._clock(), self._burst):
            for level in turn:
                schedule[level] += 1
            descent = Descent(*self._iteration.descend(x0, target, descent, [self.levels[level] for level in turn]))
            if not self._region.is_box:
                bounded = torch.from_numpy(self._bounded(x0.numpy(), descent.u.numpy()))
                descent = descent._replace(u=bounded)
        return descent, schedule

    @torch.no_grad()
    def predict(self, state: State, outlook: Outlook) -> State:
        """The state at the start of a plan, after the pusher was led a little further (pushing is quasistatic)."""
        if not outlook.motion_m.any():
            return State(stamp_s=outlook.start_s, x=state.x)
        x, u = (torch.from_numpy(v).float()[None] for v in (state.x, outlook.motion_m))
        return State(stamp_s=outlook.start_s, x=self._iteration.dynamics.step(x, u)[0][0].double().numpy())

    @torch.no_grad()
    def gradient_ratio(self, state: State, goal: Goal, u: Float[ndarray, "T 2"], level: int) -> float:
        """||gradient of the penalty|| / ||gradient of the task cost|| by the actions, at one noise level."""
        x0, target = torch.from_numpy(state.x).float(), torch.from_numpy(goal.markers_m).float().reshape(-1)
        iteration = self._iteration
        rollout = iteration.rollout(x0, torch.from_numpy(u).float()[None], target)
        penalty = iteration.pull_back(rollout, *iteration.penalty_gradient(rollout, level))
        task = iteration.pull_back(rollout, *iteration.task_gradient(rollout))
        return float(penalty.norm() / task.norm())

    def starts(
        self, state: State, warm_start: Float[ndarray, "T 2"], generator: torch.Generator
    ) -> Float[ndarray, "B T 2"]:
        """The warm start and, for each further restart, steps drawn evenly from within the limit; within the bounds."""
        guesses = np.concatenate([warm_start[None], self.draw(generator).numpy() * self.config.step_limit_m])
        return self._bounded(state.x, guesses)

    def draw(self, generator: torch.Generator) -> Tensor:
        """What is random in a plan: the restarts (B-1, T, 2), evenly from -1 to 1."""
        return torch.rand(self.config.restarts - 1, self.config.horizon, 2, generator=generator) * 2.0 - 1.0

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
        rollout = self._iteration.rollout(x0, torch.from_numpy(candidates), target)
        j = self._iteration.objective(rollout).numpy()
        k = int(j.argmin())
        if not np.isfinite(j[k]):
            return _failed(state, len(candidates[k]))
        u, distance2 = candidates[k].astype(float), float(rollout.distance2[k].sum())
        return Plan(
            stamp_s=state.stamp_s,
            x=rollout.x[k].double().numpy(),
            u=u,
            objective=float(j[k]),
            task_cost=float(rollout.task_cost[k]),
            distance2=distance2,
            data_distance=max(0.0, distance2 / len(u)) ** 0.5,
            warm_start_objective=float(j[0]),
            status=PlanStatus.IMPROVED if j[k] < j[0] else PlanStatus.KEPT_WARM_START,
            schedule=(),
            solve_s=0.0,
        )


def _failed(state: State, horizon: int) -> Plan:
    """Rest, and no objective to show for it."""
    return Plan(
        stamp_s=state.stamp_s,
        x=np.tile(state.x, (horizon + 1, 1)),
        u=np.zeros((horizon, 2)),
        objective=np.inf,
        task_cost=np.inf,
        distance2=np.inf,
        data_distance=np.inf,
        warm_start_objective=np.inf,
        status=PlanStatus.FAILED,
        schedule=(),
        solve_s=0.0,
    )


class Budget:
    """How far a plan has got, by iterations or by time, whichever is ahead: annealing keeps pace with both."""

    def __init__(self, config: PlannerConfig, levels: int, started_s: float, spent_s: float) -> None:
        self._iterations, self._limited = config.iterations, config.budget_ms > 0.0
        self._levels, self._level = levels, 0
        self._budget_s = config.budget_ms * 1e-3 - spent_s
        self._started_s = started_s

    def turn(self, done: int, now_s: float, count: int) -> list[int]:
        """Noise levels of the next iterations, at most `count`, 0 is the highest; none when the plan has to end."""
        by_time, each = 0.0, 0.0
        if self._limited and done == 0:
            count = 1  # nobody knows yet how long one takes
        elif self._limited:
            passed_s = now_s - self._started_s
            # What it takes to conclude has to stay in the budget, and is about as long as two iterations.
            left_s = self._budget_s - 2.0 * passed_s / done
            by_time, each = (passed_s / left_s, passed_s / done / left_s) if left_s > 0.0 else (1.0, 0.0)
        shares = [max((done + k) / self._iterations, by_time + k * each) for k in range(count)]
        levels = [int(share * self._levels + 1e-9) for share in shares if share < 1.0 - 1e-6]  # not a sum's last digit
        # An iteration faster than those before does not lead back to a higher level.
        levels = [max(level, self._level) for level in levels]
        self._level = max([self._level, *levels])
        return levels


def _again(schedule: Sequence[int]) -> Turns:
    """The same iterations as an earlier plan."""
    levels = [level for level, count in enumerate(schedule) for _ in range(count)]
    return lambda done, _now_s, count: levels[done : done + count]


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
