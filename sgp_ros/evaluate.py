"""`sgp evaluate`: planners on suites of closed loops, without ROS."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sgp_core import arena, arena_table, suites
from sgp_core.baselines.registry import KINDS, Given, contenders
from sgp_core.bundle import load_bundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.files import write_text
from sgp_core.goals import Pose, find_goal, load_goals
from sgp_core.layout import MarkerLayout
from sgp_core.run_cost import MAX_STEPS
from sgp_ros.options import BundleOption, SeedOption, bundle_path, pairs
from sgp_ros.progress import progress_bar

GOALS, PAPER_TRIALS = "left,center,right", 5
WIDTH = 110  # columns of the table
PLANNERS = "; ".join(f"{name}: {kind.about}" for name, kind in KINDS.items())
console = Console(highlight=False)


def evaluate(
    suite: Annotated[str, typer.Option(help=f"{', '.join(suites.SUITES)}; docs/quality.md describes them")] = (
        suites.PAPER
    ),
    planner: Annotated[
        str,
        typer.Option(help=f"{PLANNERS}; several by comma"),
    ] = "sgp",
    goals: Annotated[
        str | None, typer.Option(help=f"suite paper: names of goals by comma, or a YAML file  [default: {GOALS}]")
    ] = None,
    trials: Annotated[int, typer.Option(min=0, help="closed loops per goal and planner; 0: paper 5, others 1")] = 0,
    start: Annotated[str, typer.Option(help="suite paper: where the box starts, x,y,yaw in m and rad")] = "0.5,0,0",
    pusher: Annotated[
        str, typer.Option(help="suite paper: where the pusher starts, x,y in m; behind the box when left out")
    ] = "",
    limit: Annotated[int, typer.Option(min=0, help="other suites: only the first so many cases; 0 for all")] = 0,
    beta: Annotated[
        str, typer.Option(help="weight of the distance to data; several by comma")
    ] = f"{PlannerConfig().beta:g}",
    data: Annotated[Path | None, typer.Option(help="what the bundle was trained on, for planner cloning")] = None,
    ensemble: Annotated[
        Path | None, typer.Option(help="folder of bundles of the same data and other seeds, for planner ensemble")
    ] = None,
    budget_ms: Annotated[float, typer.Option(min=0.0, help="time of one plan, for every planner; 0: no limit")] = 0.0,
    steps: Annotated[int, typer.Option(min=1, help="a run ends after so many at the latest")] = MAX_STEPS,
    seed: SeedOption = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write a row per planner and goal")] = None,
    markdown: Annotated[Path | None, typer.Option(help="write the table, in Markdown")] = None,
    worst: Annotated[
        Path | None, typer.Option(help=f"folder for pictures of each planner's {arena_table.WORST} worst runs")
    ] = None,
    bundle: BundleOption = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", help="setting of planners, such as horizon=6, of one, or of the controller; repeatable"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="processes; 0 for one per core")] = 0,
    gradients: Annotated[bool, typer.Option(help="also show how hard the penalty pulls, per noise level")] = False,
) -> None:
    """Closed loops without ROS, many times faster than real time, as a table like the paper's Table 3."""
    path = bundle_path(bundle)
    models = load_bundle(path)
    began = suites.start_of(find_goal(start).pose, pusher)
    cases = _cases(suite, models.layout, goals, trials, limit, seed, began)
    own, settings, mpc = _settings(planner.split(","), beta.split(","), budget_ms, pairs(sets))
    with tempfile.TemporaryDirectory(prefix="sgp_evaluate_") as folder:
        rivals = contenders(own, settings, models, Given(data=data, ensemble=ensemble), Path(folder))
        for rival in rivals:
            rival.solver(models)  # refuses what does not fit the bundle before the work starts
        todo = arena.trials_of(path, rivals, mpc, cases, seed, steps)
        with progress_bar(console) as bar:
            task = bar.add_task("closed loops", total=len(todo))
            done = arena.run_all(todo, jobs, lambda: bar.advance(task))
    lines = arena_table.table(done)
    _print(lines)
    if json_file:
        write_text(json_file, json.dumps(arena.rows(done, models.sha256), indent=1) + "\n", force=True)
    if markdown:
        write_text(markdown, arena_table.markdown(lines), force=True)
    if worst:
        console.print(f"{len(arena_table.save_worst(done, worst))} pictures: {worst}")
    if gradients:
        for rival in (rival for rival in rivals if rival.name == "sgp" and rival.planner.beta > 0.0):
            met = [(s, t.case.goal) for t, r in done if t.contender == rival for s in r.states[:6]]
            _print_ratios(rival.planner, arena.gradient_ratios(path, rival.planner, met[:60]))


