"""Value and gradient of the objective, and Adam on them: one call of TorchScript for several iterations.

A call releases Python's lock until it is done. Some two hundred calls of single operations would each hand the lock to
whoever else wants it, and in a node that receives hundreds of messages a second a plan would take three times as long.
"""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sgp_core.adjoint import MlpDynamics, MlpScore, models_of
from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.distance import SmoothedDistance
from sgp_core.packing import LayerOf, half, plain
from sgp_core.rigid_adjoint import RigidDynamics
from sgp_core.safety import region_of

ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


class Rollout(NamedTuple):
    """B candidate plans, where they lead and what they cost."""

    u: Tensor  # (B, T, 2) [m]
    x: Tensor  # (B, T+1, nx) [m]
    tapes: list[list[Tensor]]  # for the sweep back
    error: Tensor  # (B, T, ny), markers less their goals after each step, turns weighted [m]
    weights: Tensor  # of its square (T, 1) or (B, T, 1)
    task_cost: Tensor  # (B,) [normalised]
    distance2: Tensor  # (B, T), smoothed squared distance to data at the last noise level [normalised]


class Descent(NamedTuple):
    """How far the B candidates of a plan have come."""

    u: Tensor  # (B, T, 2) [m]
    free: Tensor  # 1 where a step may be changed, 0 where it stays as it is (B, T, 1)
    first: Tensor  # Adam's moments of the gradient by u as a fraction of the step limit (B, T, 2)
    second: Tensor
    best_u: Tensor  # (B, T, 2) [m], the best of each candidate so far
    best_j: Tensor  # (B,)
    done: int  # iterations


def begin(u: Tensor, free: Tensor) -> Descent:
    """Before the first iteration, from first guesses (B, T, 2) [m], of which some steps are free (B, T, 1)."""
    return Descent(u, free, torch.zeros_like(u), torch.zeros_like(u), u, torch.full_like(u[:, 0, 0], torch.inf), 0)


def some_of(descent: Descent, rows: list[int] | slice) -> Descent:
    """The descent of some of the candidates."""
    u, free, first, second, best_u, best_j, done = descent
    return Descent(u[rows], free[rows], first[rows], second[rows], best_u[rows], best_j[rows], done)


