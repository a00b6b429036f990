"""From single marker samples to one frame, and from a frame to the state."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from sgp_core.config import EstimatorConfig
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.types import MarkerFrame, Reason, State

# A sample this much older than the newest one is not late: the clock was set back, or a recording started again.
BACKWARDS_S = 1.0
# Between pusher samples further apart than this the pusher may have been anywhere.
PUSHER_GAP_S = 0.25
_PERIODS = 31  # marker periods kept for their median


def table_rows(table_from_mocap: Sequence[float]) -> Float[ndarray, "2 4"]:
    """The part of the transform that matters on a table.

    Args:
        table_from_mocap: x, y, z [m], roll, pitch, yaw [rad] of the mocap frame seen from the table frame; the rotation
            is about the fixed axes x, y, z in this order, as in URDF and tf.

    Returns:
        Rows A such that `A @ (x, y, z, 1)` of a point [m; mocap] is its (x, y) [m; table].
    """
    x, y, _, *angles = table_from_mocap
    turn = Rotation.from_euler("xyz", angles).as_matrix()
    return np.column_stack([turn[:2], [x, y]])


def to_table(rows: Float[ndarray, "2 4"], point_m: Float[ndarray, "3"]) -> Float[ndarray, "2"]:
    """A point [m; mocap] on the table [m; table]."""
    return rows[:, :3] @ np.asarray(point_m, dtype=float) + rows[:, 3]


@dataclass
class _Bucket:
    """Samples that belong together; `stamp_s` is the first one's."""

    stamp_s: float
    positions_m: dict[str, ndarray] = field(default_factory=dict)
    oldest_s: float = np.inf


