"""The nodes' own code with an injected clock and without middleware: who calls its callbacks is the test.

`Offline` stands where rclpy's Node stands in the line of base classes. Everything above it is what runs on a rig:
callbacks, watchdogs, parameters, services, conversion of messages. What it leaves out, DDS and processes, is what the
tests of the nodes and of faults run for real.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import analytic
import numpy as np
import rclpy.time
import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger
from torch import Tensor

from sgp_core import mpc
from sgp_core.mpc import Decision
from sgp_core.planner import Planner
from sgp_core.safety import region_of
from sgp_core.types import Goal, Plan, PlanStatus, Reason, State
from sgp_ros import mocap_node, mpc_node
from sgp_ros.planning import Job, Outcome


class Time:
    """Two clocks that somebody moves: ROS time, and the steady one."""

    def __init__(self) -> None:
        self.ros_s, self.steady_s = 1000.0, 50.0


class Timer:
    """As much of rclpy's timer as the nodes use."""

    def __init__(self, period_s: float, call: Callable[[], object], clock: Callable[[], float]) -> None:
        self.timer_period_ns, self._call, self._clock = round(period_s * 1e9), call, clock
        self.reset()

    def reset(self) -> None:
        """A whole period from now."""
        self._due_s = self._clock() + self.timer_period_ns * 1e-9

    def look(self) -> None:
        """Call when it is time, once however late it is."""
        now_s = self._clock()
        if now_s >= self._due_s - 1e-9:
            self._due_s = max(self._due_s, now_s - self.timer_period_ns * 1e-9) + self.timer_period_ns * 1e-9
            self._call()


class Publisher:
    """Hands each message on."""

    def __init__(self, topic: str, take: Callable[[str, Any], None]) -> None:
        self._topic, self._take = topic, take

    def publish(self, message: Any) -> None:
        """To whoever runs the test."""
        self._take(self._topic, message)

    def get_subscription_count(self) -> int:
        """Nobody looks at pictures; everything else has a listener."""
        return 0 if self._topic.startswith("plan") else 1


class Log:
    """What a node says; the last lines, so that hours of it fit."""

    def __init__(self) -> None:
        self.last = ""

    def info(self, text: str, **_: object) -> None:
        """As rclpy's."""
        self.last = text

    warning = error = info


class Offline(Node):
    """In place of rclpy's Node; the class in front of it says what time it is and where messages go."""

    time: Time
    take: Callable[[str, Any], None]
    given: dict[str, Any]

    def __init__(self, name: str, **_: object) -> None:
        self.called, self.log = name, Log()
        self.kept: dict[str, Parameter] = {}
        self.checks: list[Callable[[list[Parameter]], SetParametersResult]] = []
        self.heard: dict[str, list[Callable[[Any], None]]] = {}
        self.offered: dict[str, Callable[[Any, Any], Any]] = {}
        self.ticking: list[Timer] = []
        self.tasks: list[Callable[[], None]] = []

    # --- what the nodes ask of rclpy

    def get_logger(self) -> Any:
        return self.log

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: rclpy.time.Time(nanoseconds=round(self.time.ros_s * 1e9)))

    def list_parameters(self, *_: object) -> Any:
        return SimpleNamespace(names=[])

    def declare_parameter(self, name: str, value: Any, *_: object, **__: object) -> Any:
        self.kept[name] = Parameter(name, value=self.given.get(name, value))

    def get_parameter(self, name: str) -> Parameter:
        return self.kept[name]

    def add_on_set_parameters_callback(self, callback: Any) -> None:
        self.checks.append(callback)

    def create_publisher(self, _kind: Any, topic: str, *_: object, **__: object) -> Any:
        return Publisher(topic, self.take)

    def create_subscription(self, _kind: Any, topic: str, callback: Any, *_: object, **__: object) -> Any:
        self.heard.setdefault(topic, []).append(callback)

    def create_service(self, _kind: Any, name: str, callback: Any, **_: object) -> Any:
        self.offered[name] = callback

    def create_timer(self, period_s: float, callback: Any, *_: object, clock: Any = None, **__: object) -> Any:
        timer = Timer(period_s, callback, lambda: self.time.ros_s if clock is None else self.time.steady_s)
        self.ticking.append(timer)
        return timer

    def resolve_topic_name(self, topic: str, **_: object) -> str:
        return f"/sgp/{topic}"

    def get_publishers_info_by_topic(self, *_: object, **__: object) -> list[Any]:
        return []

    @property
    def executor(self) -> Any:
        return self

    def create_task(self, callback: Any, *_: object, **__: object) -> None:
        self.tasks.append(callback)

    # --- what the test does with them

    def hear(self, topic: str, message: Any) -> None:
        """A message came."""
        self.heard[topic][0](message)

    def look(self) -> None:
        """Let the executor run what is due."""
        while self.tasks:
            self.tasks.pop(0)()
        for timer in self.ticking:
            timer.look()

    def ask(self, name: str, flag: bool | None = None) -> bool:
        """Call a service; whether it was done."""
        kind = Trigger if flag is None else SetBool
        request = kind.Request() if flag is None else SetBool.Request(data=flag)
        return bool(self.offered[name](request, kind.Response()).success)

    def set_live(self, **values: Any) -> bool:
        """Set parameters together; whether they were accepted."""
        wishes = [Parameter(name, value=value) for name, value in values.items()]
        if not all(check(wishes).successful for check in self.checks):
            return False
        self.kept |= {wish.name: wish for wish in wishes}
        return True


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
        self._outcomes.append(Outcome(job=job, decision=decision, error=failure, wall_s=self.plan_s))


