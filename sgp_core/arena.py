"""Many closed loops over goals, settings and seeds, spread over the cores, and their table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgp_core.bundle import load_bundle
from sgp_core.config import MpcConfig, PlannerConfig, SimConfig
from sgp_core.evaluation import Run, run_loop
from sgp_core.goals import Pose
from sgp_core.planner import Planner
from sgp_core.types import Goal, State

SUITE, PLANNER = "paper", "sgp"
BOX_START: Pose = (0.50, 0.0, 0.0)
# A hand puts the box back to its start no better than this; without it every trial would be the same.
START_SPREAD = (0.002, 0.002, 0.02)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One closed loop to be run, picklable."""

    bundle: Path
    planner: PlannerConfig
    mpc: MpcConfig
    sim: SimConfig
    goal_name: str
    goal: Pose
    seed: int
    number: int

    def run(self) -> Run:
        """Run it; the seed and the trial's number fix start and noise, whatever the goal and the settings."""
        random = np.random.default_rng((self.seed, self.number))
        box = np.asarray(BOX_START) + random.normal(0.0, 1.0, 3) * START_SPREAD
        bundle = load_bundle(self.bundle)
        return run_loop(
            bundle,
            self.planner,
            self.mpc,
            self.sim.replaced(seed=int(random.integers(2**31))),
            Goal.from_pose(bundle.layout, *self.goal),
            (float(box[0]), float(box[1]), float(box[2])),
        )


def trials_of(
    bundle: Path, planners: list[PlannerConfig], mpc: MpcConfig, goals: dict[str, Pose], trials: int, seed: int
) -> list[Trial]:
    """The standard case for every setting, goal and trial."""
    return [
        Trial(bundle=bundle, planner=p, mpc=mpc, sim=SimConfig(), goal_name=name, goal=goal, seed=seed, number=n)
        for p in planners
        for name, goal in goals.items()
        for n in range(trials)
    ]


def run_all(trials: list[Trial], jobs: int = 0, progress: Callable[[], None] = lambda: None) -> list[Run]:
    """Run trials in `jobs` processes (0: one per core); the result does not depend on how many."""
    with ProcessPoolExecutor(jobs or os.cpu_count(), get_context("spawn"), initializer=_one_thread) as pool:
        return list(_counted(pool.map(Trial.run, trials), progress))


def rows(trials: list[Trial], runs: list[Run], bundle_sha256: str) -> list[dict[str, Any]]:
    """One row per setting and goal; the standard deviation is over the trials."""
    groups: dict[tuple[PlannerConfig, str], list[tuple[Trial, Run]]] = {}
    for trial, run in zip(trials, runs, strict=True):
        groups.setdefault((trial.planner, trial.goal_name), []).append((trial, run))
    return [_row(planner, name, pairs, bundle_sha256) for (planner, name), pairs in groups.items()]


def gradient_ratios(
    bundle_path: Path, planner: PlannerConfig, goal: Pose, states: list[State]
) -> list[tuple[float, float, float]]:
    """How hard the penalty pulls on the actions, against the task, at each noise level.

    Returns:
        Per level: sigma, and the median over `states` of ||grad penalty|| / ||grad task|| with respect to u_0..u_T-1,
        once for resting actions, where the first plan begins, and once for the plan that the planner ends with.
    """
    bundle = load_bundle(bundle_path)
    solver = Planner(bundle, planner)
    target = Goal.from_pose(bundle.layout, *goal)
    rest = np.zeros((planner.horizon, 2))
    plans = [solver.plan(state, target, rest, torch.Generator().manual_seed(0)) for state in states]
    out = []
    for level in solver.levels:
        at_rest = [solver.gradient_ratio(state, target, rest, level) for state in states]
        at_plan = [
            solver.gradient_ratio(state, target, plan.u, level) for state, plan in zip(states, plans, strict=True)
        ]
        out.append((bundle.sigmas[level], float(np.median(at_rest)), float(np.median(at_plan))))
    return out


def _row(planner: PlannerConfig, name: str, pairs: list[tuple[Trial, Run]], bundle_sha256: str) -> dict[str, Any]:
    runs = [run for _, run in pairs]
    costs = [run.cost_cm2 for run in runs]
    plan_s = [s for run in runs for s in run.plan_s]
    return {
        "suite": SUITE,
        "planner": PLANNER,
        "goal": name,
        "beta": planner.beta,
        "seed": pairs[0][0].seed,
        "trials": len(runs),
        "mean_cost_cm2": float(np.mean(costs)),
        "std_cost_cm2": float(np.std(costs, ddof=1)) if len(costs) > 1 else 0.0,
        "success_rate": float(np.mean([run.success for run in runs])),
        "mean_steps": float(np.mean([run.steps for run in runs])),
        "plan_ms_p50": float(np.median(plan_s) * 1e3) if plan_s else 0.0,
        "bundle_sha256": bundle_sha256,
    }


def _counted(results: Iterator[Run], progress: Callable[[], None]) -> Iterator[Run]:
    for result in results:
        progress()
        yield result


def _one_thread() -> None:
    # The networks are small: one core per process beats several cores per network.
    torch.set_num_threads(1)
