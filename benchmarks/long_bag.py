"""Time and peak memory of reading a long bag: markers and pusher as PoseStamped, here 10 minutes at 240 Hz.

python benchmarks/long_bag.py --minutes 10 --rate 240
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))  # the maker of bags that the tests use

from bag_maker import START_S, BagMaker  # noqa: E402

from sgp_ros.mocap_settings import load_layout  # noqa: E402

NOISE_M, ROUND_S, REST = 2e-4, 40.0, 0.7  # beyond REST of a sine's height the box rests


def write(path: Path, minutes: float, rate_hz: float) -> int:
    """The box goes to and fro with the pusher behind it, and rests half of the time. Returns the number of messages."""
    layout, random = load_layout(""), np.random.default_rng(0)
    frames = round(minutes * 60.0 * rate_hz)
    with BagMaker(path, layout) as maker:
        for number in range(frames):
            time_s = number / rate_hz
            way = np.clip(np.sin(2.0 * np.pi * time_s / ROUND_S) / REST, -1.0, 1.0)
            pose = (0.60 + 0.05 * way, 0.02 * way, 0.1 * way)
            markers_m = layout.markers_at(*pose) + random.normal(0.0, NOISE_M, (layout.count, 2))
            maker.frame(START_S + time_s, markers_m, np.array([pose[0] - 0.1, pose[1]]))
    return frames * (layout.count + 1)


def main(minutes: float = 10.0, rate: float = 240.0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        bag = Path(folder) / "bag"
        count = write(bag, minutes, rate)
        size_mb = sum(file.stat().st_size for file in bag.iterdir()) / 1e6
        print(f"{minutes:g} min at {rate:g} Hz: {count} messages, {size_mb:.0f} MB")
        sgp = [sys.executable, "-c", "from sgp_ros.cli import main; main()"]
        began_s = time.perf_counter()
        subprocess.run([*sgp, "dataset", "from-bag", str(bag), "-o", f"{folder}/data.npz"], check=True)
        took_s = time.perf_counter() - began_s
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024.0
        speed = minutes * 60.0 / took_s
        print(f"sgp dataset from-bag: {took_s:.0f} s, {speed:.1f} times real time, peak {peak_mb:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