class FrameAssembler:
    """Gathers per-marker samples into frames by their stamps.

    A frame leaves when it has all markers and the pusher is known at its stamp, or when a marker sample arrives that is
    more than `sync_tolerance_s` newer: then what is missing counts as hidden. Frames leave in the order of their
    stamps.

    Args:
        names: marker names in the order of the state.
        config: `sync_tolerance_s` is used; may be replaced between calls.
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
        self._periods_s: deque[float] = deque(maxlen=_PERIODS)
        self._newest_s = -np.inf
        self._newest_marker_s = -np.inf
        self._emitted_s = -np.inf
        self._emitted_names: set[str] = set()

    def clear(self) -> None:
        """Forget everything; for a clock that jumped."""
        self.counts["cleared"] += 1
        self._clear()

    def add_marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> list[MarkerFrame]:
        """Take one marker sample [m; table]; returns the frames that are now complete or given up, oldest first."""
        self._watch_clock(stamp_s)
        # Only markers make a frame old: an arm that reports without delay must not outrun the camera's samples.
        self._newest_marker_s = max(self._newest_marker_s, stamp_s)
        join_s = self._join_s()
        if self._is_late(name, stamp_s, join_s):
            self.counts["late"] += 1
            return self._leaving()
        self._learn_period(name, stamp_s)
        near = [b for b in self._buckets if abs(b.stamp_s - stamp_s) <= join_s and name not in b.positions_m]
        if near:
            bucket = min(near, key=lambda b: abs(b.stamp_s - stamp_s))
        else:
            bucket = _Bucket(stamp_s)
            self._buckets.append(bucket)
            self._buckets.sort(key=lambda b: b.stamp_s)
        bucket.positions_m[name] = np.asarray(position_m, dtype=float)
        bucket.oldest_s = min(bucket.oldest_s, stamp_s)
        return self._leaving()

    def add_pusher(self, stamp_s: float, position_m: Float[ndarray, "2"]) -> list[MarkerFrame]:
        """Take one pusher sample [m; table]; returns the frames that are now complete or given up, oldest first."""
        self._watch_clock(stamp_s)
        if self._pusher and stamp_s <= self._pusher[-1][0]:
            self.counts["late"] += 1
        elif np.isfinite(position_m).all():
            self._pusher.append((stamp_s, np.asarray(position_m, dtype=float)))
        return self._leaving()

    def _watch_clock(self, stamp_s: float) -> None:
        if stamp_s < self._newest_s - BACKWARDS_S:
            self.clear()
        self._newest_s = max(self._newest_s, stamp_s)

    def _learn_period(self, name: str, stamp_s: float) -> None:
        last_s = self._last_s.get(name, -np.inf)
        if np.isfinite(last_s) and stamp_s > last_s:
            self._periods_s.append(stamp_s - last_s)
        self._last_s[name] = max(stamp_s, last_s)

    def _join_s(self) -> float:
        """Largest distance of a sample from its frame: never so large that two frames of one source would mix.

        At 100 Hz a marker hidden in one frame would otherwise be filled from the next one, 10 ms later.
        """
        if len(self._periods_s) < _PERIODS:
            return self.config.sync_tolerance_s
        return min(self.config.sync_tolerance_s, 0.5 * float(np.median(self._periods_s)))

    def _is_late(self, name: str, stamp_s: float, join_s: float) -> bool:
        """Its frame has left without it, or has this sample already."""
        if stamp_s <= self._emitted_s:
            return True
        if stamp_s - self._emitted_s <= join_s and name not in self._emitted_names:
            return True
        return any(bucket.stamp_s == stamp_s and name in bucket.positions_m for bucket in self._buckets)

    def _leaving(self) -> list[MarkerFrame]:
        given_up_s = self._newest_marker_s - self.config.sync_tolerance_s
        pusher_s = self._pusher[-1][0] if self._pusher else -np.inf
        last = -1
        for index, bucket in enumerate(self._buckets):
            full = len(bucket.positions_m) == len(self.names) and pusher_s >= bucket.oldest_s
            if full or bucket.stamp_s < given_up_s:
                last = index
        leaving, self._buckets = self._buckets[: last + 1], self._buckets[last + 1 :]
        return [self._frame(bucket) for bucket in leaving]

    def _frame(self, bucket: _Bucket) -> MarkerFrame:
        positions = np.full((len(self.names), 2), np.nan)
        for index, name in enumerate(self.names):
            if name in bucket.positions_m:
                positions[index] = bucket.positions_m[name]
        visible = np.isfinite(positions).all(axis=1)
        self._emitted_s = max(self._emitted_s, bucket.stamp_s)
        self._emitted_names = set(bucket.positions_m)
        self.counts["frames"] += 1
        self.counts["hidden"] += int((~visible).sum())
        # The oldest sample dates the frame, so that its age is never understated.
        stamp_s = bucket.oldest_s
        return MarkerFrame(stamp_s=stamp_s, positions_m=positions, visible=visible, pusher_m=self._pusher_at(stamp_s))

    def _pusher_at(self, stamp_s: float) -> Float[ndarray, "2"]:
        before = [sample for sample in self._pusher if sample[0] <= stamp_s]
        after = [sample for sample in self._pusher if sample[0] >= stamp_s]
        if before and after and after[0][0] - before[-1][0] <= PUSHER_GAP_S:
            (t0, p0), (t1, p1) = before[-1], after[0]
            return p0 if t1 == t0 else p0 + (p1 - p0) * ((stamp_s - t0) / (t1 - t0))
        nearest = min([*before[-1:], *after[:1]], key=lambda sample: abs(sample[0] - stamp_s), default=None)
        if nearest is not None and abs(nearest[0] - stamp_s) <= self.config.sync_tolerance_s:
            return nearest[1]
        return np.full(2, np.nan)


def estimate(frame: MarkerFrame, layout: MarkerLayout, config: EstimatorConfig) -> State | Fault:
    """The complete state at a frame's stamp.

    Visible markers pass as measured; hidden ones are put where the rigid layout, fitted to the visible ones, has them.

    Args:
        frame: markers (N, 2) and pusher (2,) [m; table].
        layout: the box.
        config: `rigid_tolerance_m` is used.

    Returns:
        The state, or a Fault: BAD_STATE when fewer than two markers are seen or they do not form the box, NO_PUSHER
        when the pusher is not known.
    """
    positions = np.array(frame.positions_m, dtype=float)
    visible = np.asarray(frame.visible, dtype=bool) & np.isfinite(positions).all(axis=1)
    if visible.sum() < 2:
        text = f"{int(visible.sum())} of {layout.count} markers visible; at least 2 are needed to place the box"
        return Fault(reason=Reason.BAD_STATE, text=text)
    fitted = layout.markers_at(*layout.pose_of(positions, visible))
    off_m = np.where(visible, np.linalg.norm(fitted - np.where(visible[:, None], positions, fitted), axis=1), 0.0)
    if off_m.max() > config.rigid_tolerance_m:
        text = (
            f"marker {layout.names[int(off_m.argmax())]} is {off_m.max() * 1e3:.1f} mm off the rigid layout,"
            f" rigid_tolerance_m is {config.rigid_tolerance_m:g}; check marker names, places and units"
        )
        return Fault(reason=Reason.BAD_STATE, text=text)
    if not np.isfinite(frame.pusher_m).all():
        return Fault(reason=Reason.NO_PUSHER, text="no pusher sample close enough to the markers' stamp")
    markers = np.where(visible[:, None], positions, fitted)
    return State(stamp_s=frame.stamp_s, x=layout.pack(markers, frame.pusher_m))
