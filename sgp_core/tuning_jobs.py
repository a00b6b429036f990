"""What a trial of settings consists of: jobs that can run in any process, and what each comes to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import torch

from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.planner import Planner
from sgp_core.types import Goal, State

TIMED, SETTLED = 8, 3  # plans at most and at least, of which the fastest counts: the first ones compile


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one job came to."""

    price: float  # less is better
    figures: dict[str, float]  # for people


class Job(Protocol):
    """Something to be judged by, picklable."""

    def run(self) -> Outcome:
        """Do it; the same job gives the same outcome in whichever process."""


class Judge(Protocol):
    """What settings are judged by."""

    @property
    def about(self) -> dict[str, Any]:
        """What must be the same for two trials to be comparable; plain values."""

    def rounds(self, planner: PlannerConfig) -> list[list[Job]]:
        """The jobs of a trial in the order in which they are done, the same cases for all settings."""

    def check(self, planner: PlannerConfig) -> list[Job]:
        """Jobs of other cases, on which what was found is compared with what was there before."""


class Workers:
    """Processes that are kept from trial to trial.

    Args:
        jobs: how many; 1 works in this process, 0 means one per core.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Workers:
        if self._jobs > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, context, initializer=_begin)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._pool is None:
            return
        if kind is not None:  # what is under way is of no use any more
            for process in multiprocessing.active_children():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)

    def run(self, jobs: Sequence[Job], tell: Callable[[], None] = lambda: None) -> list[Outcome]:
        """Their outcomes, in order; `tell` is called after each. Raises InputError when a process was killed."""
        found = []
        try:
            for outcome in self._outcomes(jobs):
                found.append(outcome)
                tell()
        except BrokenProcessPool as error:
            raise InputError("a process was killed from outside, maybe for memory; give a smaller --jobs") from error
        return found

    def _outcomes(self, jobs: Sequence[Job]) -> Iterator[Outcome]:
        return map(_run, jobs) if self._pool is None else self._pool.map(_run, jobs)


def plan_ms(bundle: ModelBundle, planner: PlannerConfig, goal: Goal, enough_ms: float) -> float:
    """How long a plan takes at best [ms].

    Whatever else the machine does can only make a plan slower. So the fastest of a few counts, and on a CPU the time
    that this thread had it; there are no more once one took at most `enough_ms`.

    Args:
        bundle: networks, and states to plan from.
        planner: settings; their `budget_ms` should be 0.
        goal: of the plans [m; table].
        enough_ms: nobody needs to know it better than that.
    """
    clock = time.thread_time if planner.device == "cpu" else time.perf_counter
    solver = Planner(bundle, planner, clock)
    rest, fastest = np.zeros((planner.horizon, 2)), np.inf
    for number, row in enumerate(np.linspace(0, len(bundle.reference_x) - 1, TIMED).astype(int), start=1):
        state = State(stamp_s=0.0, x=bundle.reference_x[row])
        fastest = min(fastest, 1e3 * solver.plan(state, goal, rest, torch.Generator().manual_seed(0)).solve_s)
        if number >= SETTLED and fastest <= enough_ms:
            break
    return float(fastest)


def _run(job: Job) -> Outcome:
    return job.run()


def _begin() -> None:
    torch.set_num_threads(1)
    # Ctrl-C reaches every process of a terminal; the one that gave the jobs says what is to happen.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
