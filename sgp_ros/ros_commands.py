"""`sgp demo`, `sgp record` and `sgp play`: what needs ROS, which is imported once one of them runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sgp_ros.bag_states import Reading
from sgp_ros.options import (
    ArmOption,
    BundleOption,
    MocapOption,
    NamespaceOption,
    ParamsOption,
    PusherOption,
    RecordedLayoutOption,
    SeedOption,
    TableOption,
)
from sgp_ros.rig_files import replayed_topics


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
    from sgp_ros.demo import run_demo

    raise typer.Exit(run_demo(goal, out, seed, bundle=bundle, params_file=params_file))


def record(
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
    from sgp_ros.record import record_bag

    given = {"mocap": mocap, "arm": arm, "pusher": pusher, "layout": layout, "params_file": params_file}
    given["namespace"] = namespace
    topics = [*replayed_topics("sim.yaml", given, goals=False), *(topic or [])]
    record_bag(out, namespace.strip("/"), topics, storage=storage, split_mb=split_mb, duration_s=duration)


def play(
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
    from sgp_ros.play import play_bag

    given = {"mocap": mocap, "arm": arm, "table": table, "pusher": pusher, "layout": layout, "params_file": params_file}
    reading = Reading.of("sim.yaml", {**given, "namespace": namespace})
    play_bag(bag, reading, rate=rate, step=step, loop=loop)
