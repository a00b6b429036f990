"""`sgp bench`: the time of a plan, as ratios, as tables, as JSON and as a picture."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sgp_core.bench import PAPER_HIDDEN, SWEEPS, Bench, Case
from sgp_core.bench_plot import bench_figure
from sgp_core.bundle import load_bundle
from sgp_core.errors import InputError
from sgp_core.share import share_path

SWEEP_STATES = 3
console = Console(highlight=False)


def bench(
    bundle: Annotated[Path | None, typer.Argument(help="folder of a bundle; the default bundle when left out")] = None,
    states: Annotated[int, typer.Option(min=1, help="states planned from at the paper's settings")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="torch threads, the same for everybody")] = 2,
    hidden: Annotated[
        int, typer.Option(min=1, help="units per layer; the bundle's networks are widened without changing their plans")
    ] = PAPER_HIDDEN,
    sweeps: Annotated[bool, typer.Option(help="also over horizon, restarts, width, iterations and threads")] = True,
    seed: Annotated[int, typer.Option(min=0, help="seed of states and goals")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write everything to this file")] = None,
    plot: Annotated[Path | None, typer.Option(help="draw it to this file, .png or .svg")] = None,
) -> None:
    """Time the planner against Algorithm 1 in plain PyTorch (benchmarks/yardstick.py), in turns, medians.

    The paper's settings are T 4, 50 iterations, 10 noise levels and one start, with networks of 4x1024. `frozen` is the
    plain version with one rollout instead of two and no gradients of weights. About ten minutes with the sweeps.
    """
    if plot and plot.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"--plot {plot} must end in .png, .svg or .pdf")
    base = Case(hidden=hidden, threads=threads)
    cases = {name: [dataclasses.replace(base, **{name: v}) for v in values] for name, values in SWEEPS.items()}
    total = states + 1 + sweeps * sum(len(of_one) for of_one in cases.values()) * (SWEEP_STATES + 1)
    measured = Bench(load_bundle(bundle or share_path("models", "default")), seed)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("states", total=total)
        result: dict[str, Any] = measured.measure(base, states, lambda: bar.advance(task))
        if sweeps:
            result["sweeps"] = {
                name: [measured.measure(case, SWEEP_STATES, lambda: bar.advance(task)) for case in of_one]
                for name, of_one in cases.items()
            }
    _print(result)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    if plot:
        plot.parent.mkdir(parents=True, exist_ok=True)
        bench_figure(result).savefig(plot)
        console.print(f"picture: {plot}")


def _print(result: dict[str, Any]) -> None:
    networks = f"{result['layers']}x{result['hidden']}"
    title = (
        f"time of a plan, medians: T {result['horizon']}, {result['iterations']} iterations, {networks},"
        f" {result['threads']} thread(s)"
    )
    table = Table(title=title)
    for column in ("", "yardstick ms", "frozen ms", "plan ms", "ratio", "to frozen", "roofline"):
        table.add_column(column, justify="right")
    table.add_row("all in all", *_cells(result))
    for name, rows in result.get("sweeps", {}).items():
        table.add_section()
        for row in rows:
            table.add_row(f"{name} {row[name]}", *_cells(row))
    console.print(table)
    console.print(
        f"J of {result['states']} plans: mean {result['objective_gap']:+.2%} of the yardstick's, worst state"
        f" {result['objective_worst']:+.1%}\n{result['gflop']:.1f} Gflop and {result['read_mb']:.0f} MB of weights per"
        f" plan, which this machine could do in {result['roofline_ms']:.0f} ms; memory of this process"
        f" {result['memory_mb']:.0f} MB"
    )


def _cells(row: dict[str, Any]) -> list[str]:
    times = [f"{row[name]:.0f}" for name in ("yardstick_ms", "frozen_ms", "plan_ms")]
    return [*times, f"{row['ratio']:.1f}", f"{row['ratio_frozen']:.1f}", f"{row['roofline_fraction']:.0%}"]
