"""The places and the box of a rig to calibrate, and `sgp calibrate` as a process to talk to."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import yaml

from sgp_core.config import FramesConfig
from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout

ROOT = Path(__file__).parents[1]
TABLE_FROM_BASE = Transform.from_numbers((0.0, 0.0, 0.3, 0.0, 0.0, 0.0))
TABLE_FROM_MOCAP = Transform.from_numbers((1.0, -2.0, 0.4, np.pi / 2, 0.0, 0.7))
PLACES = np.array([[0.35, -0.25, 0.02], [0.9, -0.25, 0.02], [0.9, 0.25, 0.02], [0.35, 0.25, 0.02], [0.6, 0.0, 0.12]])
REFLECTION = (0.3, 0.3, 0.001)
LAYOUT = MarkerLayout(
    names=("a", "b", "c", "d", "e"),
    places_m=((0.030, 0.065), (-0.032, 0.048), (0.012, 0.002), (-0.025, -0.055), (0.034, -0.070)),
    box_size_m=(0.0867, 0.1703, 0.0391),
    pusher_radius_m=0.035,
)


SIZES = ("--box-size", "0.0867,0.1703,0.0391", "--pusher-radius", "0.035")

# What `sgp calibrate` does, less the import of torch for the other commands.
ENTRY = """
import sys
from sgp_core.errors import InputError
from sgp_ros.calibrate import app
try:
    app(prog_name="sgp calibrate")
except InputError as error:
    sys.exit(print(f"error: {error}") or 2)
"""


class Cli:
    """`sgp calibrate` as a process that is talked to; waits end with its words."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-c", ENTRY, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self.told, self._read = "", 0
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        while letter := self._process.stdout.read(1):
            with self._changed:
                self.told += letter
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def wait(self, words: str, timeout_s: float = 40.0) -> None:
        """Until words come that were not waited for before; line breaks count as spaces."""
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while (at := self.told.replace("\n", " ").find(words, self._read)) < 0:
                assert self._thread.is_alive(), f"ended without '{words}':\n{self.told}"
                assert self._changed.wait(deadline_s - time.monotonic()), f"no '{words}':\n{self.told}"
            self._read = at + len(words)

    def say(self, line: str = "") -> None:
        self._process.stdin.write(f"{line}\n")

    def end(self) -> int:
        """No more input; the exit code."""
        self._process.stdin.close()
        try:
            return self._process.wait(40.0)
        finally:
            self._process.kill()
            self._process.wait()
            self._thread.join()
            self._process.stdout.close()


def written_frames(path: Path) -> FramesConfig:
    sections = yaml.safe_load(path.read_text())
    assert sections["/**/mocap_node"] == sections["/**/pusher_node"]
    return FramesConfig().replaced(**sections["/**/mocap_node"]["ros__parameters"])


def same(numbers: tuple[float, ...], wanted: Transform, within_m: float = 1e-5) -> bool:
    made = Transform.from_numbers(numbers)
    return bool(np.abs(made.apply(PLACES) - wanted.apply(PLACES)).max() < within_m)
