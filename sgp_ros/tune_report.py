"""What `sgp tune` says and writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from rich.table import Table

from sgp_core.config import PlannerConfig
from sgp_core.files import write_text
from sgp_core.tuning import ABOUT, Comparison, finished, means
from sgp_core.tuning_jobs import Outcome
from sgp_core.tuning_plot import tuning_figure
from sgp_core.tuning_space import Space

PARAMS, PICTURE, TRIALS = FILES = ("params.yaml", "tune.png", "trials.json")
HEADINGS = {"cost_cm2": "cost (cm^2)", "success": "success", "steps": "steps", "off_mm": "off the best step (mm)"}


def write_all(
    out: Path,
    study: Study,
    space: Space,
    best: FrozenTrial,
    parameters: Mapping[str, object],
    verdict: str,
    comparison: Comparison | None,
) -> None:
    """params.yaml, tune.png and trials.json in a folder.

    Args:
        out: the folder.
        study: with all trials.
        space: what was tuned.
        best: the trial whose settings are written.
        parameters: what mpc_node had beside the tuned settings.
        verdict: what is to be thought of it.
        comparison: with the base, where there was one.
    """
    found = space.settings(best.params)
    head = f"study {study.study_name}, {finished(study)} trials, of which number {best.number} is the best"
    write_text(out / PARAMS, params_text(found, space, parameters, [head, verdict]), force=True)
    tuning_figure(study, space.ranges, best, f"{head}: price {best.value:.3f}").savefig(out / PICTURE)
    told = {
        "study": study.study_name,
        "about": study.user_attrs[ABOUT],
        "best": best.number,
        "settings": {name: found.to_dict()[name] for name in space.names},
        "verdict": verdict,
        "comparison": _comparison(comparison),
        "trials": [_row(trial, space) for trial in study.trials],
    }
    write_text(out / TRIALS, json.dumps(told, indent=1, allow_nan=True) + "\n", force=True)


def params_text(found: PlannerConfig, space: Space, parameters: Mapping[str, object], remarks: list[str]) -> str:
    """A parameter file for mpc_node.

    Args:
        found: the planner's settings.
        space: what was tuned.
        parameters: other parameters of the node.
        remarks: lines on top.
    """
    values = {**parameters, **{name: found.to_dict()[name] for name in space.names}}
    # Under /**/ the node may live in any namespace.
    body = yaml.safe_dump(
        {"/**/mpc_node": {"ros__parameters": values}}, sort_keys=False, default_flow_style=None, width=120
    )
    use = "For mpc_node: ros2 launch ... params_file:=params.yaml, sgp demo --params-file params.yaml"
    return "\n".join([*(f"# {line}" for line in [*remarks, use]), body])


def _row(trial: FrozenTrial, space: Space) -> dict[str, Any]:
    complete = {one.name for one in space.ranges} <= trial.params.keys()
    settings = space.settings(trial.params) if complete else None
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "price": trial.value if trial.state is TrialState.COMPLETE else None,
        "prices": list(trial.intermediate_values.values()),
        "settings": {name: settings.to_dict()[name] for name in space.names} if settings else None,
        **{key: value for key, value in trial.user_attrs.items() if key != "sigmas"},
    }


def _comparison(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    sides = {"base": comparison.base, "found": comparison.found}
    prices = {name: [one.price for one in outcomes] for name, outcomes in sides.items()}
    return {"p": comparison.p, "prices": prices, **{f"{name}_means": means(o) for name, o in sides.items()}}


def comparison_table(comparison: Comparison, count: int) -> Table:
    """Base against found, mean ± standard deviation."""
    table = Table(title=f"on {count} other cases, mean ± standard deviation", title_justify="left")
    table.add_column("settings")
    table.add_column("price", justify="right")
    for name in comparison.base[0].figures:
        table.add_column(HEADINGS[name], justify="right")
    for label, outcomes in (("as given", comparison.base), ("best of the study", comparison.found)):
        table.add_row(label, _spread([one.price for one in outcomes]), *_figures(outcomes))
    return table


def _figures(outcomes: list[Outcome]) -> list[str]:
    cells = []
    for name in outcomes[0].figures:
        values = [one.figures[name] for one in outcomes]
        cells.append(f"{np.mean(values):.0%}" if name == "success" else _spread(values))
    return cells


def _spread(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def settings_table(base: PlannerConfig, found: PlannerConfig, space: Space) -> Table:
    """What was tuned, before and after."""
    table = Table(title="settings", title_justify="left")
    for column in ("", "as given", "best of the study"):
        table.add_column(column, justify="left" if not column else "right")
    for name in space.names:
        table.add_row(name, *(_shown(config.to_dict()[name]) for config in (base, found)))
    return table


def _shown(value: object) -> str:
    if value == [0.0]:
        return "all"
    return ", ".join(f"{v:.3g}" for v in value) if isinstance(value, list) else f"{value:g}"
