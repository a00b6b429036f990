"""`sgp calibrate`: where the frames are, and where the markers sit on the box. From files, or live with ROS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sgp_core.calibration import calibrate, calibration_yaml
from sgp_core.config import FramesConfig, PusherConfig
from sgp_core.errors import InputError
from sgp_core.files import check_free, write_text
from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout
from sgp_core.layout_measurement import layout_yaml, measure_layout
from sgp_core.marker_tracks import load_samples, tracks_of
from sgp_core.matched_points import MatchedPoints
from sgp_core.parameter_files import node_parameters
from sgp_ros.calibration_report import frames_header, layout_header, show_frames, show_layout

app = typer.Typer(
    no_args_is_help=True,
    help="Measure a rig once: where the mocap system and the arm stand (`frames`), and where the markers sit on the box"
    " (`layout`). Both read files, or live topics.",
    epilog="Order on a new rig: `sgp calibrate frames`, then `sgp calibrate layout --table calibration.yaml`, then"
    " `ros2 launch sgp_ros rig.launch.py table:=calibration.yaml layout:=layout.yaml`.",
)
console = Console(highlight=False)

# A line break ends a line in the help; so each paragraph is one line.
FRAMES_HELP = """\
Where the mocap system and the arm's base stand: writes table_from_mocap and table_from_base.

The arm carries the pusher with a marker on it. Bring the tool to at least [bold]four places[/] on the table, at \
[bold]pushing height[/] and with [bold]one orientation[/], spread over the workspace and not on a line; stand still at \
each. One more place with the tool [bold]lifted[/] by 50 mm or more guards against mirrored axes.

The plane of the places is the table: z up, x along the base's x, origin below the base's. A rigid fit says where the \
mocap system is. Each point's residual is shown in mm; above 3 mm nothing is written, and the suspect point is named. \
Below 1 mm is usual. Captured points stay in the points file whatever happens.
"""
LAYOUT_HELP = """\
Where the markers sit on the box: writes a layout file.

Let the box [bold]rest[/] for some seconds at a known pose (--box-at), then [bold]push and turn it by hand[/], flat on \
the table, by 100 mm and 45 deg or more. One rigid shape is fitted to all frames. Each marker's distance from it is \
shown in mm; a marker that is not rigid with the others (3 mm) is named, and nothing is written.

