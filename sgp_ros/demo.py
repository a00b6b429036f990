"""`sgp demo`: the whole closed loop on the simulated rig, over real DDS, and a report of it.

This module imports ROS only when it runs, so that the command line can say what is missing without it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import time
from pathlib import Path
from types import FrameType

import yaml
from rich.console import Console
from rich.markup import escape

from sgp_core.bundle_index import read_index
from sgp_core.errors import InputError
from sgp_core.goals import find_goal
from sgp_core.layout import MarkerLayout
from sgp_core.run_cost import MAX_STEPS
from sgp_core.share import share_path
from sgp_ros.bag_writer import PARTS
from sgp_ros.processes import LoopError, NodeProcesses, ros_environment
from sgp_ros.report import Demo, Progress, conclude

NAMESPACE = "sgp"
NODES = ("rig_sim_node", "mocap_node", "pusher_node", "mpc_node")
READS_LAYOUT = ("rig_sim_node", "mocap_node")
SEEDED = ("rig_sim_node", "mpc_node")
READY_LIMIT_S, RUN_LIMIT_S = 60.0, 90.0
BAG_FILES = {"bag_0.mcap", "metadata.yaml", "metadata.yaml.tmp", PARTS}
INTERRUPTED = 130  # exit code after Ctrl-C


def run_demo(
    goal: str = "center",
    out: Path = Path("out/demo"),
    seed: int = 0,
    *,
    bundle: Path | None = None,
    params_file: Path | None = None,
) -> int:
    """Push the box to a goal; writes summary.json, trajectory.png, bag/ and log/ into `out`.

    Args:
        goal: a name in config/goals.yaml, or `x,y,yaw` in m and rad.
        out: folder for the results; those of an earlier demo are replaced.
        seed: of the sensor noise and of the planner.
        bundle: model bundle; models/default when left out.
        params_file: parameters of the nodes; config/sim.yaml when left out.

    Returns:
        Exit code: 0 when the controller says GOAL_REACHED and the true final cost is at most 5 cm^2, 1 otherwise, 130
        after Ctrl-C.
    """
    console = Console(highlight=False)
    # SIGINT too: a shell starts its background jobs with SIGINT ignored.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if importlib.util.find_spec("rclpy") is None:  # known before any node is started
            raise ModuleNotFoundError("No module named 'rclpy'", name="rclpy")
        bundle = share_path("models", "default") if bundle is None else bundle
        index, sha256 = read_index(bundle)
        demo = Demo(
            goal_name=goal,
            goal=find_goal(goal).pose,
            out=out.absolute(),
            seed=seed,
            bundle=bundle.absolute(),
            bundle_sha256=sha256,
            layout=MarkerLayout.from_dict(index["layout"]),
            step_duration_s=float(index["step_duration_s"]),
            params_file=share_path("config", "sim.yaml") if params_file is None else params_file.absolute(),
        )
        return _show(demo, console)
    except (InputError, LoopError) as error:
        console.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; all nodes have ended")
        return INTERRUPTED
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Both signals end the demo the same way, so that no node stays behind."""
    raise KeyboardInterrupt


def _show(demo: Demo, console: Console) -> int:
    started_s = time.monotonic()
    _clear(demo.out)
    environment = ros_environment(demo.out / "log" / "ros")
    os.environ.update(environment)  # the middleware inside this process reads it there
    with NodeProcesses(demo.out / "log", environment, NAMESPACE) as nodes:
        # The box is the one the bundle was trained on.
        layout_file = demo.out / "layout.yaml"
        layout_file.write_text(yaml.safe_dump(demo.layout.to_dict()))
        for node in NODES:
            seed = {"seed": demo.seed} if node in SEEDED else {}
            layout = {"layout_file": layout_file} if node in READS_LAYOUT else {}
            models = {"bundle": demo.bundle} if node == "mpc_node" else {}
            nodes.start(node, demo.params_file, {**seed, **layout, **models})
        # Imported once the nodes are on their way: both take a while, and ROS may be missing.
        from sgp_ros.loop import Loop

        with Loop(nodes, demo.out / "bag", NAMESPACE, demo.layout, demo.goal, demo.step_duration_s) as loop:
            observer, progress = loop.observer, Progress(console)
            with console.status("the four nodes are starting"):
                loop.wait_until_ready(READY_LIMIT_S)
            ready_s = time.monotonic() - started_s
            x_m, y_m, yaw_rad = demo.goal
            console.print(
                f"four nodes ready after {ready_s:.1f} s; goal {demo.goal_name}: ({x_m}, {y_m}) m, {yaw_rad} rad"
            )
            initial_cm2 = observer.cost_cm2()
            with progress:
                loop.push(MAX_STEPS, RUN_LIMIT_S, lambda: progress.tell(observer))
            final_cm2 = loop.settle(MAX_STEPS)
    duration_s = time.monotonic() - started_s
    success = conclude(demo, observer, console, initial_cm2=initial_cm2, final_cm2=final_cm2, duration_s=duration_s)
    return 0 if success else 1


def _clear(out: Path) -> None:
    """Make room: what an earlier demo left must not be taken for this one's. Nothing else in the folder is touched."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("summary.json", "trajectory.png"):
        (out / name).unlink(missing_ok=True)
    bag = out / "bag"
    if bag.exists():
        strange = sorted(path.name for path in bag.iterdir() if path.name not in BAG_FILES)
        if strange:
            raise InputError(f"{bag} holds {strange[0]}, which no demo wrote there; give another folder with --out")
        shutil.rmtree(bag)
