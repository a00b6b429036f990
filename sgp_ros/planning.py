"""The thread that plans, so that the executor's thread is free for messages, parameters and watchdogs."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from sgp_core.mpc import Controller, Decision
from sgp_core.prediction import Outlook
from sgp_core.safety import Fault
from sgp_core.types import Goal, MpcCarry, Reason, State


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that one plan needs; nothing is shared with the thread that made it."""

    controller: Controller
    state: State
    goal: Goal
    carry: MpcCarry
    executed: bool
    outlook: Outlook | None
    generation: int  # a result of an older generation is thrown away


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a job: a decision, or the error that prevented it."""

    job: Job
    decision: Decision | None
    error: Exception | None
    wall_s: float
    cpu_s: float  # of that, how long the planner's thread had a processor

    def blamed(self, refused: Fault) -> Fault:
        """A state can be too old because the driver is slow, or because planning is: tell which."""
        if refused.reason != Reason.STALE_STATE:
            return refused
        return Fault(reason=refused.reason, text=f"{refused.text}; planning from it took {self.wall_s:.3f} s of that")


class PlanWorker:
    """One thread, at most one job at a time.

    Args:
        torch_threads: threads torch may use inside a plan; set here because torch keeps the number per thread.
        on_done: called from the worker's thread when an outcome waits in `take()`.
    """

    def __init__(self, torch_threads: int, on_done: Callable[[], object]) -> None:
        self._torch_threads = torch_threads
        self._on_done = on_done
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._idle = threading.Event()
        self._idle.set()
        # A daemon, so that a plan which does not end cannot keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="planner", daemon=True)
        self._thread.start()

    @property
    def thread_id(self) -> int:
        """The kernel's number of its thread."""
        return self._thread.native_id or 0

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return not self._idle.is_set()

    def submit(self, job: Job) -> None:
        """Start a job; only while none is running."""
        assert not self.busy, "callers look first"
        self._idle.clear()
        self._jobs.put(job)

    def take(self) -> Outcome | None:
        """The oldest outcome not taken yet."""
        try:
            return self._outcomes.get_nowait()
        except queue.Empty:
            return None

    def wait(self) -> Outcome:
        """Block until there is an outcome; for the warm-up only."""
        return self._outcomes.get()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False when a plan did not end in time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        torch.set_num_threads(self._torch_threads)
        while (job := self._jobs.get()) is not None:
            started_s, before_s = time.perf_counter(), time.thread_time()
            decision, failure = None, None
            try:
                decision = job.controller.control(
                    job.state, job.goal, job.carry, executed=job.executed, outlook=job.outlook
                )
            except Exception as error:  # whatever a model does, the node has to report it and hold
                failure = error
            wall_s, cpu_s = time.perf_counter() - started_s, time.thread_time() - before_s
            self._outcomes.put(Outcome(job=job, decision=decision, error=failure, wall_s=wall_s, cpu_s=cpu_s))
            self._idle.set()
            self._on_done()
