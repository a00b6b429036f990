"""What planners that shoot through a model have in common: the objective, the bounds, the clock, the plan."""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.iteration import iteration_of
from sgp_core.planner import Planner
from sgp_core.prediction import Outlook
from sgp_core.safety import region_of
from sgp_core.types import ANYWHERE, Aim, Goal, Plan, PlanStatus, Search, State


class Outcome(NamedTuple):
    """Where B candidates lead and what that costs."""

    x: Tensor  # (B, T+1, nx) [m; table]
    task_cost: Tensor  # (B,) [normalised]
    penalty: Tensor  # (B,), without its weight: of leaving the data [normalised]
    j: Tensor  # (B,), what is minimised


class Objective(Protocol):
    """Predicts and judges action sequences."""

    def __call__(self, x0: Tensor, u: Tensor, target: Tensor) -> Outcome:
        """From x0 (nx,) by steps u (B, T, 2) towards goal markers (ny,), all [m; table]."""


class LearnedObjective:
    """The J that score-guided planning minimises: task cost and smoothed distance to data, with the same models.

    Args:
        bundle: models and reference tuples.
        config: weights, horizon, beta.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig) -> None:
        self._iteration = iteration_of(bundle, config)

    def __call__(self, x0: Tensor, u: Tensor, target: Tensor) -> Outcome:
        """See `Objective`."""
        rollout = self._iteration.rollout(x0, u, target)
        return Outcome(rollout.x, rollout.task_cost, rollout.distance2.sum(-1), self._iteration.objective(rollout))


class Judge:
    """The objective of one plan: brings candidates within the bounds, and remembers the best of them.

    Args:
        objective: what is minimised.
        config: step limit and workspace, a rectangle.
        x0: measured state (nx,) [m].
        target: goal markers (ny,) [m].
        warm_start: the first candidate (T, 2) [m].
    """

    def __init__(
        self, objective: Objective, config: PlannerConfig, x0: Tensor, target: Tensor, warm_start: Tensor
    ) -> None:
        self.x0, self.target, self._objective = x0, target, objective
        self._limit = config.step_limit_m
        self._low, self._high = (torch.from_numpy(corner).float() for corner in region_of(config).box)
        self.best_u, self.best_j = warm_start, torch.tensor(torch.inf)
        self.best_u = self.bounded(warm_start[None])[0]
        self.start_j = float(self(self.best_u[None])[0])

    def __call__(self, u: Tensor) -> Tensor:
        """J (B,) of candidates (B, T, 2) [m], as the bounds let them be; infinite where it is not finite."""
        u = self.bounded(u)
        j = self._objective(self.x0, u, self.target).j
        j = torch.where(torch.isfinite(j), j, torch.inf)
        k = int(j.detach().argmin())
        if j[k] < self.best_j:
            self.best_u, self.best_j = u[k].detach(), j[k].detach()
        return j

    def bounded(self, u: Tensor) -> Tensor:
        """Nearest steps (B, T, 2) [m] within the step limit that keep the pusher in the workspace."""
        steps, pusher = [], self.x0[-2:]
        for t in range(u.shape[1]):
            end = torch.minimum(torch.maximum(pusher + u[:, t].clamp(-self._limit, self._limit), self._low), self._high)
            steps.append((end - pusher).clamp(-self._limit, self._limit))
            pusher = pusher + steps[-1]
        return torch.stack(steps, dim=1)


class Shooting(abc.ABC):
    """A planner that searches among action sequences; holds nothing from plan to plan but its settings.

    Args:
        bundle: models and layout.
        config: limits, objective, horizon and budget.
        objective: what is minimised.
        rounds: how often the search looks at candidates; a budget of time takes the place of this number.
        clock: time [s].

    Raises:
        InputError: settings that do not fit the bundle, or a workspace that is not a rectangle.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        config: PlannerConfig,
        objective: Objective,
        rounds: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not region_of(config).is_box:
            raise InputError("workspace_m, keep_out_m: baselines know rectangles only; take planner sgp, or leave them")
        self._guide = Planner(bundle, config)  # refuses what does not fit; predicts
        self.config = dataclasses.replace(config, iterations=rounds)
        self._objective, self._clock = objective, clock

    @abc.abstractmethod
    def search(self, judge: Judge, generator: torch.Generator, more: Callable[[], bool]) -> Tensor:
        """The steps (T, 2) [m] to take; `more` counts a round, and tells whether there is to be one."""

    def draw(self, generator: torch.Generator) -> Tensor:
        """A seed for all that is random in a plan."""
        return torch.randint(2**31 - 1, (1,), generator=generator)

    def predict(self, state: State, outlook: Outlook) -> State:
        """See `Planner.predict`."""
        return self._guide.predict(state, outlook)

    def plan(
        self,
        state: State,
        goal: Goal,
        warm_start: Float[ndarray, "T 2"],
        generator: torch.Generator,
        *,
        from_m: Float[ndarray, "2"] | None = None,
        aim: Aim | None = None,  # noqa: ARG002 - its pushes end at the goal
        spent_s: float = 0.0,
        schedule: Sequence[int] | None = None,
        search: Search = ANYWHERE,  # noqa: ARG002 - it never walks
    ) -> Plan:
        """See `Planner.plan`; a schedule holds one number, how many rounds there were.

        Raises:
            InputError: a schedule of noise levels, or a walk, from another planner.
        """
        started_s = self._clock()
        if from_m is not None:
            raise InputError(f"from_m = {from_m}: no plan of this planner begins with a walk round the box")
        if schedule is not None and len(schedule) != 1:
            raise InputError(f"an earlier plan of {len(schedule)} noise levels cannot be repeated by this planner")
        x0, target = torch.from_numpy(state.x).float(), torch.from_numpy(goal.markers_m).float().reshape(-1)
        rounds = Rounds(self.config, self._clock, started_s, spent_s, schedule[0] if schedule else None)
        private = torch.Generator().manual_seed(int(self.draw(generator)))
        with torch.no_grad():
            judge = Judge(self._objective, self.config, x0, target, torch.from_numpy(warm_start).float())
            u = self.search(judge, private, rounds.more)
            outcome = self._objective(x0, u[None], target)
        j, penalty = float(outcome.j[0]), float(outcome.penalty[0])
        finite = bool(torch.isfinite(u).all()) and np.isfinite(j)
        status = PlanStatus.IMPROVED if j < judge.start_j else PlanStatus.KEPT_WARM_START
        return Plan(
            stamp_s=state.stamp_s,
            x=outcome.x[0].double().numpy(),
            u=u.double().numpy(),
            walk=0,
            objective=j,
            task_cost=float(outcome.task_cost[0]),
            distance2=penalty,
            # That of the data whatever the penalty is: the controller slows down by it.
            data_distance=self._guide.data_distance(x0, u),
            warm_start_objective=judge.start_j,
            status=status if finite else PlanStatus.FAILED,
            schedule=(rounds.done,),
            solve_s=self._clock() - started_s,
        )


class Rounds:
    """How many rounds there are: as many as fit into the time where there is a budget, and by number otherwise."""

    def __init__(
        self, config: PlannerConfig, clock: Callable[[], float], started_s: float, spent_s: float, wanted: int | None
    ) -> None:
        self.done = 0
        self._limited = config.budget_ms > 0.0 and wanted is None
        self._most = config.iterations if wanted is None else wanted
        self._end_s = started_s + config.budget_ms * 1e-3 - spent_s
        self._clock, self._started_s = clock, started_s

    def more(self) -> bool:
        """Whether there is to be another round, which then counts; the first one always is."""
        now_s = self._clock()
        # What comes after the last round takes about half of one more.
        each_s = (now_s - self._started_s) / max(self.done, 1)
        over = now_s + 1.5 * each_s > self._end_s if self._limited else self.done >= self._most
        if over and (self.done or not self._limited):
            return False
        self.done += 1
        return True