A model bundle knows its layout: for a new one, run `sgp collect --layout` and `sgp train`.
"""
LIVE = "Live capture (needs ROS 2)"
PLACE = "Where the table frame is"

ForceOption = Annotated[bool, typer.Option("--force", help="replace the file that --out names")]
NamespaceOption = Annotated[
    str, typer.Option(rich_help_panel=LIVE, help="namespace of topic names without a leading slash")
]


@app.command(
    help=FRAMES_HELP,
    epilog="Example, live: `sgp calibrate frames --mocap-topic /vrpn_mocap/pusher/pose --arm-topic /arm/tool_pose`."
    " From a file: `sgp calibrate frames --points points.csv`.",
)
def frames(
    points: Annotated[
        Path,
        typer.Option(
            help="CSV file with the columns mocap_x, mocap_y, mocap_z, base_x, base_y, base_z in m, one place per line."
            " With the topics it grows by each captured point, and points that are in it already count"
        ),
    ] = Path("points.csv"),
    out: Annotated[Path, typer.Option("--out", "-o", help="file to write, for the launch file's table:=")] = Path(
        "calibration.yaml"
    ),
    force: ForceOption = False,
    mocap_topic: Annotated[str, typer.Option(rich_help_panel=LIVE, help="topic of the marker on the pusher")] = "",
    mocap_name: Annotated[
        str, typer.Option(rich_help_panel=LIVE, help="name of the pusher's body, where the topic lists bodies by name")
    ] = "",
    arm_topic: Annotated[
        str, typer.Option(rich_help_panel=LIVE, help="topic of the tool's pose in the arm's base frame")
    ] = "",
    arm_tf: Annotated[
        str, typer.Option(rich_help_panel=LIVE, help="instead of --arm-topic: tf frames BASE,TOOL, as base_link,tool0")
    ] = "",
    namespace: NamespaceOption = "/",
    seconds: Annotated[
        float, typer.Option(rich_help_panel=LIVE, min=0.2, max=60.0, help="how long one point is averaged")
    ] = 1.0,
    tool_height: Annotated[
        float,
        typer.Option(
            rich_help_panel=PLACE,
            help="height of the arm's reported point above the table while the points are taken, in m",
        ),
    ] = PusherConfig().tool_height_m,
    marker_offset: Annotated[
        str,
        typer.Option(
            help="x,y,z in m from the arm's reported point to a marker beside the tool, along the base's axes; one"
            " straight above it needs none. With an offset, let mocap_node take the pusher from the arm, not from mocap"
        ),
    ] = "0,0,0",
    origin: Annotated[
        str, typer.Option(rich_help_panel=PLACE, help="x,y of the table frame's origin, seen from below the base, in m")
    ] = "0,0",
    yaw: Annotated[
        float, typer.Option(rich_help_panel=PLACE, help="heading of the table's x axis, seen from the base's, in rad")
    ] = 0.0,
    unit_m: Annotated[float, typer.Option(help="unit of the mocap positions in m; 0.001 for millimetres")] = 1.0,
    base_frame: Annotated[str, typer.Option(help="frame_id of the arm's poses; live it is read from them")] = "",
) -> None:
    """Where the mocap system and the arm's base stand: writes table_from_mocap and table_from_base."""
    check_free(out, force)
    for option, value in (("--tool-height", tool_height), ("--yaw", yaw), ("--unit-m", unit_m)):
        numbers(option, str(value), 1)
    if mocap_name and not mocap_topic:
        raise InputError("--mocap-name needs --mocap-topic")
    if bool(mocap_topic) != bool(arm_topic or arm_tf) or (arm_topic and arm_tf):
        raise InputError(
            "live capture needs --mocap-topic and either --arm-topic or --arm-tf; without any of them --points is read"
        )
    settings: dict[str, Any] = {
        "tool_height_m": tool_height,
        "origin_m": numbers("--origin", origin, 2),
        "yaw_rad": yaw,
        "marker_offset_m": numbers("--marker-offset", marker_offset, 3),
    }
    if mocap_topic:
        from sgp_ros.capture_points import capture_points  # here, because files need no ROS

        frame_id = capture_points(
            points,
            lambda found: calibrate(found.scaled(unit_m), **settings),
            mocap_topic=mocap_topic,
            mocap_name=mocap_name,
            arm_topic=arm_topic,
            arm_tf=tf_frames(arm_tf),
            namespace=namespace,
            seconds=seconds,
            unit_m=unit_m,
            console=console,
        )
        base_frame = base_frame or frame_id
    try:
        result = calibrate(MatchedPoints.load(points).scaled(unit_m), **settings)
    except InputError as error:
        if not mocap_topic:
            raise
        raise InputError(f"{error}. The points are kept in {points}; the same command goes on with them") from error
    show_frames(result, console)
    write_text(out, calibration_yaml(result, frames_header(result, points, tool_height), base_frame), force)
    console.print(f"written: {out}; start with `ros2 launch sgp_ros rig.launch.py table:={out} ...`")


