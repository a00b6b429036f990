"""`sgp record`: what `ros2 bag record` does, where there is no ROS installation, and a look at what comes in."""

from __future__ import annotations

import signal
import time
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
console = Console(highlight=False)


@dataclass
class Heard:
    """What came on a topic."""

    count: int = 0
    longest_gap_s: float = 0.0
    last_s: float = 0.0  # monotonic
    recent: list[float] = field(default_factory=list)  # times of the last second or so, monotonic

    def take(self, now_s: float, received_s: float) -> None:
        """One message; `received_s` is its own time."""
        if self.recent:
            self.longest_gap_s = max(self.longest_gap_s, received_s - self.recent[-1])
        self.recent = [*(t for t in self.recent if t > received_s - 2.0), received_s]
        self.count, self.last_s = self.count + 1, now_s

    @property
    def rate_hz(self) -> float:
        """Of the last seconds."""
        if len(self.recent) < 2:
            return 0.0
        return (len(self.recent) - 1) / max(self.recent[-1] - self.recent[0], 1e-9)


def record(out: Path, namespace: str, storage: str, split_mb: float, duration_s: float) -> None:
    """Record until Ctrl-C, or for `duration_s` if that is above 0.

    Raises:
        InputError: the folder exists, or nothing was published.
    """
    heard: dict[str, Heard] = {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends it as Ctrl-C does
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("record", context=context, enable_rosout=False, start_parameter_services=False)
    began_s = time.monotonic()
    try:
        writer = BagWriter(out, storage, round(split_mb * 1e6))
        with (
            Recorder(node, writer, namespace) as recorder,
            Live(console=console, refresh_per_second=SHOW_PER_S, get_renderable=lambda: _table(out, writer, heard)),
        ):
            _until_told(recorder, writer, heard, began_s, duration_s)
    except KeyboardInterrupt:
        console.print("interrupted: the bag is finished")
    finally:
        node.destroy_node()
        context.try_shutdown()
    count = sum(one.count for one in heard.values())
    if not count:
        raise InputError(f"nothing was published below /{namespace} (--namespace) while {out} was recorded")
    console.print(f"{count} messages of {len(heard)} topics in {time.monotonic() - began_s:.1f} s: {out}")


def _until_told(
    recorder: Recorder, writer: BagWriter, heard: dict[str, Heard], began_s: float, duration_s: float
) -> None:
    look_s = flush_s = 0.0
    while duration_s <= 0.0 or time.monotonic() < began_s + duration_s:
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
