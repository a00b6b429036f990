"""The guided recording of the box's markers, from the same sources as mocap_node."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rclpy.node import Node
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sgp_core.config import FramesConfig
from sgp_core.errors import InputError
from sgp_core.frames import Frames
from sgp_core.layout import MarkerLayout
from sgp_core.marker_tracks import UNLABELLED, Recording, Sample
from sgp_core.parameter_files import node_parameters
from sgp_ros.capture import WAIT_S, Capture
from sgp_ros.mocap_settings import PER_MARKER, MocapNodeConfig
from sgp_ros.rig_files import preset
from sgp_ros.sources import Sources

BODIES = ("body_pose", "named_poses")
REST_S = 2.0
TICK_S = 0.05


class MarkerListener:
    """Hands on marker samples from the sources of mocap_node [table] while `keep` is set.

    Args:
        node: gets the subscriptions.
        config: what the driver publishes.
        frames: where the frames of the messages are.
        layout: names of the markers.

    Raises:
        InputError: a package for the chosen input is not installed.
    """

    def __init__(self, node: Node, config: MocapNodeConfig, frames: Frames, layout: MarkerLayout) -> None:
        self._names = layout.names
        self.keep: Callable[[Sample], None] | None = None
        # The pusher does not matter here, and reading it may need packages that the markers do not.
        config = config.replaced(pusher_input="pose", pusher_topic="sgp_calibrate/unused")
        self._sources = Sources(node, config, frames, layout, self)

    def why_silent(self) -> str:
        """What the sources say of samples that do not come."""
        self._sources.topics = [topic for topic in self._sources.topics if topic.source.setting == "marker_topic"]
        return self._sources.refusal or self._sources.silence(WAIT_S)

    def marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> None:
        """One marker."""
        keep = self.keep
        if keep is not None and np.isfinite(position_m).all():
            keep(Sample(stamp_s=stamp_s, name=name, position_m=(float(position_m[0]), float(position_m[1]), 0.0)))

    def frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> None:
        """All markers, by name."""
        for name, position in zip(self._names, positions_m, strict=True):
            self.marker(name, stamp_s, position)

    def points(self, stamp_s: float, points_m: Float[ndarray, "M 2"]) -> None:
        """Whatever was seen, without names."""
        for point in points_m:
            self.marker(UNLABELLED, stamp_s, point)

    def pusher(self, stamp_s: float, position_m: Float[ndarray, "3"], turn: Float[ndarray, "3 3"] | None) -> None:
        """Of no interest."""


def capture_markers(
    path: Path,
    *,
    mocap: str,
    table: Path | None,
    names: Sequence[str],
    namespace: str,
    seconds: float,
    console: Console,
) -> None:
    """Record marker samples, first of the box at rest, then of the box moved by hand.

    Args:
        path: recording to write, sample by sample.
        mocap: name of a file in config/mocap, or a parameter file.
        table: calibration file with table_from_mocap.
        names: of the markers, where the driver has them.
        namespace: of relative topic names.
        seconds: length of the recording.
        console: where to talk.

    Raises:
        InputError: unknown settings, an input without markers, no names where they are needed, or no sample.
    """
    config, frames = _configs([preset("mocap", mocap), *([table] if table else [])])
    if config.input in BODIES:
        raise InputError(
            f"input = {config.input} has the pose of the box, not its markers; measure with the driver's markers, or"
            " write the layout by hand"
        )
    if config.input in PER_MARKER and not names:
        raise InputError(f"input = {config.input} needs --names: one topic per marker, {config.marker_topic}")
    counts: Counter[str] = Counter()
    with Capture(namespace) as capture:
        listener = MarkerListener(capture.node, config, frames, _placeholder(names or ("a", "b")))
        _wait(listener, counts, config)
        console.print("Put the box to rest at its known pose and take your hands away.")
        try:
            console.input("[bold]Enter starts the recording:[/] ")
        except EOFError:
            console.print()
        recording = Recording(path)
        try:
            listener.keep = recording.add
            _pass_time(REST_S, "The box rests: do not touch it", console)
            _pass_time(max(seconds - REST_S, 0.0), "Now push and turn it by hand, flat on the table", console)
        finally:
            listener.keep = None
            recording.close()
    console.print(f"recorded in {path}")


def _configs(paths: Sequence[Path]) -> tuple[MocapNodeConfig, Frames]:
    values = node_parameters(paths, "mocap_node")

    def taken(config: Any) -> Any:
        return config.replaced(**{f.name: values[f.name] for f in fields(config) if f.name in values})

    return taken(MocapNodeConfig()), Frames(taken(FramesConfig()))


def _placeholder(names: Sequence[str]) -> MarkerLayout:
    """A layout for the sources, which need the names; the places are what is to be measured."""
    places = tuple((0.01 * n, 0.0) for n in range(len(names)))
    return MarkerLayout(names=tuple(names), places_m=places, box_size_m=(1.0, 1.0, 1.0), pusher_radius_m=1.0)


def _wait(listener: MarkerListener, counts: Counter[str], config: MocapNodeConfig) -> None:
    """Until the first sample."""

    def count(sample: Sample) -> None:
        counts[sample.name] += 1

    listener.keep = count
    deadline_s = time.monotonic() + WAIT_S
    while not counts:
        if time.monotonic() > deadline_s:
            why = listener.why_silent() or "is the box in view, ROS_DOMAIN_ID right?"
            raise InputError(f"no marker on {config.marker_topic} within {WAIT_S:.0f} s; {why}")
        time.sleep(TICK_S)
    listener.keep = None


def _pass_time(duration_s: float, what: str, console: Console) -> None:
    console.print(f"[bold]{what}[/] ({duration_s:.0f} s)")
    with Progress(BarColumn(), TextColumn("{task.fields[left]:.0f} s"), console=console, transient=True) as bar:
        task = bar.add_task("", total=duration_s, left=duration_s)
        started_s = time.monotonic()
        while (gone_s := time.monotonic() - started_s) < duration_s:
            bar.update(task, completed=gone_s, left=duration_s - gone_s)
            time.sleep(TICK_S)