@app.command(
    help=LAYOUT_HELP,
    epilog="Example, live: `sgp calibrate layout --mocap vrpn_mocap --table calibration.yaml --names m1,m2,m3,m4,m5"
    " --box-at 0.6,0,0 --box-size 0.087,0.170,0.039 --pusher-radius 0.035`. From a recording: the same with"
    " `--csv markers.csv`, without `--mocap` and without `--table`.",
)
def layout(
    csv: Annotated[
        Path,
        typer.Option(
            help="recording with the columns stamp_s, name, x, y, z in s and m; an empty name is an unlabelled marker."
            " With --mocap it is written"
        ),
    ] = Path("markers.csv"),
    out: Annotated[Path, typer.Option("--out", "-o", help="file to write, for the launch file's layout:=")] = Path(
        "layout.yaml"
    ),
    force: ForceOption = False,
    mocap: Annotated[
        str,
        typer.Option(
            rich_help_panel=LIVE, help="name of a file in config/mocap, such as vrpn_mocap, or a parameter file"
        ),
    ] = "",
    table: Annotated[
        Path | None, typer.Option(help="calibration.yaml of `sgp calibrate frames`; without it mocap counts as table")
    ] = None,
    names: Annotated[str, typer.Option(help="names of the markers, joined by commas, as the driver calls them")] = "",
    box_at: Annotated[
        str, typer.Option(help="x,y,yaw of the box's middle while it rests: m, m, rad in the frame table")
    ] = "",
    box_size: Annotated[str, typer.Option(help="length,width,height of the box along its x, y, z, in m")] = "",
    pusher_radius: Annotated[float | None, typer.Option(help="radius of the pusher, in m")] = None,
    like: Annotated[
        Path | None, typer.Option(help="layout file that gives names, box size and pusher radius not given here")
    ] = None,
    namespace: NamespaceOption = "sgp",
    seconds: Annotated[
        float, typer.Option(rich_help_panel=LIVE, min=3.0, max=600.0, help="length of the recording")
    ] = 15.0,
) -> None:
    """Where the markers sit on the box: writes a layout file."""
    check_free(out, force)
    template = MarkerLayout.load(like) if like else None
    sizes = _sizes(template, box_size, pusher_radius)
    pose = numbers("--box-at", box_at, 3) if box_at else None
    wanted = tuple(name.strip() for name in names.split(",")) if names else (template.names if template else ())
    table_from_mocap = _table_from_mocap(table)
    if mocap:
        from sgp_ros.capture_markers import capture_markers  # here, because files need no ROS

        if csv.exists():
            raise InputError(f"{csv} exists; a recording is never replaced: give another name with --csv")
        capture_markers(
            csv, mocap=mocap, table=table, names=wanted, namespace=namespace, seconds=seconds, console=console
        )
        table_from_mocap = None  # the sources have done it
    result = measure_layout(tracks_of(load_samples(csv, table_from_mocap), wanted), box_at=pose, **sizes)
    show_layout(result, console)
    write_text(out, layout_yaml(result.layout, layout_header(result, csv)), force)
    console.print(f"written: {out}; a bundle for it: `sgp collect --layout {out}`, then `sgp train`")


def numbers(option: str, text: str, count: int) -> Any:
    """So many numbers joined by commas. Raises InputError."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} {text} must be {count} numbers joined by commas") from error
    if len(found) != count or not all(math.isfinite(number) for number in found):
        raise InputError(f"{option} {text} must be {count} finite numbers joined by commas")
    return found


def tf_frames(text: str) -> tuple[str, str] | None:
    """The frames of BASE,TOOL; None for "". Raises InputError."""
    if not text:
        return None
    base, comma, tool = (part.strip() for part in text.partition(","))
    if not (base and comma and tool):
        raise InputError(f"--arm-tf {text} must be two frames joined by a comma, such as base_link,tool0")
    return base, tool


def _sizes(template: MarkerLayout | None, box_size: str, pusher_radius: float | None) -> dict[str, Any]:
    size = numbers("--box-size", box_size, 3) if box_size else (template.box_size_m if template else None)
    radius = pusher_radius if pusher_radius is not None else (template.pusher_radius_m if template else None)
    if size is None or radius is None:
        raise InputError("the size of box and pusher is needed: --box-size x,y,z and --pusher-radius, or --like LAYOUT")
    return {"box_size_m": size, "pusher_radius_m": radius}


def _table_from_mocap(table: Path | None) -> Transform | None:
    if table is None:
        return None
    given = node_parameters([table], "mocap_node").get("table_from_mocap")
    if given is None:
        raise InputError(f"--table {table} sets no table_from_mocap for mocap_node")
    return Transform.from_numbers(FramesConfig().replaced(table_from_mocap=given).table_from_mocap)
