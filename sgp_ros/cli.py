"""`sgp`: collect, train, evaluate, look into a bundle, and the demo. Only the demo needs ROS."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sgp_core import arena
from sgp_core.bundle import load_bundle
from sgp_core.config import MpcConfig, PlannerConfig, SimConfig
from sgp_core.errors import InputError
from sgp_core.goals import Pose, find_goal, load_goals
from sgp_core.layout import MarkerLayout
from sgp_core.planner import Planner
from sgp_core.share import share_path
from sgp_core.sim.collect import CollectConfig, collect
from sgp_core.types import Goal, State
from sgp_ros import calibrate, dataset
from sgp_ros.bag_states import Reading
from sgp_ros.bench import bench
from sgp_ros.check import check
from sgp_ros.metrics_table import metrics_table
from sgp_ros.options import (
    ArmOption,
    MocapOption,
    NamespaceOption,
    ParamsOption,
    PusherOption,
    RecordedLayoutOption,
    TableOption,
    pairs,
)
from sgp_ros.replay import replay
from sgp_ros.rig_files import replayed_topics
from sgp_ros.train import train
from sgp_ros.view import view

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Score-guided planning for pushing a box: from demonstrations to a model to a closed loop.",
    epilog="First steps: `sgp demo`. Your own model: `sgp collect`, `sgp train`, `sgp evaluate`.",
)
app.add_typer(calibrate.app, name="calibrate")
app.add_typer(dataset.app, name="dataset")
app.command()(bench)
app.command()(check)
app.command()(replay)
app.command()(train)
app.command()(view)
console = Console(highlight=False)

LayoutOption = Annotated[Path | None, typer.Option(help="marker layout YAML; config/layout.yaml when left out")]
SeedOption = Annotated[int, typer.Option(min=0, help="seed; the same seed gives the same result")]
BundleArgument = Annotated[Path | None, typer.Argument(help="folder of a bundle; the default bundle when left out")]
BundleOption = Annotated[Path | None, typer.Option(help="folder of a bundle; the default bundle when left out")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="torch threads; more than one pays for wide networks only")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="planner setting, such as beta=0.1; repeatable")]


@app.command()
def demo(
    goal: Annotated[str, typer.Option(help="center, left, right, or x,y,yaw in m and rad")] = "center",
    out: Annotated[Path, typer.Option(help="folder for summary.json, trajectory.png, bag/ and logs")] = Path(
        "out/demo"
    ),
    seed: SeedOption = 0,
    bundle: BundleOption = None,
    params_file: Annotated[Path | None, typer.Option(help="ROS parameters; config/sim.yaml when left out")] = None,
) -> None:
    """Push the box to a goal: four ROS 2 nodes, the simulated rig, real DDS. Exit code 0 when the goal is reached."""
    from sgp_ros.demo import run_demo  # here, because everything else works without ROS

    raise typer.Exit(run_demo(goal, out, seed, bundle=bundle, params_file=params_file))


@app.command("record")
def record_command(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of the bag; must not exist")],
    namespace: Annotated[
        str, typer.Option(help="record what is below it, and /diagnostics, /clock, /tf and the like")
    ] = "sgp",
    storage: Annotated[str, typer.Option(help="mcap or sqlite3")] = "mcap",
    split_mb: Annotated[float, typer.Option(min=0.0, help="begin a new file after so many megabytes; 0 never")] = 0.0,
    duration: Annotated[float, typer.Option(min=0.0, help="seconds; 0 records until Ctrl-C")] = 0.0,
    mocap: MocapOption = "",
    arm: ArmOption = "",
    pusher: PusherOption = "",
    params_file: ParamsOption = "",
    topic: Annotated[list[str] | None, typer.Option(help="one more topic, by its absolute name; repeatable")] = None,
) -> None:
    """Record a rig as `ros2 bag record` does, without a ROS installation; shows rates and gaps meanwhile.

    The driver's topics are recorded, too: give --mocap, --arm and --pusher as to rig.launch.py, or --topic for each.
    What was written a second ago survives a crash: `sgp dataset from-bag` and `sgp replay` read such a bag as well.
    """
    from sgp_ros.record import record

    given = {"namespace": namespace, "mocap": mocap, "arm": arm, "pusher": pusher, "params_file": params_file}
    topics = [*replayed_topics("sim.yaml", given, goals=False), *(topic or [])]
    record(out, namespace.strip("/"), topics, storage=storage, split_mb=split_mb, duration_s=duration)


@app.command("play")
def play_command(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder, or .mcap or .db3 file")],
    rate: Annotated[float, typer.Option(min=0.01, help="times real time")] = 1.0,
    step: Annotated[
        bool, typer.Option("--step", help="wait for mocap_node after each frame, so that none is lost")
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="again and again, until Ctrl-C")] = False,
    namespace: NamespaceOption = "sgp",
    mocap: MocapOption = "",
    arm: ArmOption = "",
    table: TableOption = "",
    pusher: PusherOption = "",
    layout: RecordedLayoutOption = "",
    params_file: ParamsOption = "",
) -> None:
    """Say again what was measured, with its goals and /clock, to nodes that were started with use_sim_time.

    As `ros2 bag play --clock 100 --topics ...`, without a ROS installation. Steps and commands to the arm are never
    said. Give --mocap, --arm, --table and --pusher as they were given to the launch file.
    """
    from sgp_ros.play import play

    given = {"mocap": mocap, "arm": arm, "table": table, "pusher": pusher, "layout": layout, "params_file": params_file}
    reading = Reading.of("sim.yaml", {**given, "namespace": namespace})
    play(bag, reading, rate=rate, step=step, loop=loop)


@app.command("collect")
def collect_command(
    out: Annotated[Path, typer.Option("--out", "-o", help=".npz file to write")] = Path("out/data.npz"),
    demonstrations: Annotated[int, typer.Option(min=1, help="number of demonstrations")] = 100,
    seed: SeedOption = 0,
    layout: LayoutOption = None,
) -> None:
    """Let the simulated demonstrator push the box about; its goals are drawn at random. About 7.5 transitions each."""
    config = CollectConfig(demonstrations=demonstrations, seed=seed)
    with _bar() as bar:
        task = bar.add_task("demonstrations", total=demonstrations)
        data = collect(_layout(layout), config, SimConfig(), lambda done: bar.update(task, completed=done))
    data.save(out)
    console.print(f"{len(data)} transitions of {demonstrations} demonstrations, sha256 {data.sha256[:12]}: {out}")


@app.command()
def evaluate(
    goals: Annotated[
        str, typer.Option(help="names of config/goals.yaml joined by commas, or a YAML file")
    ] = "left,center,right",
    trials: Annotated[int, typer.Option(min=1, help="closed loops per goal and beta")] = 5,
    beta: Annotated[str, typer.Option(help="weight of the distance to data; several joined by commas")] = "0.003",
    seed: SeedOption = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the rows to this file")] = None,
    bundle: BundleOption = None,
    sets: SetOption = None,
    suite: Annotated[str, typer.Option(help="paper: the standard case, box start (0.50, 0, 0)")] = arena.SUITE,
    planner: Annotated[
        str, typer.Option(help="sgp: score-guided planning; beta 0 is plain model-based planning")
    ] = arena.PLANNER,
    jobs: Annotated[int, typer.Option(min=0, help="processes; 0 for one per core")] = 0,
    gradients: Annotated[bool, typer.Option(help="also show how hard the penalty pulls, per noise level")] = False,
) -> None:
    """Closed loops without ROS, many times faster than real time, as a table like the paper's Table 3."""
    if suite != arena.SUITE or planner != arena.PLANNER:
        raise InputError(
            f"--suite {suite} --planner {planner}: known are suite {arena.SUITE} and planner {arena.PLANNER}"
        )
    path = _bundle(bundle)
    poses = _goals(goals)
    models = load_bundle(path)
    if "beta" in pairs(sets):
        raise InputError("--set beta=...: evaluate takes it as --beta, several joined by commas")
    planners = [PlannerConfig().replaced(**{**pairs(sets), "beta": b}) for b in dict.fromkeys(beta.split(","))]
    for config in planners:
        Planner(models, config)  # refuses what does not fit the bundle before the work starts
    todo = arena.trials_of(path, planners, MpcConfig(), poses, trials, seed)
    with _bar() as bar:
        task = bar.add_task("closed loops", total=len(todo))
        runs = arena.run_all(todo, jobs, lambda: bar.advance(task))
    result = arena.rows(todo, runs, models.sha256)
    _print_rows(result, list(poses))
    if gradients:
        for config in planners:
            if config.beta > 0.0:
                states = [s for t, r in zip(todo, runs, strict=True) if t.planner == config for s in r.states[:6]]
                _print_ratios(config, arena.gradient_ratios(path, config, next(iter(poses.values())), states[:60]))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=1) + "\n")


