"""How good the samples under each marker's name are: counted for diagnostics, and watched for repetition."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sgp_core.matching import Match
from sgp_core.safety import Fault

# What a sample may have been. `refused`: seen in a frame that gave no state.
KINDS = ("seen", "swapped", "outlier", "frozen", "hidden", "refused")


@dataclass
class MarkerQuality:
    """What became of the samples under one marker's name."""

    counts: Counter[str] = field(default_factory=Counter)  # of each of KINDS
    last: str = "hidden"
    residual_m: float = math.nan  # distance of the last one from the placed layout

    def take(self, kind: str, residual_m: float = math.nan) -> None:
        """Count one sample."""
        self.counts[kind] += 1
        self.last, self.residual_m = kind, residual_m

    def words(self) -> str:
        """For diagnostics: what the last one was, the share of each kind, the last residual."""
        total = max(1, sum(self.counts.values()))
        shares = [f"{kind} {100.0 * self.counts[kind] / total:.1f} %" for kind in KINDS if self.counts[kind]]
        residual = [f"residual {self.residual_m * 1e3:.1f} mm"] if math.isfinite(self.residual_m) else []
        return ", ".join([f"now {self.last}", *shares, *residual])


def judge(
    quality: dict[str, MarkerQuality],
    found: Match | Fault,
    points_m: Float[ndarray, "N 2"],
    seen: Bool[ndarray, "N"],
    frozen: Bool[ndarray, "N"],
) -> None:
    """Count what became of each marker's sample in one frame.

    Args:
        quality: by marker name, in the order of the layout; changed.
        found: where the box was found, or why not.
        points_m: the samples [m; table].
        seen: which were there.
        frozen: which of them only repeat themselves.
    """
    index = [] if isinstance(found, Fault) else found.index.tolist()
    place_of = {point: place for place, point in enumerate(index) if point >= 0}
    for label, marker in enumerate(quality.values()):
        if frozen[label] or not seen[label]:
            marker.take("frozen" if frozen[label] else "hidden")
        elif isinstance(found, Fault):
            marker.take("refused")
        else:
            place = place_of.get(label)
            kind = "outlier" if place is None else "seen" if place == label else "swapped"
            off = points_m[label] - found.markers_m[label if place is None else place]
            marker.take(kind, math.hypot(*off.tolist()))


class FrozenWatch:
    """Which markers repeat themselves to the last bit: a camera's never do for long, at rest neither.

    Args:
        count: number of markers.
    """

    def __init__(self, count: int) -> None:
        self.since_s: Float[ndarray, "N"] = np.zeros(count)  # when each marker last changed
        self._repeated_m = np.full((count, 2), np.nan)

    def frozen(
        self, points_m: Float[ndarray, "N 2"], seen: Bool[ndarray, "N"], stamp_s: float, timeout_s: float
    ) -> Bool[ndarray, "N"]:
        """Take one frame's samples [m]; true for those seen that have not changed for longer than `timeout_s`.

        A marker that is hidden in between keeps its place: one that comes back to the bit has not been measured anew.
        A timeout of 0 switches the answer off.
        """
        changed = seen & (points_m != self._repeated_m).any(axis=1)
        self._repeated_m[changed] = points_m[changed]
        self.since_s[changed] = stamp_s
        if timeout_s == 0.0:
            return np.zeros(len(seen), dtype=bool)
        return seen & (stamp_s - self.since_s > timeout_s)
