"""From a frame of markers to the state, as far as the markers can be believed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sgp_core.assembly import BACKWARDS_S
from sgp_core.config import EstimatorConfig
from sgp_core.layout import MarkerLayout
from sgp_core.matching import Match, Pose, match
from sgp_core.pusher_gate import FAR_M
from sgp_core.quality import FrozenWatch, MarkerQuality, judge
from sgp_core.safety import Fault
from sgp_core.types import MarkerFrame, Reason, State

# Older than this, the last pose no longer helps to tell one marker from another.
NEAR_S = 1.0
NEAR_REACH_M = 0.1


@dataclass(frozen=True, eq=False)
class _Seen:
    """Where the box was seen at an instant."""

    stamp_s: float
    pose: Pose
    markers_m: Float[ndarray, "N 2"]

    def moved_m(self, since: _Seen) -> float:
        """How far the farthest marker went, which sees turning as well as moving."""
        off = self.markers_m - since.markers_m
        return math.sqrt(float((off * off).sum(axis=1).max()))


class Estimator:
    """Turns frames into states and refuses what a rigid box on a table cannot do.

    Args:
        layout: the box.
        config: may be replaced between calls.
    """

    def __init__(self, layout: MarkerLayout, config: EstimatorConfig) -> None:
        self.layout = layout
        self.config = config
        self.quality = {name: MarkerQuality() for name in layout.names}
        self.clear()

    def clear(self) -> None:
        """Forget where the box was; for a clock that jumped. The counters stay."""
        self._last: _Seen | None = None
        self._doubted: list[_Seen] = []  # first and last sight of the box at a place it cannot have come to
        self._watch = FrozenWatch(self.layout.count)
        self._newest_s = -math.inf

    def match_points(self, points_m: Float[ndarray, "M 2"], stamp_s: float) -> Float[ndarray, "N 2"] | Fault:
        """Find the markers in an unlabelled cloud [m; table].

        Returns:
            Markers in the layout's order, NaN where hidden; for `FrameAssembler.add_frame`, whose frame comes back to
            `estimate`. Or a Fault BAD_STATE when the box is not to be found.
        """
        points = np.asarray(points_m, dtype=float)
        found = self._match(points, stamp_s, labelled=False)
        if isinstance(found, Fault):
            return found
        return _points_of(found, points, np.full((self.layout.count, 2), np.nan))

    def estimate(self, frame: MarkerFrame) -> State | Fault:
        """The complete state at a frame's stamp.

        Markers that are believed pass as measured; the others go where the rigid layout, placed on those, has them.

        Args:
            frame: markers (N, 2) and pusher (2,) [m; table].

        Returns:
            The state, or a Fault: BAD_STATE when too few markers are seen, they do not form the box or the box jumped,
            FROZEN_STATE when the driver repeats itself, NO_PUSHER when the pusher is not known.
        """
        if frame.stamp_s < self._newest_s - BACKWARDS_S:
            self.clear()
        self._newest_s = max(self._newest_s, frame.stamp_s)
        points = np.array(frame.positions_m, dtype=float)
        seen = np.asarray(frame.visible, dtype=bool) & np.isfinite(points).all(axis=1)
        frozen = self._watch.frozen(points, seen, frame.stamp_s, self.config.frozen_timeout_s)
        trusted = seen & ~frozen
        points[~trusted] = np.nan
        found = self._placed(points, frame.stamp_s)
        if frozen.any() and trusted.sum() < 2:
            found = self._frozen_fault(frozen, frame.stamp_s)
        judge(self.quality, found, points, seen, frozen)
        if isinstance(found, Fault):
            return found
        if not np.isfinite(frame.pusher_m).all():
            return Fault(reason=Reason.NO_PUSHER, text="no pusher sample close enough to the markers' stamp")
        markers = _points_of(found, points, found.markers_m)
        return State(stamp_s=frame.stamp_s, x=self.layout.pack(markers, frame.pusher_m))

    def _frozen_fault(self, frozen: Bool[ndarray, "N"], stamp_s: float) -> Fault:
        names = [self.layout.names[index] for index in np.flatnonzero(frozen)]
        text = (
            f"{', '.join(names)} repeat the same numbers for {stamp_s - self._watch.since_s[frozen].max():.2f} s,"
            f" frozen_timeout_s is {self.config.frozen_timeout_s:g}; is the mocap driver alive?"
        )
        return Fault(reason=Reason.FROZEN_STATE, text=text)

    def _reach_m(self, since: _Seen, stamp_s: float) -> float:
        """How far the box may have got since; after a long time unseen no further, so that it is looked at twice."""
        went_m = min(self.config.box_speed_limit_mps * abs(stamp_s - since.stamp_s), NEAR_REACH_M)
        return went_m + self.config.rigid_tolerance_m

    def _match(self, points_m: Float[ndarray, "M 2"], stamp_s: float, *, labelled: bool) -> Match | Fault:
        near, reach_m = None, NEAR_REACH_M
        if self._last is not None and abs(stamp_s - self._last.stamp_s) <= NEAR_S:
            near, reach_m = self._last.pose, min(reach_m, self._reach_m(self._last, stamp_s))
        tolerance_m = self.config.rigid_tolerance_m
        return match(points_m, self.layout, tolerance_m, labelled=labelled, near=near, reach_m=reach_m)

    def _placed(self, points_m: Float[ndarray, "N 2"], stamp_s: float) -> Match | Fault:
        """Match, and believe it when the box can have come there."""
        found = self._match(points_m, stamp_s, labelled=True)
        if isinstance(found, Fault):
            return found
        far_m = math.hypot(*found.pose[:2])
        if far_m > FAR_M:
            text = f"the box is {far_m:.0f} m from the origin of the table; are these millimetres (unit_m)?"
            return Fault(reason=Reason.BAD_STATE, text=text)
        box = _Seen(stamp_s, found.pose, found.markers_m)
        jump = self._jump(box)
        if jump is not None and self._last is not None:
            # Labels that tell of a jump may be wrong themselves: two markers of a pair, or all of a symmetric layout.
            other = self._match(points_m, stamp_s, labelled=False)
            if isinstance(other, Fault) or (other.index >= 0).sum() < (found.index >= 0).sum():
                return jump
            said, found, box = box, other, _Seen(stamp_s, other.pose, other.markers_m)
            moved_m = box.moved_m(self._last)
            if moved_m > min(self._reach_m(self._last, stamp_s), 0.5 * said.moved_m(self._last)):
                return jump
        self._last, self._doubted = box, []
        return found

    def _jump(self, box: _Seen) -> Fault | None:
        """Refuse a place the box cannot have come to, until it has been seen there for `reacquire_s`."""
        last = self._last
        if last is None:
            return None
        moved_m, doubted = box.moved_m(last), self._doubted
        follows = bool(doubted) and box.moved_m(doubted[1]) <= self._reach_m(doubted[1], box.stamp_s)
        # While it is seen where it cannot be, time alone does not make that place believable.
        if moved_m <= self._reach_m(last, box.stamp_s) and not (follows and box.moved_m(doubted[1]) < moved_m):
            return None
        doubted[:] = [doubted[0] if follows else box, box]
        if box.stamp_s - doubted[0].stamp_s >= self.config.reacquire_s:
            return None
        text = (
            f"the box jumped {moved_m * 1e3:.0f} mm in {box.stamp_s - last.stamp_s:.3f} s, box_speed_limit_mps is"
            f" {self.config.box_speed_limit_mps:g}; it is believed after {self.config.reacquire_s:g} s (reacquire_s)"
        )
        return Fault(reason=Reason.BAD_STATE, text=text)


def _points_of(
    found: Match, points_m: Float[ndarray, "M 2"], otherwise_m: Float[ndarray, "N 2"]
) -> Float[ndarray, "N 2"]:
    return np.where((found.index >= 0)[:, None], points_m[found.index], otherwise_m)