@app.command()
def info(
    bundle: BundleArgument = None,
    plans: Annotated[int, typer.Option(min=0, help="measure the time of so many plans at the default settings")] = 0,
    sets: SetOption = None,
    threads: ThreadsOption = 1,
) -> None:
    """Verify a bundle and tell what is in it: data, training, held-out figures; with --plans the time of a plan."""
    models = load_bundle(_bundle(bundle))
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


def _bar(extra: str = "") -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    return Progress(*columns, *([TextColumn(extra)] if extra else []), console=console)


def _layout(path: Path | None) -> MarkerLayout:
    return MarkerLayout.load(path or share_path("config", "layout.yaml"))


def _bundle(path: Path | None) -> Path:
    return path or share_path("models", "default")


def _goals(text: str) -> dict[str, Pose]:
    if text.endswith((".yaml", ".yml")):
        return {name: goal.pose for name, goal in load_goals(Path(text)).items()}
    return {name: find_goal(name).pose for name in text.split(",")}


def _print_rows(rows: list[dict], goals: list[str]) -> None:
    table = Table(title="final cost (cm^2), mean ± standard deviation; success; steps")
    for column in ("beta", *goals, "mean over goals", "plan p50 (ms)"):
        table.add_column(column, justify="right")
    for beta in dict.fromkeys(row["beta"] for row in rows):
        of_beta = [row for row in rows if row["beta"] == beta]
        cells = [
            f"{r['mean_cost_cm2']:.2f} ± {r['std_cost_cm2']:.2f}; {r['success_rate']:.0%}; {r['mean_steps']:.1f}"
            for r in of_beta
        ]
        mean = np.mean([r["mean_cost_cm2"] for r in of_beta])
        table.add_row(f"{beta:g}", *cells, f"{mean:.2f}", f"{np.median([r['plan_ms_p50'] for r in of_beta]):.0f}")
    console.print(table)


def _print_ratios(config: PlannerConfig, ratios: list[tuple[float, float, float]]) -> None:
    table = Table(title=f"||penalty gradient|| / ||task gradient||, median, beta {config.beta:g}")
    for column in ("sigma", "at rest", "at the plan"):
        table.add_column(column, justify="right")
    for sigma, rest, plan in ratios:
        table.add_row(f"{sigma:.4g}", f"{rest:.3f}", f"{plan:.3f}")
    console.print(table)


def main() -> None:
    """Entry point: errors meant for people are one line on stderr and exit code 2."""
    try:
        app()
    except (InputError, OSError) as error:
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2)
