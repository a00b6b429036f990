"""Score-guided planning: Algorithm 1 of the paper, single shooting with Adam, warm-started and bounded.

Minimises J(u) = (e_T + w sum_t e_t + R sum_t ||u_t||^2) / s^2 + beta sum_t d^2(x_t, u_t) over u_0..u_T-1, where
x_t+1 = f(x_t, u_t), e_t = ||markers_t - goal||^2 and s is the normaliser's scale of positions: both parts are squared
lengths in normalised space. Turns weigh more than shifts (`Iteration.weighted`), which the paper does not know, either.

The paper has w = 0, and then a push planned for the last step is as good as one planned for the first; replanned every
step, it can stay planned forever. A small w breaks the tie. It also is what a walk to another side of the box costs:
pushes may begin there, and the steps that lead there are geometry (`candidates.py`). Where to push, and with which push
to follow, is searched for before the descent (`contact_sequences.py`); e_T is then the distance to where the box has to
be for that push, and counts from the step on where the first one ends.

x_0 is measured; the pairs (x_0, u_0)..(x_T-1, u_T-1) are scored, x_T is not: it has no action.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.budget import Budget, Turns, again
from sgp_core.bundle import ModelBundle
from sgp_core.candidates import Candidate, Candidates, after_walk, failed, stay
from sgp_core.config import ALL_SIGMAS, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.graph import DescentGraph, check_device
from sgp_core.iteration import Descent, begin, iteration_of, some_of
from sgp_core.prediction import Outlook
from sgp_core.safety import region_of
from sgp_core.types import ANYWHERE, Aim, Goal, Listed, Plan, PlanStatus, Search, State

# Iterations per call of TorchScript.
BURST, BUDGET_BURST = 10, 2
# With contacts: the share of the iterations after which only the best candidates go on.
SCREENING = 5


class Field(NamedTuple):
    """What B candidates are judged by."""

    x0: Tensor  # state in which the pushes of each begin (B, nx) [m]
    target: Tensor  # markers wanted after each step (B, T, ny) [m]
    weights: Tensor  # of their squared errors (B, T, 1)
    waiting: Tensor  # running cost of each until then (B,) [normalised]

    def of(self, rows: list[int]) -> Field:
        """Some of them."""
        return Field(self.x0[rows], self.target[rows], self.weights[rows], self.waiting[rows])


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
        self._candidates = Candidates(bundle, config, self._region)
        self._scale2 = float(bundle.normalizer.x_scale**2)
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
        from_m: Float[ndarray, "2"] | None = None,
        aim: Aim | None = None,
        spent_s: float = 0.0,
        schedule: Sequence[int] | None = None,
        search: Search = ANYWHERE,
    ) -> Plan:
        """Improve a warm start; never returns a plan of higher J.

        Args:
            state: where things are [m; table].
            goal: where the markers should end [m; table].
            warm_start: pushes to begin from [m]; brought within the bounds first.
            generator: draws the initial guesses of the restarts.
            from_m: where the warm start begins, when the pusher has to walk there first [m; table].
            aim: of the warm start; None: what is best to come after it is searched for.
            spent_s: how much of the budget is gone already [s].
            schedule: iterations at each noise level, as an earlier plan had them, instead of what settings and time
                give; not for a device whose iterations are recorded.
            search: which pushes to consider beside the warm start; where there are none, random ones. A plan that
                looks round does not descend: it has the time for one of both.

        Raises:
            InputError: `schedule` is for another number of noise levels.
        """
        config = self.config
        started_s = self._clock()
        if not (np.isfinite(state.x).all() and np.isfinite(goal.markers_m).all()):
            return failed(state, config.horizon)
        if schedule is not None and len(schedule) != len(self.levels):
            raise InputError(
                f"an earlier plan went through {len(schedule)} noise levels, these settings name {len(self.levels)};"
                " set sigmas as they were"
            )
        # Random ones are drawn in any case, so that what is drawn later does not depend on settings.
        others, random = [], [stay(state.x[-2:], u) for u in self._random(generator)]
        roll = self._iteration.dynamics.roll
        shortlist: tuple[Listed, ...] = ()
        warm = self._candidates.again(state, warm_start, from_m)
        if search.choose or warm is None:
            others = self._candidates.from_sides(state, goal, roll, search.among) or random
        look = None if search.choose or warm is None else search.look
        if look is not None:
            shortlist = self._candidates.shortlist(state, goal, roll, look)
        guesses = [warm or stay(state.x[-2:], warm_start), *others]
        x0s = np.tile(state.x, (len(guesses), 1))
        x0s[:, -2:] = [guess.from_m for guess in guesses]
        starts = self._bounded(x0s, np.stack([guess.u for guess in guesses]))
        if aim is not None and warm is not None:
            guesses[0] = guesses[0]._replace(aim=aim)
        elif config.contacts_per_side:
            guesses[0] = self._followed(guesses[0], x0s[:1], starts[:1], goal)
        wanted = self._candidates.wanted(goal, guesses, begun=search.left < 1.0)
        targets, weights, free = (torch.from_numpy(v).float() for v in wanted)
        waiting = torch.from_numpy(self._candidates.waiting_cost(state, goal, guesses) / self._scale2).float()
        field = Field(torch.from_numpy(x0s).float(), targets, weights, waiting)
        # What went before the first iteration is spent, and says nothing of how long one takes.
        ready_s = self._clock()
        budget = Budget(config, len(self.levels), ready_s, spent_s + ready_s - started_s)
        turns = budget.turn if schedule is None else again(schedule)
        kept: list[int] = []
        improved: list[ndarray] = []
        if look is not None:
            schedule = [0] * len(self.levels)
        elif self._graph:
            descent = self._graph(field.x0, field.target, field.weights, torch.from_numpy(starts), free)
            schedule, kept = self._graph.schedule, list(range(len(guesses)))
            improved = [descent.best_u.numpy(), descent.u.numpy()]
        else:
            descent, schedule, kept = self._descended(field, begin(torch.from_numpy(starts), free), turns)
            improved = [descent.best_u.numpy(), descent.u.numpy()]
        of_guess = [0, *kept, *kept]
        u = np.concatenate([starts[:1], *improved])
        u[:, 0] = u[:, 0].clip(-search.left * config.step_limit_m, search.left * config.step_limit_m)
        plan, best = self._best(state, field.of(of_guess), self._bounded(x0s[of_guess], u))
        if plan.status is not PlanStatus.FAILED:
            chosen = guesses[of_guess[best]]
            walk, lead = self._candidates.walk(state, chosen, search.lasts)
            plan = dataclasses.replace(after_walk(plan, state.x[-2:], walk), lead=lead, aim=chosen.aim)
        took_s = self._clock() - started_s
        return dataclasses.replace(plan, schedule=tuple(schedule), solve_s=took_s, shortlist=shortlist)

    def _followed(self, guess: Candidate, x0: ndarray, u: ndarray, goal: Goal) -> Candidate:
        """The warm start, with what is best to come after it."""
        roll = self._iteration.dynamics.roll
        x = roll(torch.from_numpy(x0).float(), torch.from_numpy(u))[0]
        return self._candidates.followed(guess, x[0, -1].double().numpy(), goal, roll)

    def _descended(self, field: Field, descent: Descent, turns: Turns) -> tuple[Descent, list[int], list[int]]:
        """After as many iterations as there are, or as time allows; how many at each noise level; whose are left."""
        config, schedule, kept = self.config, [0] * len(self.levels), list(range(len(field.x0)))
        screening = max(1, config.iterations // SCREENING) if len(kept) > config.restarts else 0
        while turn := turns(descent.done, self._clock(), self._burst_of(screening, descent.done)):
            for level in turn:
                schedule[level] += 1
            levels = [self.levels[level] for level in turn]
            descent = Descent(*self._iteration.descend(field.x0, field.target, descent, levels, field.weights))
            if not self._region.is_box:
                bounded = torch.from_numpy(self._bounded(field.x0.numpy(), descent.u.numpy()))
                descent = descent._replace(u=bounded)
            if descent.done == screening:
                kept = torch.argsort(descent.best_j + field.waiting, stable=True)[: config.restarts].tolist()
                field, screening = field.of(kept), 0
                descent = some_of(descent, kept)
        return descent, schedule, kept

    @torch.no_grad()
    def predict(self, state: State, outlook: Outlook) -> State:
        """The state at the start of a plan, after the pusher was led a little further (pushing is quasistatic)."""
        if not outlook.motion_m.any():
            return State(stamp_s=outlook.start_s, x=state.x)
        x, u = (torch.from_numpy(v).float()[None] for v in (state.x, outlook.motion_m))
        return State(stamp_s=outlook.start_s, x=self._iteration.dynamics.roll(x, u[:, None])[0][0, -1].double().numpy())

    @torch.no_grad()
    def data_distance(self, x0: Float[Tensor, "nx"], u: Float[Tensor, "T 2"]) -> float:
        """Root of the mean squared distance to the data along steps [m] from a state [m; table], as predicted."""
        rollout = self._iteration.rollout(x0, u[None], x0[:-2])
        return max(0.0, float(rollout.distance2.sum()) / len(u)) ** 0.5

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
        """First guesses from where the pusher is: the warm start and the random ones; within the bounds [m]."""
        return self._bounded(state.x[None], np.concatenate([warm_start[None], self._random(generator)]))

    def draw(self, generator: torch.Generator) -> Tensor:
        """What is random in a plan: the restarts (B-1, T, 2), evenly from -1 to 1."""
        return torch.rand(self.config.restarts - 1, self.config.horizon, 2, generator=generator) * 2.0 - 1.0

    def _random(self, generator: torch.Generator) -> Float[ndarray, "R T 2"]:
        drawn: Float[ndarray, "R T 2"] = self.draw(generator).numpy() * self.config.step_limit_m
        return drawn

    def _bounded(self, x0: Float[ndarray, "#B nx"], u: Float[ndarray, "B T 2"]) -> Float[ndarray, "B T 2"]:
        """Nearest steps, one after the other, that respect the step limit and keep the pusher where it may be."""
        limit, pusher = self.config.step_limit_m, np.broadcast_to(x0[:, -2:], (len(u), 2))
        wishes, steps = u.clip(-limit, limit), np.empty(u.shape, dtype=np.float32)
        for t in range(u.shape[1]):
            # From outside the workspace the way back may be longer than a step.
            steps[:, t] = (self._region.reached(pusher, pusher + wishes[:, t]) - pusher).clip(-limit, limit)
            pusher = pusher + steps[:, t]
        return steps

    def _best(self, state: State, field: Field, candidates: Float[ndarray, "B T 2"]) -> tuple[Plan, int]:
        """The candidate of lowest J, without its walk, and which it is; the first one is the warm start."""
        rollout = self._iteration.rollout(field.x0, torch.from_numpy(candidates), field.target, field.weights)
        j = (self._iteration.objective(rollout) + field.waiting).numpy()
        k = int(j.argmin())
        if not np.isfinite(j[k]):
            return failed(state, len(candidates[k])), k
        u, distance2 = candidates[k].astype(float), float(rollout.distance2[k].sum())
        plan = Plan(
            stamp_s=state.stamp_s,
            x=rollout.x[k].double().numpy(),
            u=u,
            walk=0,
            objective=float(j[k]),
            task_cost=float(rollout.task_cost[k] + field.waiting[k]),
            distance2=distance2,
            data_distance=max(0.0, distance2 / len(u)) ** 0.5,
            warm_start_objective=float(j[0]),
            status=PlanStatus.IMPROVED if j[k] < j[0] else PlanStatus.KEPT_WARM_START,
            schedule=(),
            solve_s=0.0,
        )
        return plan, k

    def _burst_of(self, screening: int, done: int) -> int:
        return min(self._burst, screening - done) if done < screening else self._burst


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
