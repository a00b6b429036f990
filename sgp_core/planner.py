"""Score-guided planning: Algorithm 1 of the paper, single shooting with Adam, warm-started and bounded.

Minimises J(u) = (e_T + w sum_t e_t + R sum_t ||u_t||^2) / s^2 + beta sum_t d^2(x_t, u_t) over u_0..u_T-1, where
x_t+1 = f(x_t, u_t), e_t = ||markers_t - goal||^2 and s is the normaliser's scale of positions: both parts are squared
lengths in normalised space. The paper has w = 0, and then a push planned for the last step is as good as one planned
for the first; replanned every step, it can stay planned forever. A small w breaks the tie.

x_0 is measured; the pairs (x_0, u_0)..(x_T-1, u_T-1) are scored, x_T is not: it has no action.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.adjoint import models_of
from sgp_core.bundle import ModelBundle
from sgp_core.config import ALL_SIGMAS, PlannerConfig
from sgp_core.distance import SmoothedDistance
from sgp_core.errors import InputError
from sgp_core.safety import region_of
from sgp_core.types import Goal, Plan, PlanStatus, State

ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """B candidate plans, where they lead and what they cost."""

    u: Float[Tensor, "B T 2"]  # [m]
    x: Float[Tensor, "B T+1 nx"]  # [m]
    tapes: list[Any]  # of each step, for the sweep back
    error: Float[Tensor, "B T ny"]  # markers less their goals after each step [m]
    task_cost: Float[Tensor, "B"]  # [normalised]
    distance2: Float[Tensor, "B T"]  # smoothed squared distance to data, last noise level [normalised]


class Planner:
    """Plans for one bundle under one set of settings; holds no state between plans.

    Raises:
        InputError: the settings do not fit the bundle (noise levels it does not have, steps longer than its data).
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig) -> None:
        self.config = config
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
        self._dynamics, self._score = models_of(bundle)
        self._distance = SmoothedDistance(bundle.reference, bundle.sigmas[-1])
        self._region = region_of(config)
        # Weight of each step's marker error, and what both costs are divided by.
        self._weights = torch.full((config.horizon, 1), config.running_weight)
        self._weights[-1] = 1.0
        self._centre = torch.tensor((*bundle.normalizer.x_centre, 0.0, 0.0), dtype=torch.float32)
        self._per_scale = 1.0 / bundle.normalizer.scales()
        self._scale2 = bundle.normalizer.x_scale**2

    @torch.no_grad()
    def plan(self, state: State, goal: Goal, warm_start: Float[ndarray, "T 2"], generator: torch.Generator) -> Plan:
        """Improve a warm start; never returns a plan of higher J.

        Args:
            state: where things are [m; table].
            goal: where the markers should end [m; table].
            warm_start: steps to begin from [m]; brought within the bounds first.
            generator: draws the initial guesses of the restarts.
        """
        started = time.perf_counter()
        x0 = torch.from_numpy(state.x).float()
        target = torch.from_numpy(goal.markers_m).float().reshape(-1)
        u = self._bounded(x0, self._guesses(warm_start, generator))
        first, second = torch.zeros_like(u), torch.zeros_like(u)
        best_j, best_u = torch.full((len(u),), torch.inf), u.clone()
        warm_j = torch.inf
        for i in range(self.config.iterations + 1):
            last = i == self.config.iterations
            rollout = self.rollout(x0, u, target)
            j = self.objective(rollout)
            warm_j = float(j[0]) if i == 0 else warm_j
            better = j < best_j
            best_j = torch.where(better, j, best_j)
            best_u = torch.where(better[:, None, None], u, best_u)
            if last:
                break
            gradient = self.gradient(rollout, self.levels[i * len(self.levels) // self.config.iterations])
            # Adam on the action as a fraction of the step limit, so that a learning rate means the same at any scale.
            gradient = gradient * self.config.step_limit_m
            first = ADAM_BETA1 * first + (1.0 - ADAM_BETA1) * gradient
            second = ADAM_BETA2 * second + (1.0 - ADAM_BETA2) * gradient**2
            mean, spread = first / (1.0 - ADAM_BETA1 ** (i + 1)), second / (1.0 - ADAM_BETA2 ** (i + 1))
            move = self.config.learning_rate * mean / (spread.sqrt() + ADAM_EPSILON)
            u = self._bounded(x0, u - self.config.step_limit_m * move)
        return self._result(state, x0, target, best_u[int(best_j.argmin())], warm_j, started)

    def rollout(self, x0: Float[Tensor, "nx"], u: Float[Tensor, "B T 2"], target: Float[Tensor, "ny"]) -> Rollout:
        """Predict the states of B action sequences and what they cost."""
        x, tapes = [x0.expand(len(u), -1)], []
        for action in u.unbind(1):
            x_next, tape = self._dynamics.step(x[-1], action)
            x.append(x_next)
            tapes.append(tape)
        states = torch.stack(x, dim=1)
        error = states[:, 1:, :-2] - target
        task = (self._weights * error**2).sum((-2, -1)) + self.config.action_weight * (u**2).sum((-2, -1))
        z = (torch.cat([states[:, :-1], u], dim=-1) - self._centre) * self._per_scale
        return Rollout(
            u=u, x=states, tapes=tapes, error=error, task_cost=task / self._scale2, distance2=self._distance(z)
        )

    def objective(self, rollout: Rollout) -> Float[Tensor, "B"]:
        """J of each candidate; not finite counts as infinite."""
        j = rollout.task_cost + self.config.beta * rollout.distance2.sum(-1)
        return torch.where(torch.isfinite(j), j, torch.inf)

    def gradient(self, rollout: Rollout, level: int) -> Float[Tensor, "B T 2"]:
        """Gradient of J by the actions (Eq. 12), with d^2 smoothed by sigma of `level`.

        The score stands for the gradient of the distance and is itself never differentiated (App. B.1).
        """
        by_x, by_u = self._task_gradient(rollout)
        if self.config.beta > 0.0:
            more_x, more_u = self._penalty_gradient(rollout, level)
            by_x, by_u = by_x + more_x, by_u + more_u
        return self._pull_back(rollout, by_x, by_u)

    def _task_gradient(self, rollout: Rollout) -> tuple[Float[Tensor, "B T1 nx"], Float[Tensor, "B T 2"]]:
        """Of the task cost by every state and action as if they were free."""
        by_x = torch.zeros_like(rollout.x)
        by_x[:, 1:, :-2] = (2.0 / self._scale2) * self._weights * rollout.error
        return by_x, (2.0 * self.config.action_weight / self._scale2) * rollout.u

    def _penalty_gradient(
        self, rollout: Rollout, level: int
    ) -> tuple[Float[Tensor, "B T1 nx"], Float[Tensor, "B T 2"]]:
        """Of beta d^2: -beta sigma^2 times the score, because d^2 is -sigma^2 log p (Prop. 3)."""
        (count, horizon, _), size = rollout.u.shape, rollout.x.shape[-1]
        score = self._score(rollout.x[:, :-1].flatten(0, 1), rollout.u.flatten(0, 1), level)
        by_z = (-self.config.beta * self._bundle.sigmas[level] ** 2) * score.view(count, horizon, -1)
        by_x = torch.zeros_like(rollout.x)
        by_x[:, :-1] = by_z[..., :size]
        return by_x, by_z[..., size:]

    def _pull_back(
        self, rollout: Rollout, by_x: Float[Tensor, "B T1 nx"], by_u: Float[Tensor, "B T 2"]
    ) -> Float[Tensor, "B T 2"]:
        """From gradients by free states to gradients by the actions that lead there: reverse mode over the rollout."""
        adjoint, found = by_x[:, -1], []
        for t in reversed(range(by_u.shape[1])):
            by_state, by_action = self._dynamics.pull_back(rollout.tapes[t], adjoint)
            found.append(by_u[:, t] + by_action)
            adjoint = by_x[:, t] + by_state
        return torch.stack(found[::-1], dim=1)

    @torch.no_grad()
    def gradient_ratio(self, state: State, goal: Goal, u: Float[ndarray, "T 2"], level: int) -> float:
        """||gradient of the penalty|| / ||gradient of the task cost|| by the actions, at one noise level."""
        x0, target = torch.from_numpy(state.x).float(), torch.from_numpy(goal.markers_m).float().reshape(-1)
        rollout = self.rollout(x0, torch.from_numpy(u).float()[None], target)
        penalty = self._pull_back(rollout, *self._penalty_gradient(rollout, level))
        task = self._pull_back(rollout, *self._task_gradient(rollout))
        return float(penalty.norm() / task.norm())

    def _guesses(self, warm_start: Float[ndarray, "T 2"], generator: torch.Generator) -> Float[Tensor, "B T 2"]:
        """The warm start and, for each further restart, steps drawn evenly from within the limit."""
        warm = torch.from_numpy(warm_start).float()
        draws = torch.rand(self.config.restarts - 1, *warm.shape, generator=generator) * 2.0 - 1.0
        return torch.cat([warm[None], draws * self.config.step_limit_m])

    def _bounded(self, x0: Tensor, u: Float[Tensor, "B T 2"]) -> Float[Tensor, "B T 2"]:
        """Nearest steps, one after the other, that respect the step limit and keep the pusher where it may be."""
        limit, pusher = self.config.step_limit_m, x0[-2:].numpy()
        wishes, steps = u.numpy().clip(-limit, limit), np.empty(u.shape, dtype=np.float32)
        for t in range(u.shape[1]):
            # From outside the workspace the way back may be longer than a step.
            steps[:, t] = (self._region.reached(pusher, pusher + wishes[:, t]) - pusher).clip(-limit, limit)
            pusher = pusher + steps[:, t]
        return torch.from_numpy(steps)

    def _result(self, state: State, x0: Tensor, target: Tensor, u: Tensor, warm_j: float, started: float) -> Plan:
        rollout = self.rollout(x0, u[None], target)
        j, distance2 = float(self.objective(rollout)[0]), float(rollout.distance2.sum())
        if not np.isfinite(j):
            u = torch.zeros_like(u)
            status = PlanStatus.FAILED
        else:
            status = PlanStatus.IMPROVED if j < warm_j else PlanStatus.KEPT_WARM_START
        return Plan(
            stamp_s=state.stamp_s,
            x=rollout.x[0].double().numpy(),
            u=u.double().numpy(),
            objective=j,
            task_cost=float(rollout.task_cost[0]),
            distance2=distance2,
            data_distance=max(0.0, distance2 / len(u)) ** 0.5,
            warm_start_objective=warm_j,
            status=status,
            solve_s=time.perf_counter() - started,
        )


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
