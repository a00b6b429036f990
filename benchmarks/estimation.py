"""What the estimator makes of bad frames: error of the markers and time per frame, as a Markdown table.

Run: python benchmarks/estimation.py [frames per cell]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from sgp_core.config import EstimatorConfig
from sgp_core.estimation import Estimator
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.share import share_path
from sgp_core.types import MarkerFrame, State

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))
NOISES_M = (1e-4, 3e-4, 1e-3)
PERIOD_S = 0.01
PUSHER = np.array([0.41, 0.02])
OUTLIER_M = 0.05
Change = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def hidden(count: int) -> Change:
    def change(random: np.random.Generator, markers: np.ndarray) -> np.ndarray:
        markers[random.permutation(LAYOUT.count)[:count]] = np.nan
        return markers

    return change


def swapped(random: np.random.Generator, markers: np.ndarray) -> np.ndarray:
    pair = random.permutation(LAYOUT.count)[:2]
    markers[pair] = markers[pair[::-1]]
    return markers


def outliers(count: int) -> Change:
    def change(random: np.random.Generator, markers: np.ndarray) -> np.ndarray:
        angle = random.uniform(0.0, 2.0 * np.pi, count)
        which = random.permutation(LAYOUT.count)[:count]
        markers[which] += OUTLIER_M * np.column_stack([np.cos(angle), np.sin(angle)])
        return markers

    return change


def reflections(random: np.random.Generator, markers: np.ndarray) -> np.ndarray:
    extra = markers.mean(axis=0) + random.uniform(-0.3, 0.3, (2, 2))
    cloud: np.ndarray = random.permutation(np.vstack([markers, extra]))
    return cloud


CASES: dict[str, tuple[Change, bool]] = {  # and whether the points have labels
    **{f"{count} hidden": (hidden(count), True) for count in range(4)},
    "1 swap": (swapped, True),
    "1 outlier, 50 mm": (outliers(1), True),
    "2 outliers, 50 mm": (outliers(2), True),
    "cloud, 2 reflections": (reflections, False),
}


@dataclass
class Result:
    """Of many frames."""

    errors_m: list[np.ndarray] = field(default_factory=list)
    followed_s: list[float] = field(default_factory=list)  # CPU time where the box was seen the moment before
    first_s: list[float] = field(default_factory=list)  # and where it was not
    refused: int = 0

    def errors(self) -> str:
        all_m = np.concatenate(self.errors_m)
        return f"{1e3 * all_m.mean():.2f} / {1e3 * all_m.max():.2f}"

    def refusals(self) -> str:
        return f"{100.0 * self.refused / len(self.followed_s + self.first_s):.1f}"


def measure(change: Change, labelled: bool, noise_m: float, frames: int) -> Result:
    """A box that moves as it is pushed; half of the frames come to an estimator that has not seen it before."""
    result = Result()
    for seed in range(frames // 20):
        random, estimator = np.random.default_rng(seed), Estimator(LAYOUT, EstimatorConfig())
        x, y, yaw = random.uniform(0.4, 0.8), random.uniform(-0.2, 0.2), random.uniform(-np.pi, np.pi)
        for k in range(20):
            if k < 10:
                estimator.clear()
            truth = LAYOUT.markers_at(x + 0.001 * k, y, yaw + 0.01 * k)
            seen = change(random, truth + random.normal(0.0, noise_m, truth.shape))
            begin_s = time.thread_time()
            state = estimated(estimator, seen, PERIOD_S * k, labelled)
            (result.first_s if k < 10 else result.followed_s).append(time.thread_time() - begin_s)
            if isinstance(state, Fault):
                result.refused += 1
            else:
                result.errors_m.append(np.linalg.norm(LAYOUT.markers(state.x) - truth, axis=1))
    return result


def estimated(estimator: Estimator, points_m: np.ndarray, stamp_s: float, labelled: bool) -> State | Fault:
    markers = points_m if labelled else estimator.match_points(points_m, stamp_s)
    if isinstance(markers, Fault):
        return markers
    visible = np.asarray(np.isfinite(markers).all(axis=1))
    return estimator.estimate(MarkerFrame(stamp_s=stamp_s, positions_m=markers, visible=visible, pusher_m=PUSHER))


def main() -> None:
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    noises = [f"{1e3 * noise_m:g} mm" for noise_m in NOISES_M]
    errors = [f"error at {noise} noise: mean / max [mm]" for noise in noises]
    times = [f"CPU time {when}: median / p99 [us]" for when in ("followed", "at first sight")]
    print("| " + " | ".join(["frame", *errors, f"refused at {', '.join(noises)} [%]", *times]) + " |")
    print("|---" * (len(NOISES_M) + 4) + "|")
    for name, (change, labelled) in CASES.items():
        results = [measure(change, labelled, noise_m, frames) for noise_m in NOISES_M]
        times = []
        for kind in ("followed_s", "first_s"):
            all_us = 1e6 * np.concatenate([getattr(result, kind) for result in results])
            times.append(f"{np.median(all_us):.0f} / {np.quantile(all_us, 0.99):.0f}")
        refused = ", ".join(result.refusals() for result in results)
        print("| " + " | ".join([name, *(result.errors() for result in results), refused, *times]) + " |")


if __name__ == "__main__":
    main()
