"""The figures that mpc_node shows on `status` and /diagnostics."""

from __future__ import annotations

from collections import deque

import numpy as np

from sgp_core.mpc import Decision
from sgp_core.types import Plan, Search
from sgp_ros.convert import NS
from sgp_ros.planning import Job

TIMES_KEPT = 1000
EXPECTED_FROM = 15
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
NAN = float("nan")


class PlanRecord:
    """What became of the plans so far."""

    def __init__(self) -> None:
        self.steps = 0  # steps sent
        # Cycles without a step of their own: the last plan still ran, no state came, or the node slept through them;
        # and those whose step was dropped because it came too late.
        self.missed_planning = self.missed_state = self.missed_asleep = self.late = 0
        self._plan: Plan | None = None
        self._search: Search | None = None
        self._job: Job | None = None
        self._marker_error_m = self._yaw_error_rad = NAN
        self._solve_s: deque[float] = deque(maxlen=TIMES_KEPT)
        self._waited_s = NAN
        self._wall_s: deque[float] = deque(maxlen=EXPECTED_FROM)
        self._latency_s: deque[float] = deque(maxlen=TIMES_KEPT)

    @property
    def expected_s(self) -> float:
        """How long a plan takes: the median of the last ones."""
        return float(np.median(self._wall_s)) if self._wall_s else 0.0

    def planned(self, wall_s: float, cpu_s: float) -> None:
        """A plan took so long, of which its thread had a processor for so long."""
        self._wall_s.append(wall_s)
        self._waited_s = max(wall_s - cpu_s, 0.0)

    def forget_expected(self) -> None:
        """Plans are made under other settings from now on."""
        self._wall_s.clear()

    def sent(self, latency_s: float) -> None:
        """A step went out so long after the measurement of its markers."""
        self.steps += 1
        self._latency_s.append(latency_s)

    def add(self, decision: Decision, job: Job) -> None:
        """Take the outcome of one control cycle, and what it began with."""
        self._plan, self._search, self._job = decision.plan, decision.search, job
        self._marker_error_m, self._yaw_error_rad = decision.marker_error_m, decision.yaw_error_rad
        if decision.plan is not None:
            self._solve_s.append(decision.plan.solve_s)

    def values(self) -> dict[str, object]:
        """Plan times and latencies over the last 1000, errors against the goal, objective, counters; NaN if unknown."""
        overruns = self.missed_planning + self.missed_state + self.missed_asleep
        return {
            **_spread("plan_ms", self._solve_s),
            "plan_waited_ms": self._waited_s * 1e3,  # of the last plan, for a processor or for Python's lock
            # From the measurement of the markers to the step.
            **_spread("latency_ms", self._latency_s),
            "marker_error_mm": self._marker_error_m * 1e3,
            "yaw_error_rad": self._yaw_error_rad,
            "objective": NAN if self._plan is None else self._plan.objective,
            "data_distance": NAN if self._plan is None else self._plan.data_distance,
            "iterations": 0 if self._plan is None else self._plan.iterations,
            **self._began_with(),
            "steps": self.steps,
            "missed_planning": self.missed_planning,
            "missed_state": self.missed_state,
            "missed_asleep": self.missed_asleep,
            "overruns": overruns,
            "late_steps": self.late,
            "misses": overruns + self.late,
        }

    def _began_with(self) -> dict[str, object]:
        """What a replay needs to make the same plan again, beside the state of that stamp and the last plan."""
        job, outlook = self._job, self._job.outlook if self._job else None
        motion_m = (NAN, NAN) if outlook is None else outlook.motion_m
        return {
            "planned_from_ns": 0 if job is None else round(job.state.stamp_s * NS),
            "executed": job is not None and job.executed,  # whether the pusher carried out the last step
            "motion_x_m": float(motion_m[0]),  # what the pusher does until the plan begins
            "motion_y_m": float(motion_m[1]),
            "walk": 0 if self._plan is None else self._plan.walk,  # steps round the box before it pushes
            "search": "" if self._search is None else self._search.text,  # for a place to push from
            "left": 1.0 if self._search is None else self._search.left,  # of the time of its first push
            "schedule": "" if self._plan is None else ",".join(map(str, self._plan.schedule)),  # per noise level
        }


def _spread(name: str, times_s: deque[float]) -> dict[str, float]:
    if not times_s:
        return dict.fromkeys((name, *(f"{name}_{of}" for of in (*SHARES, "max"))), NAN)
    # Sorted once: with every plan this is asked for twice, and np.percentile would take a millisecond of it.
    ordered = np.sort(np.array(times_s)) * 1e3
    shares = {f"{name}_{of}": float(ordered[round(share * (len(ordered) - 1))]) for of, share in SHARES.items()}
    return {name: times_s[-1] * 1e3, **shares, f"{name}_max": float(ordered[-1])}
