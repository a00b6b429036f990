"""`sgp view`: box, markers, pusher, plan, cost and distance to the data in a browser, live or from a bag."""

from __future__ import annotations

import importlib
import signal
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.safety import region_of
from sgp_ros.bag_states import Reading, read
from sgp_ros.bags import Bag
from sgp_ros.mocap_settings import MocapNodeConfig, load_layout
from sgp_ros.options import (
    ArmOption,
    MocapOption,
    NamespaceOption,
    ParamsOption,
    PusherOption,
    RecordedLayoutOption,
    TableOption,
)
from sgp_ros.rig_files import values_of

if TYPE_CHECKING:
    from sgp_ros.view_scene import Scene

PORT = 9090
FLUSH_S = 0.5
REGION = ("workspace_m", "keep_out_m")  # settings of mpc_node
console = Console(highlight=False)


def view(
    bag: Annotated[
        Path | None, typer.Argument(help="rosbag2 folder, or .mcap or .db3 file; the live graph when left out")
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="of the page, on this machine; 0 takes a free one")
    ] = PORT,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="open the page in the default browser")] = True,
    save: Annotated[Path | None, typer.Option(help="also keep what is shown, as an .rrd file for `rerun FILE`")] = None,
    namespace: NamespaceOption = "sgp",
    mocap: MocapOption = "",
    arm: ArmOption = "",
    table: TableOption = "",
    pusher: PusherOption = "",
    layout: RecordedLayoutOption = "",
    params_file: ParamsOption = "",
) -> None:
    """Show box, markers, pusher, plan, cost and distance to the data in a browser, until Ctrl-C.

    `sgp view` shows the running nodes, which may come and go; `sgp view BAG` a recorded run, through which one may
    move in time. For a bag, give --mocap, --arm, --table and --pusher as they were given to the launch file; --layout
    and --params-file (for the workspace that is drawn) count for both. Needs no internet.
    """
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    try:
        import rerun as rr
    except ImportError as error:
        raise InputError(f"`sgp view` needs rerun ({error}): pip install 'sgp_ros[view]'") from error
    from sgp_ros.view_blueprint import blueprint  # after the check: they import rerun as well
    from sgp_ros.view_scene import Scene
    from sgp_ros.view_server import Page

    if save and save.exists():
        raise InputError(f"--save {save} exists and is not overwritten; give another name")
    given = {"mocap": mocap, "arm": arm, "table": table, "pusher": pusher, "layout": layout, "params_file": params_file}
    given["namespace"] = namespace
    limits = {name: v for name, v in values_of("sim.yaml", given, "mpc_node").items() if name in REGION}
    planner = PlannerConfig().replaced(**limits)
    region = region_of(planner)
    reading = Reading.of("sim.yaml", given) if bag else None
    layout_file = str(values_of("sim.yaml", given, "mocap_node").get("layout_file", MocapNodeConfig().layout_file))
    if bag is None:
        importlib.import_module("sgp_ros.view_live")  # the only part that needs ROS: without it nothing is begun
    with tempfile.TemporaryDirectory(prefix="sgp-view-") as folder:
        file = save or Path(folder) / "run.rrd"
        file.parent.mkdir(parents=True, exist_ok=True)
        with Page(port, file) as page:
            # Larger pieces take less room: an hour of a live graph is about 70 MB.
            pieces = rr.ChunkBatcherConfig(flush_tick=FLUSH_S)
            recording = rr.RecordingStream("sgp_view", batcher_config=pieces)
            recording.save(file)
            recording.send_blueprint(blueprint(region, live=bag is None))
            scene = Scene(recording, load_layout(layout_file), region)
            if bag is not None and reading is not None:
                _draw_bag(bag, reading, scene)
                recording.disconnect()
                page.finish()
            _show(page.address, open_page)
            if bag is None:
                _follow(scene, namespace, asked)
            asked.wait()
            recording.disconnect()


def _draw_bag(bag: Path, reading: Reading, scene: Scene) -> None:
    # States come from the recorded markers, as in `sgp replay`; those that mocap_node published only tell the time.
    takers = {**scene.takers, "state": scene.keep_time}
    columns = [TextColumn("{task.description}"), TextColumn("{task.completed}"), TimeElapsedColumn()]
    with Bag(bag) as opened, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("messages", total=None)
        recorded = read(opened, reading, lambda count: bar.update(task, completed=count), takers)
        for state in recorded.states:
            scene.draw(state)
    for remark in recorded.remarks:
        console.print(f"[yellow]note:[/] {escape(remark)}")
    if not any(topic.endswith("/status") for topic in opened.topics):
        console.print("[yellow]note:[/] the bag does not tell what mpc_node planned; box, markers and pusher are shown")


def _follow(scene: Scene, namespace: str, asked: threading.Event) -> None:
    from sgp_ros.view_live import watch

    def tell(words: str) -> None:
        words = words or "state and status are there"
        console.print(escape(words), soft_wrap=True)
        scene.say(words)

    watch(scene.takers, namespace, asked, tell)


def _show(address: str, open_page: bool) -> None:
    console.print(f"{address}\nCtrl-C ends", soft_wrap=True)
    if open_page and not webbrowser.open(address):
        console.print("[yellow]note:[/] no browser could be opened; open the address yourself")
