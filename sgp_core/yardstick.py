"""Settings judged by the first steps they would take from recorded states, with one objective for all of them.

A plan's own J says nothing about its settings: beta and horizon are part of it. So what counts is the step that would
be sent, and J of the *base* settings of the best plan that begins with it. How much worse that is than the best plan
from the same state is what the step costs. The models have to be believed for that; nothing moves. Pushes alone are
judged, from where the pusher is: what a walk round the box is good for, only a closed loop tells.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.mpc import Controller
from sgp_core.planner import Planner
from sgp_core.prediction import Outlook
from sgp_core.run_cost import SUCCESS_COST_CM2
from sgp_core.tuning_jobs import Job, Outcome
from sgp_core.types import ANYWHERE, Goal, MpcCarry, Plan, State

# The best plan from a state is one with so many iterations and restarts.
LONG = {"iterations": 100, "restarts": 16}
PUSHES = {"contacts_per_side": 0}
ROUND = 4  # cases before a trial may be given up


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a recorded decision was made from."""

    state: State
    goal: Goal
    carry: MpcCarry
    executed: bool
    outlook: Outlook


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best plan that was found from a case."""

    objective: float  # J of the base settings
    u: Float[ndarray, "2"]  # its first step [m; table]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One case decided with other settings."""

    path: Path
    base: PlannerConfig
    planner: PlannerConfig
    mpc: MpcConfig
    case: Case
    best: Best

    def run(self) -> Outcome:
        """The logarithm of how many times J of the best plan that begins with this step is that of the best one.

        Both with the J of 5 cm^2 added, which a success may still cost: near the goal every J is small, and nothing
        hangs on its ratio.
        """
        plan = _decided(self.path, self.planner, self.mpc, self.case)
        reached = _objective_after(self.path, self.base, self.case, plan)
        spare = SUCCESS_COST_CM2 * 1e-4 / _bundle(self.path).normalizer.x_scale ** 2
        price = math.log((reached + spare) / (self.best.objective + spare))
        off_m = float(np.linalg.norm(plan.u[0] - self.best.u))
        return Outcome(price=price, figures={"off_mm": off_m * 1e3})


class BagJudge:
    """Recorded decisions; every other one is for the comparison.

    Args:
        path: folder of the bundle.
        bundle: the same, loaded.
        base: settings whose J is the yardstick; their budget must be 0.
        mpc: of the controller.
        cases: at least two, none of them at its goal.
        about: where they come from, plain values.
    """

    def __init__(
        self,
        path: Path,
        bundle: ModelBundle,
        base: PlannerConfig,
        mpc: MpcConfig,
        cases: list[Case],
        about: dict[str, Any],
    ) -> None:
        self._path, self._base, self._mpc = path, base.replaced(**PUSHES), mpc
        self.bundle = bundle
        self._cases, self._known = cases, dict[int, Best]()
        self.about = {"judge": "recorded decisions", "decisions": len(cases), **about}

    def rounds(self, planner: PlannerConfig) -> list[list[Job]]:
        """See `Judge.rounds`."""
        jobs = self._jobs(planner, range(0, len(self._cases), 2))
        return [jobs[k : k + ROUND] for k in range(0, len(jobs), ROUND)]

    def check(self, planner: PlannerConfig) -> list[Job]:
        """See `Judge.check`."""
        return self._jobs(planner, range(1, len(self._cases), 2))

    def _jobs(self, planner: PlannerConfig, numbers: range) -> list[Job]:
        path, base, mpc, planner = self._path, self._base, self._mpc, planner.replaced(**PUSHES)
        return [
            Decision(path=path, base=base, planner=planner, mpc=mpc, case=self._cases[k], best=self._best(k))
            for k in numbers
        ]

    def _best(self, number: int) -> Best:
        if number not in self._known:
            plan = _decided(self._path, self._base.replaced(**LONG), self._mpc, self._cases[number])
            self._known[number] = Best(objective=plan.objective, u=plan.u[0])
        return self._known[number]


def _decided(path: Path, planner: PlannerConfig, mpc: MpcConfig, case: Case) -> Plan:
    controller = _controller(path, planner, mpc)
    carry = dataclasses.replace(case.carry, from_m=None)
    made = controller.control(
        case.state, case.goal, carry, executed=case.executed, outlook=case.outlook, search=ANYWHERE
    )
    assert made.plan is not None  # none of the cases is at its goal
    return made.plan


def _objective_after(path: Path, base: PlannerConfig, case: Case, plan: Plan) -> float:
    """J of the best plan that begins with the first step of `plan`."""
    steps = np.concatenate([plan.u[: base.horizon], np.zeros((max(0, base.horizon - len(plan.u)), 2))])
    if base.horizon > 1:
        after = State(stamp_s=plan.stamp_s, x=plan.x[1])
        rest = _planner(path, base.replaced(**LONG, horizon=base.horizon - 1))
        tail = rest.plan(after, case.goal, steps[1:], torch.Generator().manual_seed(0))
        steps = np.concatenate([steps[:1], tail.u])
    whole = _planner(path, base.replaced(restarts=1))
    idle = [0] * len(whole.levels)
    start = State(stamp_s=plan.stamp_s, x=plan.x[0])
    return whole.plan(start, case.goal, steps, torch.Generator(), schedule=idle).warm_start_objective


# A process does many cases with the same settings, and compiling takes longer than a plan.
@functools.lru_cache(maxsize=4)
def _controller(path: Path, planner: PlannerConfig, mpc: MpcConfig) -> Controller:
    return Controller(_bundle(path), planner, mpc)


@functools.lru_cache(maxsize=4)
def _planner(path: Path, planner: PlannerConfig) -> Planner:
    return Planner(_bundle(path), planner)


@functools.lru_cache(maxsize=2)
def _bundle(path: Path) -> ModelBundle:
    return load_bundle(path)
