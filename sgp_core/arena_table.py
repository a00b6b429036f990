"""What the arena found, for people: a table by planner, and pictures of the worst runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sgp_core.arena import GOOD, Pairs, Trial, figures, grouped
from sgp_core.bundle import load_bundle
from sgp_core.evaluation import Run
from sgp_core.plots import save_figure, trajectory_figure

COLUMNS = (
    *("planner", "beta", "goals", "runs", "cost [cm^2]", "error [mm]", "yaw [deg]", "arrived", "10 mm, 5 deg"),
    *("5 mm, 3 deg", "steps", "plan p50 [ms]", "unsafe steps", "last reasons"),
)
ALL = "all"
WORST = 6  # pictures of each planner


def table(pairs: Pairs) -> list[list[str]]:
    """Rows of `COLUMNS`: for each contender one for all runs and, where cases repeat, one for each goal before it.

    "mean ± standard deviation" is over the runs. "arrived" is the controller's own judgement with a cost of at most
    5 cm^2; the other two rates are judged by the truth at the end alone.
    """
    lines = []
    for contender, own in grouped(pairs, lambda trial: trial.contender).items():
        goals = grouped(own, lambda trial: trial.case.name)
        parts = goals if 1 < len(goals) < len(own) else {}
        for name, some in {**parts, ALL if len(goals) > 1 else next(iter(goals)): own}.items():
            lines.append([contender.name, f"{contender.planner.beta:g}", name, *_cells(some)])
    return lines


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Rows of `COLUMNS` as a Markdown table."""
    rows = [COLUMNS, ["---"] * len(COLUMNS), *lines]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def save_worst(pairs: Pairs, folder: Path) -> list[Path]:
    """A picture of each contender's runs that ended furthest from their goals; the files, worst first."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, own in enumerate(grouped(pairs, lambda trial: trial.contender).values()):
        worst = sorted(own, key=lambda pair: -pair[1].error_m)[:WORST]
        for rank, (trial, run) in enumerate(worst):
            name = f"{trial.case.suite}-{number}-{trial.contender.name}-{rank}-{trial.case.name}.png"
            _draw(trial, run, folder / name)
            files.append(folder / name)
    return files


def _draw(trial: Trial, run: Run, file: Path) -> None:
    verdict = "within" if run.within(*GOOD) else "not within"
    figure = trajectory_figure(
        load_bundle(trial.bundle).layout,
        box_poses=np.array(run.box_poses),
        pusher_m=np.array(run.pusher_m),
        goal=trial.case.goal,
        title=f"{trial.case.name}, {trial.contender.name}: {run.error_m * 1e3:.1f} mm and"
        f" {np.degrees(run.yaw_rad):.1f} degrees off",
        subtitle=f"{run.steps} steps, last {run.last_reason}, {verdict} {GOOD[0] * 1e3:g} mm and {GOOD[1]:g} degrees",
    )
    save_figure(figure, file)


def _cells(pairs: Pairs) -> list[str]:
    found = figures([run for _, run in pairs])
    return [
        str(found["trials"]),
        *(f"{found[f'mean_{name}']:.2f} ± {found[f'std_{name}']:.2f}" for name in ("cost_cm2", "error_mm", "yaw_deg")),
        *(f"{found[name]:.0%}" for name in ("success_rate", "rate_10mm_5deg", "rate_5mm_3deg")),
        f"{found['mean_steps']:.1f}",
        f"{found['plan_ms_p50']:.0f}",
        str(found["unsafe_steps"]),
        ", ".join(f"{reason} {count}" for reason, count in found["last_reasons"].items()),
    ]
