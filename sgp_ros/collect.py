"""`sgp collect`: demonstrations on the simulated rig, of any box and from anywhere. Needs no ROS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sgp_core.config import SimConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.reading import read_yaml
from sgp_core.share import share_path
from sgp_core.sim import collect as simulated
from sgp_core.sim.collect import CollectConfig
from sgp_ros.options import pairs
from sgp_ros.progress import progress_bar

# What is different each time has an option of its own.
OPTIONS = {"demonstrations", "seed"}
console = Console(highlight=False)


def collect(
    out: Annotated[Path, typer.Option("--out", "-o", help=".npz file to write")] = Path("out/data.npz"),
    demonstrations: Annotated[int, typer.Option(min=1, help="number of demonstrations")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="seed; the same seed gives the same result")] = 0,
    layout: Annotated[Path | None, typer.Option(help="marker layout YAML; config/layout.yaml when left out")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML file of settings: starts, goals, the rig; see config/examples/")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="one setting, such as anywhere=0.2 or friction=0.5; repeatable")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace the file that is there")] = False,
) -> None:
    """Let the simulated demonstrator push the box about; its goals are drawn at random. About 7.5 transitions each."""
    if out.exists() and not overwrite:
        raise InputError(f"{out} exists already; give another file with --out, or --overwrite to replace it")
    config, sim = settings_of(settings, pairs(sets))
    config = config.replaced(demonstrations=demonstrations, seed=seed)
    box = MarkerLayout.load(layout or share_path("config", "layout.yaml"))
    with progress_bar(console) as bar:
        task = bar.add_task("demonstrations", total=demonstrations)
        data = simulated.collect(box, config, sim, lambda done: bar.update(task, completed=done))
    data.save(out)
    console.print(f"{len(data)} transitions of {demonstrations} demonstrations, sha256 {data.sha256[:12]}: {out}")


def settings_of(path: Path | None, given: Mapping[str, str]) -> tuple[CollectConfig, SimConfig]:
    """What a file says, and above it single settings.

    Args:
        path: YAML file of names and values; none when left out.
        given: single ones by name.

    Raises:
        InputError: the file cannot be read, a name is not known, or a value is not allowed.
    """
    values: dict[str, Any] = {**_read(path), **given} if path else dict(given)
    collecting, sim = CollectConfig(), SimConfig()
    known = {*collecting.to_dict(), *sim.to_dict()} - OPTIONS
    unknown = sorted(set(map(str, values)) - known)
    if unknown:
        where = f"settings file {path}" if path and unknown[0] not in given else f"--set {unknown[0]}"
        remedy = f"give --{unknown[0]}" if unknown[0] in OPTIONS else f"known are {', '.join(sorted(known))}"
        raise InputError(f"{where}: {unknown[0]} is no setting of a collection; {remedy}")

    def of(config: CollectConfig | SimConfig) -> dict[str, Any]:
        return {name: value for name, value in values.items() if name in config.to_dict()}

    try:
        return collecting.replaced(**of(collecting)), sim.replaced(**of(sim))
    except InputError as error:
        raise InputError(f"settings file {path}: {error}" if path else str(error)) from error


def _read(path: Path) -> dict[str, Any]:
    values = read_yaml(path, "settings file")
    if not isinstance(values, dict):
        raise InputError(f"settings file {path} must hold lines like `box_start: [0.50, 0.0, 0.0]`")
    return values
