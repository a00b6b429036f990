"""Plans in injected time: the thread that plans without a thread, models in moods, and a planner that is quick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import analytic
import numpy as np
import torch
from torch import Tensor

from sgp_core.mpc import Decision
from sgp_core.planner import Planner
from sgp_core.safety import region_of
from sgp_core.types import Goal, Plan, PlanStatus, Reason, State
from sgp_ros.planning import Job, Outcome


class Time:
    """Two clocks that somebody moves: ROS time, and the steady one."""

    def __init__(self) -> None:
        self.ros_s, self.steady_s = 1000.0, 50.0


class Worker:
    """PlanWorker in injected time: the same plan, done when the test says it takes so long."""

    started = 0  # plans, of all workers

    def __init__(self, on_done: Callable[[], object], time: Time) -> None:
        self._on_done, self._time = on_done, time
        self._job: Job | None = None
        self._outcomes: list[Outcome] = []
        self.plan_s = 0.02  # how long a plan takes
        self.spoilt: tuple[float, float] | None = None  # the step that a planner gone wrong gives
        self.taken: tuple[int, Job] | None = None  # whose outcome was taken last, and its number

    @property
    def busy(self) -> bool:
        return self._job is not None

    def submit(self, job: Job) -> None:
        Worker.started += 1
        self._job, self._number, self._until_s = job, Worker.started, self._time.steady_s + self.plan_s

    def look(self) -> None:
        """End the plan when its time is over."""
        if self._job is not None and self._time.steady_s >= self._until_s - 1e-9:
            self._finish()
            self._on_done()

    def wait(self) -> Outcome:
        self._finish()
        return self._outcomes.pop()

    def take(self) -> Outcome | None:
        if not self._outcomes:
            return None
        self.taken = (self._number, self._outcomes[0].job)
        return self._outcomes.pop(0)

    def stop(self, _timeout_s: float) -> bool:
        return True

    def _finish(self) -> None:
        job, self._job = self._job, None
        assert job is not None
        decision, failure = None, None
        try:
            decision = job.controller.control(
                job.state, job.goal, job.carry, executed=job.executed, outlook=job.outlook
            )
        except Exception as error:  # as the real one
            failure = error
        if decision is not None and decision.plan is not None and self.spoilt is not None:
            decision = spoil(decision, self.spoilt)
        self._outcomes.append(Outcome(job=job, decision=decision, error=failure, wall_s=self.plan_s, cpu_s=self.plan_s))


def spoil(decision: Decision, u: tuple[float, float]) -> Decision:
    """The decision of a planner that sends what it should not."""
    assert decision.plan is not None
    step = replace(decision.step, u=np.array(u), status=Reason.RUNNING, reason="pushing")
    plan = replace(decision.plan, status=PlanStatus.IMPROVED)
    return replace(decision, step=step, plan=plan)


class Unsteady(analytic.Glued):
    """Glued dynamics with moods: `fine`, `off` (the data), `nan` (no answer), `raise` (an error)."""

    mood = "fine"

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        if Unsteady.mood == "raise":
            raise RuntimeError("the model broke")
        return super().forward(x, u) * (float("nan") if Unsteady.mood == "nan" else 1.0)


BUNDLE = replace(analytic.linear_bundle(), dynamics=Unsteady())
# Two iterations at one noise level, and no clock inside of a plan: thousands of plans in seconds, the same each time.
QUICK = {
    "iterations": 2, "horizon": 2, "restarts": 1, "contacts_per_side": 0, "sigmas": [0.01], "budget_ms": 1e5,
    "rate_hz": 5.0,
}  # fmt: skip
TICK_S = 0.05
OFF_DATA = (0.45, 0.7)  # shorter steps, and none
PUSHER = {"output_rate_hz": 1.0 / TICK_S}


class Straight(Planner):
    """Straight to the goal; every sixteenth plan is the real planner's, which takes a hundred times as long."""

    made = 0
    last: Plan  # of the planner

    def plan(self, state: State, goal: Goal, warm_start: Any, generator: torch.Generator, **how: Any) -> Plan:
        """See `Planner.plan`."""
        Straight.made += 1
        if Straight.made % 16 == 1 or Unsteady.mood in ("nan", "raise"):
            BUNDLE.score.levels.clear()  # it keeps what was asked for
            Straight.last = super().plan(state, goal, warm_start, generator, **how)
            return Straight.last
        way_m = goal.markers_m.mean(axis=0) - BUNDLE.layout.markers(state.x).mean(axis=0)
        here_m, limit_m = state.x[-2:], self.config.step_limit_m
        u = region_of(self.config).reached(here_m, here_m + np.clip(way_m, -limit_m, limit_m)) - here_m
        u = np.stack([np.clip(u, -limit_m, limit_m), np.zeros(2)])
        x = state.x + np.concatenate([np.zeros((1, 2)), np.cumsum(u, axis=0)])[:, [0, 1] * (len(state.x) // 2)]
        distance = OFF_DATA[Straight.made % len(OFF_DATA)] if Unsteady.mood == "off" else 0.0
        return replace(
            Straight.last, stamp_s=state.stamp_s, u=u, x=x, walk=0, status=PlanStatus.IMPROVED, solve_s=0.0,
            data_distance=distance,
        )  # fmt: skip
