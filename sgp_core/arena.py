"""Many closed loops over planners, cases and seeds, spread over the cores, and their rows."""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgp_core.baselines.registry import Contender
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.evaluation import Run, run_loop
from sgp_core.goals import Pose
from sgp_core.mpc import Solver
from sgp_core.planner import Planner
from sgp_core.run_cost import MAX_STEPS
from sgp_core.suites import Case
from sgp_core.types import Goal, State

GOOD, FINE = (0.010, 5.0), (0.005, 3.0)  # mean marker error [m] and yaw error [deg] at the end
Pairs = Sequence[tuple["Trial", Run]]  # trials and what came of them


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One closed loop to be run, picklable."""

    bundle: Path
    contender: Contender
    mpc: MpcConfig
    case: Case
    seed: int  # the suite's
    max_steps: int = MAX_STEPS

    def run(self) -> Run:
        """Run it; the case fixes everything random, whatever the planner."""
        bundle, case = _bundle(self.bundle), self.case
        return run_loop(
            bundle,
            self.contender.planner,
            self.mpc,
            case.sim,
            Goal.from_pose(bundle.layout, *case.goal),
            case.box,
            case.pusher_m,
            solver=_solver(self.contender, self.bundle),
            camera=case.camera,
            max_steps=self.max_steps,
        )


@functools.lru_cache(maxsize=4)
def _bundle(path: Path) -> ModelBundle:
    return load_bundle(path)


@functools.lru_cache(maxsize=4)
def _solver(contender: Contender, path: Path) -> Solver:
    """Kept, because to compile one takes as long as to run with it, and it holds nothing from plan to plan.

    Its first plan is thrown away: in that one a part of the time for a plan would go into compiling.
    """
    bundle, config = _bundle(path), contender.planner
    solver, x = contender.solver(bundle), bundle.reference_x[0]
    goal = Goal(markers_m=bundle.layout.markers(x) + 0.1)
    solver.plan(State(stamp_s=0.0, x=x), goal, np.zeros((config.horizon, 2)), torch.Generator().manual_seed(0))
    return solver


def trials_of(
    bundle: Path,
    contenders: Sequence[Contender],
    mpc: MpcConfig,
    cases: Sequence[Case],
    seed: int,
    max_steps: int = MAX_STEPS,
) -> list[Trial]:
    """Every case for every contender."""
    return [
        Trial(bundle=bundle, contender=contender, mpc=mpc, case=case, seed=seed, max_steps=max_steps)
        for contender in contenders
        for case in cases
    ]


def run_all(trials: list[Trial], jobs: int = 0, progress: Callable[[], None] = lambda: None) -> Pairs:
    """Run trials in `jobs` processes (0: one per core); without a time budget, how many changes nothing."""
    with ProcessPoolExecutor(jobs or os.cpu_count(), get_context("spawn"), initializer=_one_thread) as pool:
        return list(zip(trials, _counted(pool.map(Trial.run, trials), progress), strict=True))


def rows(pairs: Pairs, bundle_sha256: str) -> list[dict[str, Any]]:
    """One row per contender and case; the standard deviations are over the trials."""
    return [
        {
            "suite": some[0][0].case.suite,
            "planner": contender.name,
            "goal": name,
            "beta": contender.planner.beta,
            "seed": some[0][0].seed,
            **figures([run for _, run in some]),
            "bundle_sha256": bundle_sha256,
        }
        for (contender, name), some in grouped(pairs, lambda trial: (trial.contender, trial.case.name)).items()
    ]


def figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Means, spreads and rates of some runs."""
    plan_s = [s for run in runs for s in run.plan_s]
    cost = [run.cost_cm2 for run in runs]
    error_mm = [run.error_m * 1e3 for run in runs]
    yaw_deg = [float(np.degrees(run.yaw_rad)) for run in runs]
    return {
        "trials": len(runs),
        "mean_cost_cm2": float(np.mean(cost)),
        "std_cost_cm2": _spread(cost),
        "mean_error_mm": float(np.mean(error_mm)),
        "std_error_mm": _spread(error_mm),
        "mean_yaw_deg": float(np.mean(yaw_deg)),
        "std_yaw_deg": _spread(yaw_deg),
        "success_rate": float(np.mean([run.success for run in runs])),
        "rate_10mm_5deg": float(np.mean([run.within(*GOOD) for run in runs])),
        "rate_5mm_3deg": float(np.mean([run.within(*FINE) for run in runs])),
        "mean_steps": float(np.mean([run.steps for run in runs])),
        "plan_ms_p50": float(np.median(plan_s) * 1e3) if plan_s else 0.0,
        "unsafe_steps": sum(run.unsafe_steps for run in runs),
        "last_words": [run.last_words for run in runs if not run.arrived],
        "last_reasons": dict(sorted(Counter(str(run.last_reason) for run in runs).items())),
    }


def grouped(pairs: Pairs, by: Callable[[Trial], Any]) -> dict[Any, Pairs]:
    """Trials with their runs by something of the trial, in the order in which it first appears."""
    groups: dict[Any, list[tuple[Trial, Run]]] = {}
    for trial, run in pairs:
        groups.setdefault(by(trial), []).append((trial, run))
    return dict(groups)


def gradient_ratios(
    bundle_path: Path, planner: PlannerConfig, cases: Sequence[tuple[State, Pose]]
) -> list[tuple[float, float, float]]:
    """How hard the penalty pulls on the actions, against the task, at each noise level.

    Args:
        bundle_path: models.
        planner: settings.
        cases: states, each with its goal.

    Returns:
        Per level: sigma, and the median over `cases` of ||grad penalty|| / ||grad task|| with respect to u_0..u_T-1,
        once for resting actions, where the first plan begins, and once for the pushes that the planner ends with.
    """
    bundle = load_bundle(bundle_path)
    solver = Planner(bundle, planner)
    rest = np.zeros((planner.horizon, 2))
    asked, planned = [], []
    for state, pose in cases:
        goal = Goal.from_pose(bundle.layout, *pose)
        plan = solver.plan(state, goal, rest, torch.Generator().manual_seed(0))
        asked.append((state, goal, rest))
        planned.append((State(stamp_s=state.stamp_s, x=plan.x[plan.walk]), goal, plan.u[plan.walk :]))
    out = []
    for level in solver.levels:
        at_rest, at_plan = (
            [solver.gradient_ratio(state, goal, u, level) for state, goal, u in some] for some in (asked, planned)
        )
        out.append((bundle.sigmas[level], float(np.median(at_rest)), float(np.median(at_plan))))
    return out


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _counted(results: Iterator[Run], progress: Callable[[], None]) -> Iterator[Run]:
    for result in results:
        progress()
        yield result


def _one_thread() -> None:
    # The networks are small: one core per process beats several cores per network.
    torch.set_num_threads(1)
