"""Faults put into the code on purpose, one at a time: a fuzz that finds none of them proves nothing.

Each comes with a sequence on which the sound code is safe and the mutant is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from fuzz_events import CAMERA, NAMED, RAW, Event

import sgp_core.arm
import sgp_core.follower
import sgp_core.mpc
import sgp_core.pusher
import sgp_core.safety
import sgp_ros.inputs
import sgp_ros.mpc_node
from sgp_core.pusher import PusherReference
from sgp_core.workspace import Region
from sgp_ros.mpc_node import MpcNode


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    make: Callable[[], AbstractContextManager[Any]]
    events: tuple[Event, ...]
    found: str  # what the oracle says


def event(name: str, a: int = 0, b: int = 0) -> Event:
    """An event by its name."""
    return NAMED[name], a, b


def everywhere(name: str, value: Any) -> AbstractContextManager[Any]:
    """A function of `safety` replaced wherever it was imported."""
    stack = contextlib.ExitStack()
    for module in (sgp_core.safety, sgp_core.mpc, sgp_core.pusher, sgp_ros.inputs, sgp_ros.mpc_node):
        if hasattr(module, name):
            stack.enter_context(mock.patch.object(module, name, value))
    return stack


def without_stop(self: MpcNode, request: Any, response: Any) -> Any:
    """`~/enable` that answers and does nothing."""
    response.success = bool(self) or request.data or True
    return response


def keeps_plan(self: MpcNode, *, same_time: bool = False) -> None:
    """A reset that lets the plan under way become a step."""
    self._sent.forget(same_time=same_time)


def takes_nan(u: np.ndarray, step_limit_m: float) -> Any:
    """A check of the size that NaN passes, because it is compared the wrong way round."""
    return (
        sgp_core.safety.Fault(reason=sgp_core.safety.Reason.STEP_TOO_LARGE, text="too long")
        if (np.abs(u) > step_limit_m + 1e-5).any()
        else None
    )


def forgets_stamps(self: PusherReference, enabled: bool, now_s: float) -> None:
    """Enabling that takes steps from before."""
    SET_ENABLED(self, enabled, now_s)
    self._last_step_s = -np.inf


def restarts_open(self: PusherReference, now_s: float) -> None:
    """A start that takes steps from before it."""
    RESTART(self, now_s)
    self._last_step_s = -np.inf


def borderless() -> AbstractContextManager[Any]:
    """Neither refused outside nor brought back inside."""
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(Region, "outside_by", return_value=np.float64(-1.0)))
    stack.enter_context(mock.patch.object(Region, "clamp", lambda _, points_m: np.asarray(points_m, dtype=float)))
    return stack


SET_ENABLED, RESTART = PusherReference.set_enabled, PusherReference.restart
CLOSED = mock.patch.object
MUTANTS = (
    Mutant("no state is ever stale", lambda: everywhere("check_age", lambda *_: None),
           (event("camera", CAMERA.index("old")), event("long_run", 15), event("long_run", 15)), "s old"),
    Mutant("no limit of a step", lambda: everywhere("check_size", lambda *_: None),
           (event("raw_step", RAW.index((0.2, 0.0))), event("run", 3)), "longer than step_limit_m"),
    Mutant("the stop of the controller is ignored", lambda: CLOSED(MpcNode, "_on_enable", without_stop),
           (event("stop", 1), event("run", 7)), "disabled, and a step"),
    Mutant("the stop of the pusher is ignored", lambda: CLOSED(PusherReference, "set_enabled", lambda *_: None),
           (event("service", 4), event("run", 7)), "disabled"),
    Mutant("NaN passes", lambda: everywhere("check_size", takes_nan),
           (event("raw_step", 4), event("run", 3)), "not finite"),
    Mutant("a reset keeps the plan under way", lambda: CLOSED(MpcNode, "_restart", keeps_plan),
           (event("plan", 2), event("run", 4), event("service", 2), event("run", 7)), "before a stop"),
    Mutant("an old step is taken after a restart", lambda: CLOSED(PusherReference, "restart", restarts_open),
           (event("service", 0), event("restart", 1), event("run", 5), event("raw_step", 0, 2)), "before the start"),
    Mutant("the workspace has no border", borderless,
           (event("service", 0), event("set", 7, 3), *(event("raw_step", 1), event("long_run", 10)) * 4),
           "outside of the workspace"),
    Mutant("a lost state does not stop a step", lambda: CLOSED(MpcNode, "_hold", lambda _: None),
           (event("camera", 3), event("long_run", 15)), "goes on"),
    Mutant("nobody watches between two plans", lambda: CLOSED(MpcNode, "_on_watch", lambda _: None),
           (event("set", 3), event("run", 7), event("camera", CAMERA.index("silent")), event("long_run", 15)),
           "missed"),
    Mutant("no cap of the acceleration", lambda: CLOSED(sgp_core.follower, "limited", lambda vector, _: vector),
           (event("run", 7),), "changes its velocity"),
    Mutant("a silent pusher sensor is not noticed", lambda: CLOSED(PusherReference, "latch_silence", lambda *_: None),
           (event("run", 6), event("source", 2), event("long_run", 15)), "not measured"),
)  # fmt: skip