def _cases(
    suite: str, layout: MarkerLayout, goals: str | None, trials: int, limit: int, seed: int, start: suites.Start
) -> list[suites.Case]:
    if suite not in suites.SUITES:
        raise InputError(f"--suite {suite} is not known; choose one of {', '.join(suites.SUITES)}")
    if suite == suites.PAPER:
        if limit:
            raise InputError(f"--limit {limit}: suite {suite} has no list; choose with --goals and --trials")
        return suites.paper_cases(_goals(goals or GOALS), trials or PAPER_TRIALS, seed, start)
    if start != suites.Start():
        raise InputError(f"--start, --pusher: suite {suite} has starts of its own; leave them out, or take suite paper")
    if goals is not None:
        raise InputError(f"--goals {goals}: suite {suite} has goals of its own; leave it out, or take suite paper")
    return suites.listed_cases(suite, layout, trials or 1, seed, limit)


def _goals(text: str) -> dict[str, Pose]:
    if text.endswith((".yaml", ".yml")):
        return {name: goal.pose for name, goal in load_goals(Path(text)).items()}
    return {name: find_goal(name).pose for name in text.split(",")}


def _settings(
    names: list[str], betas: list[str], budget_ms: float, given: dict[str, str]
) -> tuple[dict[str, dict[str, str]], list[PlannerConfig], MpcConfig]:
    """Planners with changes to their own settings (`--set` with a dot), what all have in common, and the controller."""
    for name, option in (("beta", "--beta, several joined by commas"), ("budget_ms", "--budget-ms")):
        if name in given:
            raise InputError(f"--set {name}=...: evaluate takes it as {option}")
    own: dict[str, dict[str, str]] = {name: {} for name in names}
    for key in [key for key in given if "." in key]:
        name, _, field = key.partition(".")
        if name not in own:
            raise InputError(f"--set {key}: {name} is not one of --planner {','.join(names)}")
        own[name][field] = given.pop(key)
    controller = {field.name for field in dataclasses.fields(MpcConfig)}
    mpc = MpcConfig().replaced(**{key: value for key, value in given.items() if key in controller})
    common = {key: value for key, value in given.items() if key not in controller}
    base = PlannerConfig().replaced(**common, budget_ms=budget_ms)
    return own, [base.replaced(beta=value) for value in dict.fromkeys(betas)], mpc


def _print(lines: list[list[str]]) -> None:
    """The most of the table that a terminal holds; a narrow one wraps its lines, rather than lose figures."""
    table = Table(title="means over runs; success: arrived, 10 mm, 5 mm", box=None, padding=(0, 1, 0, 0))
    for column in ("planner", "goals", "runs", "cm^2", "mm", "deg", "success", "steps", "ms", "unsafe"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, weight, goals, runs, cost, error, yaw, *rates, steps, ms, unsafe, _ in lines:
        means = (cost.replace(" ± ", "±"), *(value.split(" ")[0] for value in (error, yaw)))
        table.add_row(f"{name} {weight}", goals, runs, *means, " ".join(rates), steps, ms, unsafe)
    Console(highlight=False, width=max(console.width, WIDTH)).print(table)


def _print_ratios(config: PlannerConfig, ratios: list[tuple[float, float, float]]) -> None:
    table = Table(title=f"||penalty gradient|| / ||task gradient||, median, beta {config.beta:g}")
    for column in ("sigma", "at rest", "at the plan"):
        table.add_column(column, justify="right")
    for sigma, rest, plan in ratios:
        table.add_row(f"{sigma:.4g}", f"{rest:.3f}", f"{plan:.3f}")
    console.print(table)
