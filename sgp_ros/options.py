"""What the commands' options have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sgp_core.errors import InputError
from sgp_core.share import share_path

SeedOption = Annotated[int, typer.Option(min=0, help="seed; the same seed gives the same result")]
BundleOption = Annotated[Path | None, typer.Option(help="folder of a bundle; the default bundle when left out")]
SetOption = Annotated[list[str] | None, typer.Option("--set", help="planner setting, such as beta=0.1; repeatable")]

# How a recording is to be read: the arguments of rig.launch.py by the same names.
NamespaceOption = Annotated[str, typer.Option(help="of the nodes while it was recorded; of relative topics")]
MocapOption = Annotated[str, typer.Option(help="driver: a name of config/mocap, or a parameter file")]
ArmOption = Annotated[str, typer.Option(help="arm controller: a name of config/arm, or a parameter file")]
TableOption = Annotated[str, typer.Option(help="calibration.yaml of `sgp calibrate frames`")]
PusherOption = Annotated[str, typer.Option(help="`mocap`, or a topic with the pusher's PoseStamped")]
RecordedLayoutOption = Annotated[str, typer.Option("--layout", help="marker layout; config/layout.yaml when left out")]
ParamsOption = Annotated[str, typer.Option(help="ROS parameter file that overrules all of these")]


def pairs(items: list[str] | None) -> dict[str, str]:
    """Values by name from repeated `--set name=value`. Raises InputError."""
    found = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"--set {item} must look like name=value")
        found[name.strip()] = value.strip()
    return found


def check_free(out: Path, names: Sequence[str], overwrite: bool) -> None:
    """Raises InputError where one of these files is in a folder already, unless it may be replaced."""
    there = [name for name in names if (out / name).exists()]
    if there and not overwrite:
        raise InputError(f"{out} holds {', '.join(there)} already; give another --out, or --overwrite to replace it")


def bundle_path(path: Path | None) -> Path:
    """The folder of the bundle that is meant."""
    return path or share_path("models", "default")
