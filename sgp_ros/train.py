"""`sgp train`: from transitions to a verified bundle, with curves and a report."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sgp_core.bundle import ModelBundle
from sgp_core.bundle_index import INDEX
from sgp_core.checkpoint import Checkpoint
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.export import train_bundle
from sgp_core.fitting import Check
from sgp_core.train_config import PRESETS, TrainConfig
from sgp_core.training_plot import training_figure
from sgp_core.trust import trust
from sgp_ros.metrics_table import metrics_table, rows
from sgp_ros.options import pairs

INTERRUPTED = 130
CURVES = "events.out.tfevents.*"
REPORTS = ("report.md", "training.png")
console = Console(highlight=False)


def train(
    data: Annotated[Path, typer.Argument(help=".npz file of `sgp collect` or `sgp dataset from-bag`")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the bundle to write")],
    preset: Annotated[str, typer.Option(help="small (the default bundle) or paper (4x1024)")] = "small",
    seed: Annotated[int, typer.Option(min=0, help="seed; the same seed gives the same result")] = 0,
    sets: Annotated[list[str] | None, typer.Option("--set", help="training setting, such as steps=4000")] = None,
    threads: Annotated[int, typer.Option(min=1, help="torch threads; more than one pays for much data only")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU when there is one")] = "auto",
    log: Annotated[
        Path | None, typer.Option(help="folder for TensorBoard, report.md and training.png  [default: OUT/training]")
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="replace the bundle, or the interrupted training of other settings, that is there"
        ),
    ] = False,
) -> None:
    """Train dynamics and score, measure them on demonstrations held out, write a verified bundle.

    Training stops when held-out demonstrations gain nothing any more. Interrupted, it goes on from where it was when
    the same command is given again. `tensorboard --logdir OUT/training` shows the curves meanwhile.
    """
    if preset not in PRESETS:
        raise InputError(f"--preset {preset} is not known; choose one of {', '.join(PRESETS)}")
    config = PRESETS[preset].replaced(seed=seed, **pairs(sets))
    device = _device(device)
    log = log or out / "training"
    if (out / INDEX).exists() and not overwrite:
        raise InputError(f"{out} holds a bundle already; give another folder with --out, or --overwrite to replace it")
    if not overwrite and (there := [log / name for name in REPORTS if (log / name).exists()]):
        raise InputError(
            f"{there[0]} is of another training; give another folder with --log, or --overwrite to replace it"
        )
    transitions = Transitions.load(data)
    about = {"data": transitions.sha256, "device": device, **config.to_dict()}
    # In a folder that several trainings share nobody knows whose curves are whose.
    replaced, given_up = _curves(log) if overwrite and log == out / "training" else ([], [])
    checkpoint = _checkpoint(log / "checkpoint.pt", about, overwrite)
    if not checkpoint.steps:
        _remove(given_up)
    if checkpoint.steps:
        told = ", ".join(f"{name} after step {step}" for name, step in checkpoint.steps.items())
        console.print(f"going on with an interrupted training: {told}")
    torch.set_num_threads(threads)
    began_s = time.perf_counter()
    # SIGINT too: a shell starts its background jobs with SIGINT ignored.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        bundle, checks = _trained(transitions, out, config, device, log, checkpoint)
    except KeyboardInterrupt:
        kept = "the same command goes on from the last check" if checkpoint.steps else "nothing was written yet"
        console.print(f"interrupted; {kept}")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    checkpoint.remove()
    _remove(replaced)  # only now: what was there was good until its successor stood
    _report(log, out, bundle, checks, time.perf_counter() - began_s)


def _checkpoint(file: Path, about: dict[str, Any], overwrite: bool) -> Checkpoint:
    try:
        return Checkpoint(file, about)
    except InputError:
        if not overwrite:
            raise
        file.unlink()
        return Checkpoint(file, about)


def _curves(log: Path) -> tuple[list[Path], list[Path]]:
    """TensorBoard's files of the bundle that is there, and of a training that never ended."""
    curves, report = list(log.glob(CURVES)), log / "report.md"  # which is the last that a training writes
    ended_s = report.stat().st_mtime if report.exists() else 0.0
    return (
        [file for file in curves if file.stat().st_mtime <= ended_s],
        [file for file in curves if file.stat().st_mtime > ended_s],
    )


def _remove(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {name} is not known; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device; leave it out, or install torch for CUDA")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def _trained(
    data: Transitions, out: Path, config: TrainConfig, device: str, log: Path, checkpoint: Checkpoint
) -> tuple[ModelBundle, list[Check]]:
    from torch.utils.tensorboard import SummaryWriter  # takes half a second, which no other command should wait for

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    held_out = TextColumn("held-out loss {task.fields[loss]:.5f}")
    with SummaryWriter(str(log)) as board, Progress(*columns, held_out, console=console) as bar:
        tasks: dict[str, TaskID] = {}
        for name in ("dynamics", "score"):
            done = checkpoint.steps.get(name, 0)
            tasks[name] = bar.add_task(name, total=config.steps, completed=done, loss=float("nan"))

        def told(check: Check) -> None:
            bar.update(tasks[check.network], completed=check.step, loss=check.held_out_loss)
            board.add_scalar(f"{check.network}/training_loss", check.train_loss, check.step)
            board.add_scalar(f"{check.network}/held_out_loss", check.held_out_loss, check.step)
            board.add_scalar(f"{check.network}/learning_rate", check.learning_rate, check.step)

        bundle, checks = train_bundle(data, out, config, told, device=device, checkpoint=checkpoint)
    try:
        trust(bundle.sha256, out)
    except InputError as error:  # no reason to lose a training
        console.print(f"note: {escape(str(error))}; then call `sgp trust {escape(str(out))}`")
    return bundle, checks


def _report(log: Path, out: Path, bundle: ModelBundle, checks: list[Check], took_s: float) -> None:
    console.print(metrics_table(bundle.metrics))
    data, title = bundle.index["data"], f"bundle {bundle.sha256[:12]}"
    training_figure(checks, title).savefig(log / "training.png")
    told = {name: max(check.step for check in checks if check.network == name) for name in ("dynamics", "score")}
    lines = [
        f"# {title}",
        "",
        f"{data['transitions']} transitions of {data['demonstrations']} demonstrations, sha256 {data['sha256'][:12]}.",
        *(f"The {n} stopped at step {told[n]} and kept step {bundle.metrics[n]['best_step']}." for n in told),
        f"It took {took_s:.0f} s since training began or went on.",
        "",
        "![losses](training.png)",
        "",
        f"Measured on {bundle.metrics['held_out_demonstrations']} demonstrations that were held out:",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows(bundle.metrics)),
    ]
    (log / "report.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"bundle {bundle.sha256[:12]}: {out}\ncurves and report: {log}/report.md, training.png")
