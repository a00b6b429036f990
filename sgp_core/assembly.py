"""From single marker samples, or whole frames of them, to frames that hold the pusher too."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import EstimatorConfig
from sgp_core.types import MarkerFrame

# A sample this much older than the newest one is not late: the clock was set back, or a recording started again.
BACKWARDS_S = 1.0
_PERIODS = 61  # gaps between a marker's samples kept for their mean


@dataclass
class _Bucket:
    """Samples that belong together, at least one, each with its own stamp."""

    samples: dict[str, tuple[float, ndarray]]

    @property
    def stamp_s(self) -> float:
        """The oldest sample dates the frame, so that its age is never understated."""
        return min(stamp_s for stamp_s, _ in self.samples.values())


class FrameAssembler:
    """Gathers marker samples into frames by their stamps.

    A frame leaves when it has all markers and the pusher is known at its stamp, or when a marker sample arrives that is
    more than `sync_tolerance_s` newer: then what is missing counts as hidden. Frames leave in the order of their
    stamps.

    Args:
        names: marker names in the order of the state.
        config: `sync_tolerance_s` and `pusher_gap_s` are used; may be replaced between calls.
    """

    def __init__(self, names: Sequence[str], config: EstimatorConfig) -> None:
        self.names = tuple(names)
        self.config = config
        self.counts: Counter[str] = Counter()  # late, cleared, frames, hidden: for diagnostics
        self._clear()

    def _clear(self) -> None:
        self._buckets: list[_Bucket] = []
        self._pusher: deque[tuple[float, ndarray]] = deque(maxlen=128)
        self._last_s: dict[str, float] = {}
        self._gaps_s: deque[float] = deque(maxlen=_PERIODS)
        self._newest_s: dict[str, float] = {}  # stamp of each source
        self._newest_marker_s = -np.inf
        self._emitted_s = -np.inf
        self._emitted_names: set[str] = set()

    def clear(self) -> None:
        """Forget everything; for a clock that jumped."""
        self.counts["cleared"] += 1
        self._clear()

    def add_marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> list[MarkerFrame]:
        """Take one marker sample [m; table]; returns the frames that are now complete or given up, oldest first."""
        self._watch_clock("markers", stamp_s)
        # Only markers make a frame old: an arm that reports without delay must not outrun the camera's samples.
        self._newest_marker_s = max(self._newest_marker_s, stamp_s)
        join_s = self._join_s()
        if self._is_late(name, stamp_s, join_s):
            self.counts["late"] += 1
            return self._leaving()
        self._learn_gap(name, stamp_s)
        self._put(name, (stamp_s, np.asarray(position_m, dtype=float)), join_s)
        return self._leaving()

    def add_frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> list[MarkerFrame]:
        """Take all markers of one instant [m; table], NaN where hidden; returns the frames that now leave.

        A frame that is not newer than every one before it, waiting ones included, is dropped and counted as late.
        """
        self._watch_clock("markers", stamp_s)
        if stamp_s <= self._newest_marker_s:
            self.counts["late"] += 1
            return self._leaving()
        self._newest_marker_s = stamp_s
        positions = zip(self.names, np.array(positions_m, dtype=float), strict=True)
        self._buckets.append(_Bucket({name: (stamp_s, position) for name, position in positions}))
        return self._leaving()

    def add_pusher(self, stamp_s: float, position_m: Float[ndarray, "2"]) -> list[MarkerFrame]:
        """Take one pusher sample [m; table]; returns the frames that are now complete or given up, oldest first."""
        self._watch_clock("pusher", stamp_s)
        if self._pusher and stamp_s <= self._pusher[-1][0]:
            self.counts["late"] += 1
        elif np.isfinite(position_m).all():
            self._pusher.append((stamp_s, np.asarray(position_m, dtype=float)))
        return self._leaving()

    def _watch_clock(self, source: str, stamp_s: float) -> None:
        # Of each source: two clocks that are apart are no clock that jumps, again and again.
        if stamp_s < self._newest_s.get(source, -np.inf) - BACKWARDS_S:
            self.clear()
        self._newest_s[source] = max(self._newest_s.get(source, -np.inf), stamp_s)

    def _learn_gap(self, name: str, stamp_s: float) -> None:
        last_s = self._last_s.get(name, -np.inf)
        if np.isfinite(last_s) and stamp_s > last_s:
            # A marker that was hidden for long says nothing of the period.
            self._gaps_s.append(min(stamp_s - last_s, 2.0 * self.config.sync_tolerance_s))
        self._last_s[name] = max(stamp_s, last_s)

    def _join_s(self) -> float:
        """Largest distance of a sample from its frame: never so large that two frames of one source would mix.

        At 100 Hz a marker hidden in one frame would otherwise be filled from the next one, 10 ms later. The mean, not
        the median: where a driver stamps on receipt, half of all gaps may be microseconds.
        """
        if len(self._gaps_s) < _PERIODS:
            return self.config.sync_tolerance_s
        return min(self.config.sync_tolerance_s, 0.5 * sum(self._gaps_s) / len(self._gaps_s))

    def _is_late(self, name: str, stamp_s: float, join_s: float) -> bool:
        """Its frame has left without it, or has this sample already."""
        if stamp_s <= self._emitted_s:
            return True
        if stamp_s - self._emitted_s <= join_s and name not in self._emitted_names:
            return True
        return stamp_s == self._last_s.get(name)

    def _put(self, name: str, sample: tuple[float, ndarray], join_s: float) -> None:
        """Into the frame it belongs to; a new one when its marker is there already in all that are near.

        Drivers that stamp on receipt may stamp two frames within 0.1 ms. Their stamps still rise from sample to sample,
        so a frame reaches from its first sample to the next frame's first.
        """
        near = [b for b in self._buckets if abs(b.stamp_s - sample[0]) <= join_s and name not in b.samples]
        begun = [bucket for bucket in near if bucket.stamp_s <= sample[0]]
        if near:
            bucket = begun[-1] if begun else near[0]
            bucket.samples[name] = sample
        else:
            bucket = _Bucket({name: sample})
            self._buckets.append(bucket)
        if not begun:
            self._buckets.sort(key=lambda bucket: bucket.stamp_s)
            self._take_along(bucket)

    def _take_along(self, bucket: _Bucket) -> None:
        """What joined the frame before, because this one had not begun yet, moves on to it."""
        begin_s = bucket.stamp_s
        for other in self._buckets:
            if other.stamp_s >= begin_s:
                break
            for name in [name for name, sample in other.samples.items() if sample[0] >= begin_s]:
                if name not in bucket.samples:
                    bucket.samples[name] = other.samples.pop(name)

    def _leaving(self) -> list[MarkerFrame]:
        given_up_s = self._newest_marker_s - self.config.sync_tolerance_s
        pusher_s = self._pusher[-1][0] if self._pusher else -np.inf
        last = -1
        for index, bucket in enumerate(self._buckets):
            full = len(bucket.samples) == len(self.names) and pusher_s >= bucket.stamp_s
            if full or bucket.stamp_s < given_up_s:
                last = index
        leaving, self._buckets = self._buckets[: last + 1], self._buckets[last + 1 :]
        return [self._frame(bucket) for bucket in leaving]

    def _frame(self, bucket: _Bucket) -> MarkerFrame:
        positions = np.full((len(self.names), 2), np.nan)
        for index, name in enumerate(self.names):
            if name in bucket.samples:
                positions[index] = bucket.samples[name][1]
        visible = np.isfinite(positions).all(axis=1)
        stamp_s = self._emitted_s = bucket.stamp_s
        self._emitted_names = set(bucket.samples)
        self.counts["frames"] += 1
        self.counts["hidden"] += int((~visible).sum())
        return MarkerFrame(stamp_s=stamp_s, positions_m=positions, visible=visible, pusher_m=self._pusher_at(stamp_s))

    def _pusher_at(self, stamp_s: float) -> Float[ndarray, "2"]:
        # By a clock that is so far ahead it would be where it was that long ago.
        if self._newest_s.get("pusher", -np.inf) > self._newest_s["markers"] + BACKWARDS_S:
            return np.full(2, np.nan)
        before = [sample for sample in self._pusher if sample[0] <= stamp_s]
        after = [sample for sample in self._pusher if sample[0] >= stamp_s]
        if before and after and after[0][0] - before[-1][0] <= self.config.pusher_gap_s:
            (t0, p0), (t1, p1) = before[-1], after[0]
            return p0 if t1 == t0 else p0 + (p1 - p0) * ((stamp_s - t0) / (t1 - t0))
        nearest = min([*before[-1:], *after[:1]], key=lambda sample: abs(sample[0] - stamp_s), default=None)
        if nearest is not None and abs(nearest[0] - stamp_s) <= self.config.sync_tolerance_s:
            return nearest[1]
        return np.full(2, np.nan)
