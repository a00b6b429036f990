"""The nodes' own code with an injected clock and without middleware: who calls its callbacks is the test.

`Offline` stands where rclpy's Node stands in the line of base classes. Everything above it is what runs on a rig:
callbacks, watchdogs, parameters, services, conversion of messages. What it leaves out, DDS and processes, is what the
tests of the nodes and of faults run for real.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import rclpy.time
from injected_plans import BUNDLE, Straight, Time, Unsteady, Worker
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from sgp_core import mpc
from sgp_ros import mocap_node, models


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

    def get_name(self) -> str:
        return self.called

    def get_fully_qualified_name(self) -> str:
        return f"/sgp/{self.called}"

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


@contextlib.contextmanager
def injected() -> Iterator[None]:
    """While nodes are made and run: the analytic bundle, and plans that are quick."""
    Straight.made, Unsteady.mood = 0, "fine"
    with (
        mock.patch.object(models, "load_bundle", return_value=BUNDLE),
        mock.patch.object(mpc, "Planner", Straight),
        mock.patch.object(mocap_node, "load_layout", return_value=BUNDLE.layout),
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
    with mock.patch.object(models, "PlanWorker", lambda _, on_done: Worker(on_done, time)):
        return Injected()