def spoil(decision: Decision, u: tuple[float, float]) -> Decision:
    """The decision of a planner that sends what it should not."""
    assert decision.plan is not None
    step = replace(decision.step, u=np.array(u), status=Reason.RUNNING, reason="pushing")
    plan = replace(decision.plan, status=PlanStatus.IMPROVED)
    return replace(decision, step=step, plan=plan)


class Unsteady(analytic.Glued):
    """Glued dynamics with moods: `fine`, `nan` (no answer), `raise` (an error)."""

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
PUSHER = {"output_rate_hz": 1.0 / TICK_S}


class Straight(Planner):
    """Straight to the goal; every sixteenth plan is the real planner's, which takes a hundred times as long."""

    made = 0

    def plan(
        self, state: State, goal: Goal, warm_start: Any, generator: torch.Generator, **how: Any
    ) -> Plan:  # fmt: skip
        """See `Planner.plan`."""
        Straight.made += 1
        if Straight.made % 16 == 0 or Unsteady.mood != "fine":
            analytic_levels.clear()
            return super().plan(state, goal, warm_start, generator, **how)
        way_m = goal.markers_m.mean(axis=0) - BUNDLE.layout.markers(state.x).mean(axis=0)
        here_m, limit_m = state.x[-2:], self.config.step_limit_m
        u = region_of(self.config).reached(here_m, here_m + np.clip(way_m, -limit_m, limit_m)) - here_m
        u = np.stack([np.clip(u, -limit_m, limit_m), np.zeros(2)])
        x = state.x + np.concatenate([np.zeros((1, 2)), np.cumsum(u, axis=0)])[:, [0, 1] * (len(state.x) // 2)]
        return Plan(
            stamp_s=state.stamp_s, u=u, x=x, walk=0, objective=0.0, task_cost=0.0, distance2=0.0, data_distance=0.0,
            warm_start_objective=0.0, status=PlanStatus.IMPROVED, schedule=(self.config.iterations,), solve_s=0.0,
        )  # fmt: skip


analytic_levels = BUNDLE.score.levels  # grows with each call of the score


@contextlib.contextmanager
def injected() -> Iterator[None]:
    """While nodes are made and run: the analytic bundle, and plans that are quick."""
    Straight.made, Unsteady.mood = 0, "fine"
    with (
        mock.patch.object(mpc_node, "load_bundle", lambda _: BUNDLE),
        mock.patch.object(mpc, "Planner", Straight),
        mock.patch.object(mocap_node, "load_layout", lambda _: BUNDLE.layout),
    ):
        yield


def make(node: type, time: Time, take: Callable[[str, Any], None], given: dict[str, Any]) -> Any:
    """A node of a process that has just started."""

    class Injected(node, Offline):  # type: ignore[misc, valid-type]
        """In front of everything: the clocks."""

        def now_s(self) -> float:
            return self.time.ros_s

        def steady_s(self) -> float:
            return self.time.steady_s

    Injected.time, Injected.take, Injected.given = time, staticmethod(take), given
    with mock.patch.object(mpc_node, "PlanWorker", lambda _, on_done: Worker(on_done, time)):
        return Injected()
