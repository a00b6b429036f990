"""`sgp check`: whether a model can be trusted, before it moves an arm. Needs no ROS."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sgp_core.bundle import load_bundle
from sgp_core.check_config import CheckConfig, Verdict
from sgp_core.check_plot import figures
from sgp_core.check_report import html_text, json_text
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.files import write_text
from sgp_core.goals import NamedGoal, find_goal, load_goals
from sgp_core.model_check import Findings, check_model
from sgp_core.share import share_path
from sgp_ros.options import pairs

COLOURS = {Verdict.PASS: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
MARK = "<title>Check of "  # an earlier report may be replaced, anything else may not
console = Console(highlight=False)


def check(
    bundle: Annotated[Path | None, typer.Argument(help="folder of a bundle; the default bundle when left out")] = None,
    *,
    data: Annotated[Path, typer.Option(help=".npz file the bundle was trained on, or another one of the same box")],
    goals: Annotated[
        str, typer.Option(help="names of config/goals.yaml joined by commas, one x,y,yaw in m and rad, or a YAML file")
    ] = "left,center,right",
    start: Annotated[str, typer.Option(help="where the box will start: x,y,yaw in m and rad")] = "0.5,0,0",
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for report.html and check.json")] = Path("out/check"),
    seed: Annotated[int, typer.Option(min=0, help="of noise, plans and estimates; the same seed, the same report")] = 0,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="a threshold, such as share_least=0.95; docs/data.md has them all")
    ] = None,
) -> None:
    """Check a model before you trust it; exit code 0 when no check failed, 1 when one did, 2 for bad input.

    Demonstrations that the model was not trained on judge: error of one and of four predicted steps; whether descending
    the score from every noise level ends at data and puts torn markers together again (Fig. 4B of the paper); whether
    plans keep the box rigid, with and without the penalty (4C, 4D); how far start and goals are from the data; and
    whether the bound on the model's error (Prop. 2) holds. Each bad check says what to do. report.html is one file
    with pictures that can be mailed; the report of an earlier check in the same folder is replaced.
    """
    torch.set_num_threads(1)
    config = CheckConfig().replaced(**pairs(sets))
    report, figures_file = out / "report.html", out / "check.json"
    if report.exists() and MARK not in report.read_text(encoding="utf-8", errors="replace")[:1000]:
        raise InputError(f"{report} is no report of `sgp check`; give another folder with --out")
    if figures_file.exists() and not report.exists():
        raise InputError(f"{figures_file} is there without a report of `sgp check`; give another folder with --out")
    models = load_bundle(bundle or share_path("models", "default"))
    wanted, began = _goals(goals), find_goal(start)
    transitions = Transitions.load(data)
    with console.status("checking") as status:
        found = check_model(
            *(models, transitions, began, wanted, config),
            seed=seed,
            progress=lambda stage: status.update(f"checking: {stage}"),
        )
        write_text(report, html_text(found, figures(found), data.name), force=True)
        write_text(figures_file, json_text(found), force=True)
    _print(found)
    console.print(f"report: {escape(str(report))}")
    raise typer.Exit(1 if found.verdict == Verdict.FAIL else 0)


def _goals(text: str) -> dict[str, NamedGoal]:
    if text.endswith((".yaml", ".yml")):
        return load_goals(Path(text))
    parts = text.split(",")
    try:
        float(parts[0])
    except ValueError:
        return {name: find_goal(name) for name in parts}
    return {text: find_goal(text)}


def _print(found: Findings) -> None:
    table = Table(title=f"check of {escape(str(found.bundle.path))}", title_justify="left", show_lines=True)
    for column in ("check", "", "measured", "threshold"):
        table.add_column(column)
    for one in found.checks:
        colour = COLOURS[one.verdict]
        remedy = f"\n[{colour}]{escape(one.remedy)}[/]" if one.remedy else ""
        table.add_row(one.name, f"[{colour}]{one.verdict}[/]", escape(one.measured) + remedy, escape(one.threshold))
    console.print(table)
    console.print(
        f"[{COLOURS[found.verdict]}]{found.verdict}[/]: {sum(c.verdict == Verdict.PASS for c in found.checks)}"
        f" of {len(found.checks)} checks passed"
    )
