"""The figures that mpc_node shows on `status` and /diagnostics."""

from __future__ import annotations

from collections import deque

import numpy as np

from sgp_core.mpc import Decision
from sgp_core.types import Plan

TIMES_KEPT = 200
NAN = float("nan")


class PlanRecord:
    """What became of the plans so far."""

    def __init__(self) -> None:
        self.steps = 0  # steps sent
        self.overruns = 0  # cycles in which the last plan was still running
        self._plan: Plan | None = None
        self._marker_error_m = self._yaw_error_rad = NAN
        self._solve_s: deque[float] = deque(maxlen=TIMES_KEPT)

    def add(self, decision: Decision) -> None:
        """Take the outcome of one control cycle."""
        self._plan = decision.plan
        self._marker_error_m, self._yaw_error_rad = decision.marker_error_m, decision.yaw_error_rad
        if decision.plan is not None:
            self._solve_s.append(decision.plan.solve_s)

    def values(self) -> dict[str, object]:
        """Plan times over the last 200 plans, errors against the goal, objective, counters; NaN while not known."""
        solve_ms = np.asarray(self._solve_s) * 1e3 if self._solve_s else np.array([NAN])
        p50, p95 = np.percentile(solve_ms, [50.0, 95.0])
        return {
            "solve_ms": float(solve_ms[-1]),
            "plan_ms_p50": float(p50),
            "plan_ms_p95": float(p95),
            "plan_ms_max": float(solve_ms.max()),
            "marker_error_mm": self._marker_error_m * 1e3,
            "yaw_error_rad": self._yaw_error_rad,
            "objective": NAN if self._plan is None else self._plan.objective,
            "data_distance": NAN if self._plan is None else self._plan.data_distance,
            "iterations": 0 if self._plan is None else self._plan.iterations,
            "steps": self.steps,
            "overruns": self.overruns,
        }
