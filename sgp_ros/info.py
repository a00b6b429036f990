"""`sgp info`: what is in a bundle, and how long a plan with it takes. Needs no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console

from sgp_core.bundle import load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.planner import Planner
from sgp_core.types import Goal, State
from sgp_ros.metrics_table import metrics_table
from sgp_ros.options import SetOption, bundle_path, pairs

console = Console(highlight=False)


def info(
    bundle: Annotated[Path | None, typer.Argument(help="folder of a bundle; the default bundle when left out")] = None,
    plans: Annotated[int, typer.Option(min=0, help="measure the time of so many plans at the default settings")] = 0,
    sets: SetOption = None,
    threads: Annotated[int, typer.Option(min=1, help="torch threads; more than one pays for wide networks only")] = 1,
) -> None:
    """Verify a bundle and tell what is in it: data, training, held-out figures; with --plans the time of a plan."""
    models = load_bundle(bundle_path(bundle))
    data, training = models.index["data"], models.index["training"]
    console.print(f"bundle {models.path}\nsha256 {models.sha256}")
    console.print(f"markers {', '.join(models.layout.names)}; state of {models.layout.state_size} numbers")
    console.print(
        f"data: {data['transitions']} transitions, {data['demonstrations']} demonstrations, {data['sha256'][:12]}"
    )
    console.print(f"networks: {training['layers']}x{training['hidden']}, seed {training['seed']}")
    console.print(f"steps: {models.step_duration_s:g} s, at most {models.step_limit_m:g} m along an axis")
    console.print(f"sigmas: {', '.join(f'{s:.4g}' for s in models.sigmas)}")
    console.print(metrics_table(models.metrics))
    if plans:
        torch.set_num_threads(threads)
        config = PlannerConfig().replaced(**pairs(sets))
        planner = Planner(models, config)
        goal = Goal.from_pose(models.layout, 0.71, 0.0, 0.0)
        rows = np.linspace(0, len(models.reference_x) - 1, plans + 3).astype(int)
        rest = np.zeros((config.horizon, 2))
        solved = [
            planner.plan(State(stamp_s=0.0, x=models.reference_x[r]), goal, rest, torch.Generator()).solve_s
            for r in rows
        ]
        ms = np.array(solved[3:]) * 1e3  # the first plans compile
        console.print(
            f"plan time: p50 {np.percentile(ms, 50):.0f} ms, p95 {np.percentile(ms, 95):.0f} ms over {plans} plans"
            f" (T {config.horizon}, {config.iterations} iterations, {config.restarts} restarts, {threads} thread(s))"
        )
