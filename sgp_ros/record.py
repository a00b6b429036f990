"""`sgp record`: what `ros2 bag record` does, where there is no ROS installation, and a look at what comes in."""

from __future__ import annotations

import math
import signal
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.live import Live
from rich.table import Table

from sgp_core.errors import InputError
from sgp_ros.bag_writer import BagWriter
from sgp_ros.recorder import Recorder

POLL_S = 0.05
LOOK_EVERY_S = 0.5
FLUSH_EVERY_S = 1.0
SHOW_PER_S = 2
SILENT_S = 2.0
RECENT_S = 2.0
console = Console(highlight=False)


@dataclass
class Heard:
    """What came on a topic."""

    count: int = 0
    longest_gap_s: float = 0.0
    last_s: float = 0.0  # monotonic
    recent: deque[float] = field(default_factory=deque)  # times of the last ones

    def take(self, now_s: float, received_s: float) -> None:
        """One message; `received_s` is its own time."""
        if self.recent:
            self.longest_gap_s = max(self.longest_gap_s, received_s - self.recent[-1])
        self.recent.append(received_s)
        while self.recent[0] < received_s - RECENT_S:
            self.recent.popleft()
        self.count, self.last_s = self.count + 1, now_s

    @property
    def rate_hz(self) -> float:
        """Of the last seconds."""
        if len(self.recent) < 2:
            return 0.0
        return (len(self.recent) - 1) / max(self.recent[-1] - self.recent[0], 1e-9)


def record_bag(
    out: Path, namespace: str, topics: Sequence[str], *, storage: str, split_mb: float, duration_s: float
) -> None:
    """Record until SIGINT or SIGTERM, or for `duration_s` if that is above 0.

    Args:
        out: folder of the bag.
        namespace: topics below it are recorded.
        topics: absolute names of those of the drivers; one that says nothing is told at the end.
        storage: mcap or sqlite3.
        split_mb: a new file after so many megabytes; 0 never.
        duration_s: 0 for ever.

    Raises:
        InputError: the folder exists, nothing was published, or the bag could not be written.
    """
    heard: dict[str, Heard] = {}
    asked = threading.Event()  # a flag, because an exception could strike in the middle of a message
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("record", context=context, enable_rosout=False, start_parameter_services=False)
    began_s = time.monotonic()
    try:
        writer = BagWriter(out, storage, round(split_mb * 1e6))
        with (
            Recorder(node, writer, namespace, topics) as recorder,
            Live(console=console, refresh_per_second=SHOW_PER_S, get_renderable=lambda: _table(out, writer, heard)),
        ):
            until_s = began_s + duration_s if duration_s > 0.0 else math.inf
            _until_told(recorder, writer, heard, asked, until_s)
    except (sqlite3.Error, OSError) as error:
        raise InputError(
            f"bag {out} could not be written: {error}; is the disk full? What was recorded before can be read"
        ) from error
    finally:
        node.destroy_node()
        context.try_shutdown()
    for topic, why in recorder.left_out.items():
        console.print(f"[yellow]not recorded:[/] {topic}: {why}")
    for topic in topics:
        if topic not in heard:
            console.print(f"[yellow]silent:[/] {topic} had nothing to record; see --mocap, --arm, --pusher, --layout")
    count = sum(one.count for one in heard.values())
    if not count:
        raise InputError(f"nothing was published below /{namespace} (--namespace) while {out} was recorded")
    console.print(f"{count} messages of {len(heard)} topics in {time.monotonic() - began_s:.1f} s: {out}")


def _until_told(
    recorder: Recorder, writer: BagWriter, heard: dict[str, Heard], asked: threading.Event, until_s: float
) -> None:
    look_s = flush_s = 0.0
    while not asked.is_set() and time.monotonic() < until_s:
        now_s = time.monotonic()
        if now_s >= look_s:
            recorder.look_for_topics()
            look_s = now_s + LOOK_EVERY_S
        for received in recorder.poll():
            heard.setdefault(received.topic, Heard()).take(now_s, received.received_ns * 1e-9)
        if now_s >= flush_s:
            writer.flush()
            flush_s = now_s + FLUSH_EVERY_S
        time.sleep(POLL_S)
    for received in recorder.poll():  # what came while it slept, such as the mark that whoever ends it sent before
        heard.setdefault(received.topic, Heard()).take(time.monotonic(), received.received_ns * 1e-9)


def _table(out: Path, writer: BagWriter, heard: dict[str, Heard]) -> Table:
    table = Table(title=f"{out}: {writer.written_bytes * 1e-6:.1f} MB; Ctrl-C ends", title_justify="left")
    table.add_column("topic")
    for column in ("messages", "rate (Hz)", "longest gap (s)"):
        table.add_column(column, justify="right")
    now_s = time.monotonic()
    for topic, one in sorted(heard.items()):
        silent_s = now_s - one.last_s
        rate = f"{one.rate_hz:.1f}" if silent_s < SILENT_S else f"[yellow]silent for {silent_s:.0f} s[/]"
        table.add_row(topic, str(one.count), rate, f"{one.longest_gap_s:.3f}")
    return table
