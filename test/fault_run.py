"""One fault from beginning to end, measured, and what of it breaks a promise."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from fault_scene import NotReadyError, Phase, Scene
from fault_table import MPC, PLANNER, Fault
from fault_watch import BOX, TARGET, Words
from fault_watch import PUSHER as MEASURED

from sgp_core.types import Reason

# After this long without a goal, everything that times out has done so.
GOAL_AFTER_S = 1.4
# What counts as going on: a step that moved the pusher this far.
MOVED_M = 0.003
LATER_S = 0.3  # a step sent so soon after the fault may have been planned before it
RECOVERY_S = 90.0  # the nodes of a busy machine take most of a minute to start
ATTEMPTS = 3
MEASURED_AT_LEAST = 20
DETECTION_S = 10.0  # nobody waits longer for words


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured, times since the fault or, for the recovery, since it was undone [s]."""

    name: str
    phase: str
    detected_s: float | None
    who: str
    words: str
    stopped_s: float
    goes_on: bool
    bound_s: float | None
    bound_why: str
    recovered_s: float | None
    calls: tuple[str, ...]
    steps: int
    samples: int
    problems: tuple[str, ...]
    prepared: int  # attempts it took to come into the phase
    note: str  # what was done, in figures
    cell: tuple[str, str] | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def run_fault(scene: Scene, fault: Fault) -> Outcome:
    """Bring the loop into the phase, do the fault, look, undo it, and let the loop recover."""
    attempts = _prepare(scene, fault)
    scene.watch.forget(time.time() - 3.0)
    began_s = time.time()
    said = fault.action.do(scene)
    if fault.phase == Phase.BEFORE:
        scene.observe(GOAL_AFTER_S)
        scene.give_push(behind=False)
    bound_s = 0.0 if fault.bound is None else fault.bound.seconds
    left_s = began_s + max(fault.watch_s, bound_s + 1.0 if bound_s else 0.0) - time.time()
    scene.observe(max(left_s, 0.0))
    while (heard := _detection(fault, [*said, *scene.watch.words(began_s)])) is None and fault.expect:
        if time.time() > began_s + DETECTION_S:
            break
        scene.observe(0.2)
    topic = TARGET if fault.commands else MEASURED
    stopped_s, goes_on = scene.watch.stopped_after_s(began_s, topic), _goes_on(scene, began_s)
    problems = _broken(fault, heard, stopped_s, goes_on)
    if len(scene.watch.since(topic, began_s)) < MEASURED_AT_LEAST:
        problems.append(f"too little was seen on {topic} to tell whether the pusher stands")
    undone_s = time.time()
    fault.action.undo(scene)
    calls: list[str] = []
    recovered_s: float | None = None
    try:
        calls = scene.recover(lambda: _recovered(scene, fault, undone_s), RECOVERY_S)
        recovered_s = time.time() - undone_s
    except (TimeoutError, AssertionError) as error:
        problems.append(f"not recovered: {error}")
    unsafe = scene.watch.unsafe(began_s, PLANNER, MPC.state_timeout_s, stamps=fault.stamps)
    problems += [f"unsafe: {text}" for text in unsafe]
    return Outcome(
        name=fault.name,
        phase=str(fault.phase),
        detected_s=None if heard is None else heard.at_s - began_s,
        who="" if heard is None else heard.who,
        words="" if heard is None else ": ".join(filter(None, (heard.reason, heard.text))),
        stopped_s=stopped_s,
        goes_on=goes_on,
        bound_s=None if fault.bound is None else fault.bound.seconds,
        bound_why="" if fault.bound is None else fault.bound.why,
        recovered_s=recovered_s,
        calls=tuple(calls),
        steps=len(scene.watch.moving_steps(began_s)),
        samples=len(scene.watch.since(MEASURED, began_s)),
        problems=tuple(problems),
        prepared=attempts,
        note="; ".join(words.text for words in said if words != heard),
        cell=fault.cell,
    )


def _prepare(scene: Scene, fault: Fault) -> int:
    """A busy machine may disturb the loop before the fault does; returns the attempts it took."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            scene.prepare(fault.phase)
            return attempt
        except (TimeoutError, AssertionError) as error:
            if attempt == ATTEMPTS:
                raise NotReadyError(f"{fault.label}: {error}") from error
    raise AssertionError("the loop above returns or raises")


def _detection(fault: Fault, said: list[Words]) -> Words | None:
    """The first that says what has to be said; where nothing has to be, the first complaint."""
    for words in sorted(said):
        good = words.reason in (Reason.RUNNING, Reason.GOAL_REACHED, "")
        if any(part in f"{words.reason} {words.text}" for part in fault.expect) or not (fault.expect or good):
            return words
    return None


def _broken(fault: Fault, heard: Words | None, stopped_s: float, goes_on: bool) -> list[str]:
    problems = []
    if fault.expect and heard is None:
        problems.append(f"nobody said any of {list(fault.expect)}")
    if fault.bound is not None and stopped_s > fault.bound.seconds:
        problems.append(f"stopped after {stopped_s:.2f} s, allowed are {fault.bound.seconds:.2f} ({fault.bound.why})")
    if fault.works and not goes_on:
        problems.append("no step sent under the fault has moved the pusher")
    return problems


def _goes_on(scene: Scene, began_s: float) -> bool:
    """Whether steps sent while the fault lasts still move the pusher."""
    steps = scene.watch.moving_steps(began_s + LATER_S)
    return bool(steps) and scene.watch.moved_m(steps[0].at_s) > MOVED_M


def _recovered(scene: Scene, fault: Fault, undone_s: float) -> bool:
    """A step sent after the end of the fault moves the pusher; at the goal, somebody says so again."""
    report = scene.report()
    if report is None or report.condition.reason != Reason.RUNNING:
        return False
    if scene.reason(undone_s) == Reason.GOAL_REACHED:
        return True
    steps = scene.watch.moving_steps(undone_s)
    if fault.phase == Phase.GOAL or not steps or (report.step_stamp_ns < undone_s * 1e9 and fault.stamps):
        return False
    return scene.watch.moved_m(steps[0].at_s) > MOVED_M or scene.watch.moved_m(steps[0].at_s, BOX) > MOVED_M