class Iteration(nn.Module):
    """J of action sequences, and its gradient by them (Eq. 12), for one bundle under one set of settings."""

    centre: Tensor
    per_scale: Tensor
    weights: Tensor
    low: Tensor
    high: Tensor
    sigmas: list[float]

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, layers: Sequence[LayerOf] = (plain, half)) -> None:
        super().__init__()
        self.dynamics, self.score = models_of(bundle, layers)
        self.distance = SmoothedDistance(bundle.reference, bundle.sigmas[-1])
        self.register_buffer("centre", torch.tensor((*bundle.normalizer.x_centre, 0.0, 0.0), dtype=torch.float32))
        self.register_buffer("per_scale", 1.0 / bundle.normalizer.scales())
        weights = torch.full((config.horizon, 1), config.running_weight)
        weights[-1] = 1.0
        self.register_buffer("weights", weights)  # of each step's marker error
        self.scale2 = float(bundle.normalizer.x_scale**2)
        self.turning = config.turn_weight**0.5
        self.action_weight, self.beta = config.action_weight, config.beta
        self.sigmas = [float(sigma) for sigma in bundle.sigmas]
        self.limit, self.rate = config.step_limit_m, config.learning_rate
        self.beta1, self.beta2, self.epsilon = ADAM_BETA1, ADAM_BETA2, ADAM_EPSILON
        low, high = region_of(config).box
        self.register_buffer("low", torch.from_numpy(low).float())
        self.register_buffer("high", torch.from_numpy(high).float())

    @torch.jit.export
    def descend(
        self, x0: Tensor, target: Tensor, descent: Descent, levels: list[int], weights: Tensor | None = None
    ) -> Descent:
        """One iteration of Adam at each of these noise levels, one after the other."""
        u, free, first, second, best_u, best_j, done = descent
        for level in levels:
            j, gradient = self.forward(x0, u, target, level, weights)
            better = j < best_j
            best_j, best_u = torch.where(better, j, best_j), torch.where(better[:, None, None], u, best_u)
            # Adam on the action as a fraction of the step limit, so that a learning rate means the same at any scale.
            gradient = gradient * self.limit * free
            done += 1
            first = torch.lerp(first, gradient, 1.0 - self.beta1)
            second = torch.lerp(second, gradient * gradient, 1.0 - self.beta2)
            spread = (second / (1.0 - self.beta2**done)).sqrt_().add_(self.epsilon)
            u = self.bounded(x0, u - (self.limit * self.rate / (1.0 - self.beta1**done)) * first / spread)
        return Descent(u, free, first, second, best_u, best_j, done)

    def bounded(self, x0: Tensor, u: Tensor) -> Tensor:
        """Nearest steps that respect the step limit and keep the pusher in the box around the workspace."""
        steps: list[Tensor] = []
        pusher = x0[..., -2:]
        for t in range(u.shape[1]):
            # From outside the workspace the way back may be longer than a step.
            end = torch.minimum(torch.maximum(pusher + u[:, t].clamp(-self.limit, self.limit), self.low), self.high)
            steps.append((end - pusher).clamp_(-self.limit, self.limit))
            pusher = pusher + steps[t]
        return torch.stack(steps, dim=1)

    def forward(
        self, x0: Tensor, u: Tensor, target: Tensor, level: int, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """J (B,) and its gradient (B, T, 2) with d^2 smoothed by sigma of `level`.

        Args:
            x0: measured state (nx,), or one of each candidate (B, nx) [m].
            u: actions (B, T, 2) [m].
            target: goal markers (ny,), or those of each step (B, T, ny) [m].
            level: index of the noise level.
            weights: of the squared error after each step of each candidate (B, T, 1), else of the settings.
        """
        rollout = self.rollout(x0, u, target, weights)
        by_x, by_u = self.task_gradient(rollout)
        if self.beta > 0.0:
            more_x, more_u = self.penalty_gradient(rollout, level)
            by_x, by_u = by_x + more_x, by_u + more_u
        return self.objective(rollout), self.pull_back(rollout, by_x, by_u)

    @torch.jit.export
    def rollout(self, x0: Tensor, u: Tensor, target: Tensor, weights: Tensor | None = None) -> Rollout:
        """Predict the states of B action sequences and what they cost."""
        x, tapes = self.dynamics.roll(x0.expand(u.shape[0], -1), u)  # type: ignore[operator]
        error = self.weighted(x[:, 1:, :-2] - target)
        if weights is None:
            weights = self.weights
        task = (weights * error * error).sum([-2, -1]) + self.action_weight * (u * u).sum([-2, -1])
        z = (torch.cat([x[:, :-1], u], dim=-1) - self.centre) * self.per_scale
        return Rollout(u, x, tapes, error, weights, task / self.scale2, self.distance(z))

    @torch.jit.export
    def weighted(self, error: Tensor) -> Tensor:
        """Errors (..., ny) whose part that differs from marker to marker, from turning, is stretched; symmetric."""
        if self.turning == 1.0:
            return error
        each = error.unflatten(-1, [-1, 2])
        mean = each.mean(-2, keepdim=True)
        return (mean + self.turning * (each - mean)).flatten(-2)

    @torch.jit.export
    def objective(self, rollout: Rollout) -> Tensor:
        """J of each candidate; not finite counts as infinite."""
        j = rollout.task_cost + self.beta * rollout.distance2.sum(-1)
        return torch.where(torch.isfinite(j), j, torch.full_like(j, float("inf")))

    @torch.jit.export
    def task_gradient(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Of the task cost, by every state (B, T+1, nx) and action as if all were free."""
        by_x = torch.zeros_like(rollout.x)
        by_x[:, 1:, :-2] = (2.0 / self.scale2) * rollout.weights * self.weighted(rollout.error)
        return by_x, (2.0 * self.action_weight / self.scale2) * rollout.u

    @torch.jit.export
    def penalty_gradient(self, rollout: Rollout, level: int) -> tuple[Tensor, Tensor]:
        """Of beta d^2, as `task_gradient`: -beta sigma^2 times the score, because d^2 is -sigma^2 log p (Prop. 3).

        The score stands for the gradient of the distance and is itself never differentiated (App. B.1).
        """
        x, u = rollout.x[:, :-1], rollout.u
        score = self.score(x.flatten(0, 1), u.flatten(0, 1), level).view(u.shape[0], u.shape[1], -1)
        by_z = (-self.beta * self.sigmas[level] ** 2) * score
        by_x = torch.zeros_like(rollout.x)
        by_x[:, :-1] = by_z[:, :, :-2]
        return by_x, by_z[:, :, -2:]

    @torch.jit.export
    def pull_back(self, rollout: Rollout, by_x: Tensor, by_u: Tensor) -> Tensor:
        """From gradients by free states to gradients by the actions that lead there: reverse mode over the rollout."""
        found: Tensor = self.dynamics.pull_back(rollout.tapes, by_x, by_u)  # type: ignore[operator]
        return found


def iteration_of(bundle: ModelBundle, config: PlannerConfig) -> Any:
    """An Iteration; compiled, unless one of the models has to go through autograd."""
    made = Iteration(bundle, config).eval()
    if not (isinstance(made.dynamics, MlpDynamics | RigidDynamics) and isinstance(made.score, MlpScore)):
        return made
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        return torch.jit.script(made)
