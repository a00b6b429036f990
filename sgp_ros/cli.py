"""`sgp`: collect, train, evaluate, look into a bundle, and the demo. Only the demo needs ROS."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape

from sgp_core.bundle import load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.planner import Planner
from sgp_core.types import Goal, State
from sgp_ros import calibrate, dataset
from sgp_ros.bag_states import Reading
from sgp_ros.bench import bench
from sgp_ros.check import check
from sgp_ros.collect import collect_command
from sgp_ros.doctor import doctor
from sgp_ros.evaluate import evaluate
from sgp_ros.metrics_table import metrics_table
from sgp_ros.options import (
    ArmOption,
    BundleOption,
    MocapOption,
    NamespaceOption,
    ParamsOption,
    PusherOption,
    RecordedLayoutOption,
    SeedOption,
    SetOption,
    TableOption,
    bundle_path,
    pairs,
)
from sgp_ros.replay import replay
from sgp_ros.rig_files import replayed_topics
from sgp_ros.train import train
from sgp_ros.trust import trust
from sgp_ros.tune import tune
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
app.command("collect")(collect_command)
app.command()(doctor)
app.command()(evaluate)
app.command()(replay)
app.command()(train)
app.command()(trust)
app.command()(tune)
app.command()(view)
console = Console(highlight=False)

BundleArgument = Annotated[Path | None, typer.Argument(help="folder of a bundle; the default bundle when left out")]
ThreadsOption = Annotated[int, typer.Option(min=1, help="torch threads; more than one pays for wide networks only")]


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
    layout: RecordedLayoutOption = "",
    params_file: ParamsOption = "",
    topic: Annotated[list[str] | None, typer.Option(help="one more topic, by its absolute name; repeatable")] = None,
) -> None:
    """Record a rig as `ros2 bag record` does, without a ROS installation; shows rates and gaps meanwhile.

    The driver's topics are recorded, too: give --mocap, --arm, --pusher and --layout as to rig.launch.py, or each as
    --topic.
    What was written a second ago survives a crash: `sgp dataset from-bag` and `sgp replay` read such a bag as well.
    """
    from sgp_ros.record import record

    given = {"mocap": mocap, "arm": arm, "pusher": pusher, "layout": layout, "params_file": params_file}
    given["namespace"] = namespace
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


@app.command()
def info(
    bundle: BundleArgument = None,
    plans: Annotated[int, typer.Option(min=0, help="measure the time of so many plans at the default settings")] = 0,
    sets: SetOption = None,
    threads: ThreadsOption = 1,
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


def main() -> None:
    """Entry point: errors meant for people are one line on stderr and exit code 2."""
    try:
        app()
    except (InputError, OSError) as error:
        Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escape(str(error))}")
        sys.exit(2)
