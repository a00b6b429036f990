"""Hours with faults: `python benchmarks/soak.py --hours 8 --seed 0`, or `--live MINUTES` with the real processes.

Simulated: the nodes' own code in injected time (test/injected.py), with a fault of `fuzz_events` every ten seconds or
so, mended some seconds later. Counted are steps, what the oracles call unsafe, stops that did not come, statuses that
name nothing that is wrong, and how much memory grows.

Live: all nodes and the simulated rig as processes (soak_live.py).
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))  # nodes in injected time

from fuzz_events import KINDS, NAMED
from fuzz_world import World
from injected import injected
from injected_plans import TICK_S

FAULTS = (
    "camera",
    "source",
    "arm",
    "way",
    "plan",
    "goal",
    "raw_step",
    "set",
    "service",
    "stop",
    "restart",
    "clock",
    "stall",
)
WELL = ("RUNNING", "GOAL_REACHED")


def rss_mib() -> float:
    """Memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


class Soak:
    """Lets hours pass and counts."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.world = World(seed)
        self.counts: Counter[str] = Counter()
        self.samples: list[tuple[float, float]] = []  # hours, MiB
        self._clean_s = 0.0  # since when nothing is wrong

    def events(self, name: str) -> tuple[str, int, int]:
        """One event with random numbers."""
        a, b = (int(number) for number in self.random.integers(0, 256, 2))
        KINDS[NAMED[name]](self.world, a, b)
        self.counts["events"] += 1
        return name, a, b

    def ticks(self, seconds: float) -> None:
        """Time passes."""
        for _ in range(round(seconds / TICK_S)):
            self.world.tick()
            self.counts["ticks"] += 1

    def cycle(self) -> None:
        """A fault or two, their time, the mending, a new goal, and quiet enough to see that all is well again."""
        done = []
        for _ in range(int(self.random.integers(1, 4))):
            done.append(self.events(str(self.random.choice(FAULTS))))
            self.ticks(float(self.random.uniform(0.2, 4.0)))
        self.world.set("mpc", **DEFAULTS)
        self.world.set("pusher", **DEFAULTS)
        self.world.set("mpc", rate_hz=5.0, state_timeout_s=0.5, goal_tolerance_m=0.005)
        self.world.set("pusher", step_timeout_s=0.6, pusher_timeout_s=0.2)
        self.world.pusher_m = np.clip(self.world.pusher_m, [0.35, -0.25], [0.85, 0.25])  # somebody puts it back
        self.world.box[:2] = self.world.pusher_m + np.array([0.09, 0.0])
        for _ in range(2):
            self.events("mend")
            self.ticks(2.0)
        x_m, y_m, yaw_rad = self.random.uniform([0.45, -0.15, 0.0], [0.8, 0.15, 0.0])
        self.world.send_goal(x_m, y_m, yaw_rad)
        self.ticks(1.0)
        before = Counter(self.world.oracles.reasons)
        self.ticks(float(self.random.uniform(2.0, 10.0)))
        for reason, count in (Counter(self.world.oracles.reasons) - before).items():
            if reason not in WELL:
                self.counts["unexplained statuses"] += count
                self.counts[f"unexplained {reason}"] += count
                words = self.world.nodes["pusher"]._arm.condition().text
                print(f"at {self.world.time.steady_s:.2f} s, after {done}: {reason} {count} times; {words}", flush=True)
        self.counts["faults"] += 1

    def drain(self) -> None:
        """Take what the oracles have found."""
        oracles = self.world.oracles
        for text in oracles.unsafe:
            kind = "missed stops" if "missed stop" in text or "goes on" in text else "unsafe"
            kind = "unexplained statuses" if "without explanation" in text else kind
            self.counts[kind] += 1
            print(text, flush=True)
        oracles.unsafe.clear()


DEFAULTS = {
    "step_limit_m": 0.05, "speed_limit_mps": 0.12, "acceleration_limit_mps2": 0.5, "tracking_limit_m": 0.03,
    "workspace_m": [0.30, 0.95, -0.35, 0.35], "keep_out_m": [0.0] * 4,
}  # fmt: skip


def simulated(hours: float, seed: int, minutes: float) -> int:
    """Returns the exit code: 1 when anything was unsafe."""
    began_s = time.monotonic()
    with injected():
        soak = Soak(seed)
        start_s, shown = soak.world.time.steady_s, -1
        while (passed_h := (soak.world.time.steady_s - start_s) / 3600.0) < hours:
            soak.cycle()
            soak.drain()
            if time.monotonic() - began_s > 60.0 * minutes:
                break
            if int(passed_h * 10) > shown:
                shown = int(passed_h * 10)
                gc.collect()
                soak.samples.append((passed_h, rss_mib()))
                if shown % 5 == 0:
                    print(f"{passed_h:.1f} h, {rss_mib():.0f} MiB, {dict(soak.counts)}", flush=True)
    oracles, counts = soak.world.oracles, soak.counts
    table = np.array(soak.samples[len(soak.samples) // 4 :])  # caches fill at first
    slope = float(np.polyfit(table[:, 0], table[:, 1], 1)[0]) if len(table) > 2 else float("nan")
    print(f"| simulated hours | {passed_h:.2f} |\n|---|---|")
    rows = {
        "wall time, minutes": f"{(time.monotonic() - began_s) / 60.0:.1f}", "faults": counts["faults"],
        "ticks": counts["ticks"],
        "messages, calls and ticks of nodes": soak.world.inputs, "steps sent": oracles.sent,
        "of them not zero": oracles.moving_sent, "steps taken by the pusher": oracles.taken, "unsafe": counts["unsafe"],
        "missed stops": counts["missed stops"], "unexplained statuses": counts["unexplained statuses"],
        "memory, MiB": f"{soak.samples[0][1]:.0f} to {soak.samples[-1][1]:.0f}",
        "its slope after a quarter, MiB/h": f"{slope:.2f}",
    }  # fmt: skip
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    print("statuses:", dict(sorted(oracles.reasons.items())))
    print("unexplained:", {name: count for name, count in counts.items() if name.startswith("unexplained ")})
    return int(bool(counts["unsafe"] or counts["missed stops"] or counts["unexplained statuses"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=8.0, help="simulated hours")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=np.inf, help="end after so much wall time, with what there is")
    parser.add_argument("--live", type=float, default=0.0, help="minutes of the real processes instead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.live > 0.0:
        from soak_live import live

        return live(arguments.live, arguments.seed)
    return simulated(arguments.hours, arguments.seed, arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
