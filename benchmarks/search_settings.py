"""How low planners bring the same objective in about the same time, under different settings of their search.

States are drawn from the bundle's reference tuples; goals are those of suite `tuning`, which no table is measured on.
Each planner gets the same number of trials. Prints a Markdown table: python benchmarks/search_settings.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import typer

from sgp_core import suites
from sgp_core.baselines.registry import Given, contenders
from sgp_core.bundle import load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.share import share_path
from sgp_core.types import Goal, State

LOWEST_J = 1e-6  # the distance to data may be a little negative
TRIALS = {
    "sgp": (
        {},
        {"learning_rate": "0.05"},
        {"learning_rate": "0.2"},
        {"restarts": "1", "iterations": "70"},
        {"restarts": "8", "iterations": "40"},
        {"restarts": "16", "iterations": "30"},
    ),
    "cem": (
        {},
        {"elites": "16"},
        {"elites": "32"},
        {"spread": "0.4"},
        {"spread": "1.0"},
        {"samples": "128", "rounds": "15"},
    ),
    "mppi": (
        {},
        {"temperature": "0.05"},
        {"temperature": "0.2"},
        {"spread": "0.25"},
        {"spread": "0.8"},
        {"samples": "128", "rounds": "11"},
    ),
}


def main(plans: int = 24, bundle: Path | None = None) -> None:
    torch.set_num_threads(1)
    models = load_bundle(bundle or share_path("models", "default"))
    cases = suites.listed_cases(suites.TUNING, models.layout, trials=1, seed=0, limit=plans)
    rows = np.random.default_rng(0).choice(len(models.reference_x), len(cases), replace=False)
    states = [State(stamp_s=0.0, x=models.reference_x[row]) for row in rows]
    print("| planner | settings | J, geometric mean | against sgp's first | CPU time of a plan, median [ms] |")
    print("|---|---|---|---|---|")
    first = 0.0
    for name, trials in TRIALS.items():
        for changes in trials:
            # Without walks, which the others do not know: all minimise the same objective then.
            config = PlannerConfig(contacts_per_side=0).replaced(**(changes if name == "sgp" else {}))
            with tempfile.TemporaryDirectory() as folder:
                own = {} if name == "sgp" else changes
                solver = contenders({name: own}, [config], models, Given(), Path(folder))[0].solver(models)
            found, took_s = [], []
            for k, (state, case) in enumerate(zip(states, cases, strict=True)):
                goal = Goal.from_pose(models.layout, *case.goal)
                started_s = time.process_time()
                plan = solver.plan(state, goal, np.zeros((config.horizon, 2)), torch.Generator().manual_seed(k))
                took_s.append(time.process_time() - started_s)
                found.append(max(plan.objective, LOWEST_J))
            mean = float(np.exp(np.mean(np.log(found))))
            first = first or mean
            told = ", ".join(f"{key} {value}" for key, value in changes.items()) or "default"
            print(f"| {name} | {told} | {mean:.4f} | {mean / first:.2f} | {np.median(took_s) * 1e3:.0f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
