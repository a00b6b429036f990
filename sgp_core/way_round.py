"""Where a push can begin, and the way there round the box: geometry, with nothing learned in it.

A push begins beside a face. The way to another face leads round the box, which stands still meanwhile; no gradient of
what is learned tells of that, since nothing changes until the box is touched again.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.interpolate import RegularGridInterpolator

from sgp_core.layout import MarkerLayout, rotation
from sgp_core.safety import MEASURED_SLACK_M
from sgp_core.workspace import Region

Pose = tuple[float, float, float]

PUSH_GAP_M = 0.006  # between the pusher's rim and the face where a push begins
CORNER_GAP_M = 0.012  # at the corners of the way round
WAY_GAP_M = 0.004  # least on the way, well above what markers are off by
LEAVING = 0.1  # a pusher that touches the box leaves it by this much of its way, at least
SHARE_MOST = 0.85  # of half a face: how far from its middle a push begins
LOOKS = 24  # points of a straight way that are looked at
SPACING_M = 0.004  # of the points where a step may end
STEPS_MOST = 24
CELL_M, CELLS = (
    0.02,
    20,
)  # of the grid on which lengths are kept, and how many there are to each side of the box's centre
FAR_M = 10.0  # in place of a length without a way


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Ways to K places beside the box.

    Args:
        reached: whether there is one inside the workspace.
        direct: whether it is straight.
        stops_m: corners of each, without its start, [m; table].
        length_m: of each, the longer of both axes counts for every piece, as it does for a step [m].
    """

    reached: Bool[ndarray, "K"]
    direct: Bool[ndarray, "K"]
    stops_m: list[Float[ndarray, "n 2"]]
    length_m: Float[ndarray, "K"]


@functools.lru_cache(maxsize=4)
def way_round(layout: MarkerLayout, per_side: int) -> WayRound:
    """One for all planners of a box: its grid takes as long as a plan, and no setting but `per_side` changes it."""
    return WayRound(layout, per_side)


class WayRound:
    """The surroundings of one kind of box.

    Args:
        layout: size of the box, radius of the pusher.
        per_side: places beside each of the four sides where a push may begin.

    Attributes:
        places: centre of the pusher at each place (K, 2) [m; box].
        inwards: direction of a push from there (K, 2) [box].
    """

    def __init__(self, layout: MarkerLayout, per_side: int) -> None:
        self._half = np.asarray(layout.box_size_m[:2]) / 2.0
        self._radius = layout.pusher_radius_m
        self._corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (self._half + self._radius + CORNER_GAP_M)
        places, inwards = [], []
        for axis in (0, 1):
            for side in (-1.0, 1.0):
                for share in np.linspace(-SHARE_MOST, SHARE_MOST, per_side) if per_side > 1 else [0.0] * per_side:
                    place, inward = np.zeros(2), np.zeros(2)
                    place[axis] = side * (self._half[axis] + self._radius + PUSH_GAP_M)
                    place[1 - axis] = share * self._half[1 - axis]
                    inward[axis] = -side
                    places.append(place)
                    inwards.append(inward)
        self.places, self.inwards = np.reshape(places, (-1, 2)), np.reshape(inwards, (-1, 2))

    def gap_m(self, points_m: Float[ndarray, "*k 2"]) -> Float[ndarray, "*k"]:
        """Between the pusher's rim and the box, negative when they overlap; of centres [m; box]."""
        outside = np.abs(points_m) - self._half
        beyond = np.linalg.norm(np.maximum(outside, 0.0), axis=-1)
        return np.asarray(beyond + np.minimum(outside.max(axis=-1), 0.0) - self._radius)

    def ways(self, box: Pose, pusher_m: Float[ndarray, "2"], places: Float[ndarray, "K 2"], region: Region) -> Ways:
        """Shortest ways from where the pusher is.

        Args:
            box: pose of the box [m, rad; table].
            pusher_m: centre of the pusher [m; table].
            places: where to [m; box].
            region: where the pusher may be.
        """
        turn, centre = rotation(box[2]), np.asarray(box[:2])
        start = turn.T @ (pusher_m - centre)
        direct, by, sees_corner = self._free(start, places), start, self._free(start, self._corners)
        off: list[ndarray] = []
        if not sees_corner.any():  # at the rim, or close to it
            by = self._backed_off(start)
            off, sees_corner = [by], self._free(by, self._corners)
        sees_place, stops = self._free(by, places), []
        for k, place in enumerate(places):
            route = [] if sees_place[k] else self._corners_between(by, sees_corner, place)
            way = [place] if direct[k] else None if route is None else [*off, *route, place]
            stops.append(None if way is None else np.array(way) @ turn.T + centre)
        reached = np.array([way is not None and self._inside(pusher_m, way, region) for way in stops], dtype=bool)
        found = [way if way is not None else np.zeros((0, 2)) for way in stops]
        lengths = [np.abs(np.diff(np.vstack([pusher_m, way]), axis=0)).max(axis=1).sum() for way in found]
        return Ways(reached=reached, direct=direct, stops_m=found, length_m=np.array(lengths))

    def lengths(self, points_m: Float[ndarray, "S 2"]) -> Float[ndarray, "S K"]:
        """How far it is from points beside the box [m; box] to every place round it, whatever else is there [m]."""
        blind = np.logical_not(np.asarray(self._free(points_m[:, None], self._corners)).any(axis=1)).reshape(-1)
        by = np.where(blind[:, None], np.array([self._backed_off(point) for point in points_m]), points_m)
        to_corner = np.where(self._free(by[:, None], self._corners), _apart(by, self._corners), np.inf)
        to_place = np.where(self._free(self._corners[:, None], self.places), _apart(self._corners, self.places), np.inf)
        ring = _apart(self._corners, self._corners)
        ring[[0, 1, 2, 3], [2, 3, 0, 1]] = ring[0, 1] + ring[1, 2]  # across is along two sides
        past = (to_corner[:, :, None] + ring).min(axis=1)  # to each corner as the last one (S, 4)
        direct = np.where(self._free(by[:, None], self.places), _apart(by, self.places), np.inf)
        round_m = np.minimum(direct, (past[:, :, None] + to_place).min(axis=1))
        return np.asarray(round_m + np.linalg.norm(by - points_m, axis=1)[:, None])

    def about(self, points_m: Float[ndarray, "*k 2"]) -> Float[ndarray, "*k K"]:
        """As `lengths`, between points of a grid and therefore much sooner."""
        return np.asarray(self._grid(points_m)).reshape(*points_m.shape[:-1], -1)

    @functools.cached_property
    def _grid(self) -> RegularGridInterpolator:
        axis = np.arange(-CELLS, CELLS + 1) * CELL_M
        points_m = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
        lengths_m = self.lengths(points_m.reshape(-1, 2)).clip(max=FAR_M)
        return RegularGridInterpolator(
            (axis, axis), lengths_m.reshape(*points_m.shape[:2], -1), bounds_error=False, fill_value=None
        )

    def steps(
        self,
        box: Pose,
        pusher_m: Float[ndarray, "2"],
        stops_m: Float[ndarray, "n 2"],
        limit_m: float,
        region: Region,
    ) -> Float[ndarray, "m 2"]:
        """A way cut into steps, each as far along it as a straight one leads [m; table].

        Args:
            box: pose of the box [m, rad; table].
            pusher_m: where it begins [m; table].
            stops_m: its corners and its end [m; table].
            limit_m: longest step along an axis.
            region: where the pusher may be.
        """
        turn, centre = rotation(box[2]), np.asarray(box[:2])
        points, at = _refined(np.vstack([pusher_m, stops_m])), np.asarray(pusher_m, dtype=float)
        steps: list[ndarray] = []
        while len(points) and len(steps) < STEPS_MOST:
            near = np.flatnonzero(np.abs(points - at).max(axis=1) <= limit_m + 1e-9)
            ends = points[near]
            good = self._free(turn.T @ (at - centre), (ends - centre) @ turn)
            good &= np.abs(region.reached(np.broadcast_to(at, ends.shape), ends) - ends).max(axis=1) < 1e-6
            # Where not even the next point can be seen the way goes on along itself.
            last = int(near[good][-1]) if good.any() else 0
            steps.append(points[last] - at)
            at, points = points[last], points[last + 1 :]
        return np.reshape(steps, (-1, 2))

    def is_clear(self, box: Pose, pusher_m: Float[ndarray, "2"], u: Float[ndarray, "2"], region: Region) -> bool:
        """Whether a step from where the pusher is keeps off the box and inside the workspace [m; table]."""
        start, end = ((point - np.asarray(box[:2])) @ rotation(box[2]) for point in (pusher_m, pusher_m + u))
        inside = np.abs(region.reached(pusher_m, pusher_m + u) - pusher_m - u).max() < 1e-6
        return bool(inside and self._free(start, end[None])[0])

    def _free(self, start: Float[ndarray, "... 2"], ends: Float[ndarray, "... 2"]) -> Bool[ndarray, "..."]:
        """Whether straight ways [m; box] keep off the box; one that begins beside it has to lead away at first."""
        shares = np.linspace(1.0 / LOOKS, 1.0, LOOKS)[:, None]
        way = (ends - start)[..., None, :] * shares
        here_m: ndarray = np.asarray(self.gap_m(start))
        leaving = here_m[..., None] - 2e-4 + LEAVING * np.linalg.norm(way, axis=-1)
        gap_m = np.asarray(self.gap_m(start[..., None, :] + way))
        clear: Bool[ndarray, "..."] = (gap_m >= np.minimum(WAY_GAP_M, leaving)).all(axis=-1)
        return clear

    def _backed_off(self, start: Float[ndarray, "2"]) -> Float[ndarray, "2"]:
        """Straight away from the nearest side, far enough to go round from there [m; box]."""
        axis = int(np.argmax(np.abs(start) - self._half))
        away = start.copy()
        away[axis] = np.copysign(self._half[axis] + self._radius + CORNER_GAP_M, start[axis])
        return away

    def _corners_between(
        self, start: Float[ndarray, "2"], seen: Bool[ndarray, "4"], place: Float[ndarray, "2"]
    ) -> list[ndarray] | None:
        """The corners to go by, in order [m; box]; None when there is no way."""
        last = self._free(place, self._corners)
        best, best_m = None, np.inf
        for first in np.flatnonzero(seen):
            for turn in (1, -1):
                for count in range(1, 5):
                    route = [self._corners[(first + turn * k) % 4] for k in range(count)]
                    if last[(first + turn * (count - 1)) % 4]:
                        whole = np.array([start, *route, place])
                        length_m = float(np.linalg.norm(np.diff(whole, axis=0), axis=1).sum())
                        if length_m < best_m:
                            best, best_m = route, length_m
                        break
        return best

    def _inside(self, pusher_m: ndarray, stops_m: Float[ndarray, "n 2"], region: Region) -> bool:
        if region.outside_by(pusher_m) > MEASURED_SLACK_M:
            return False  # the nearest way inside comes first
        whole = np.vstack([pusher_m, stops_m])
        reached = region.reached(whole[:-1], stops_m)
        return bool(np.abs(reached - stops_m).max() < 1e-6)


def _refined(stops_m: Float[ndarray, "n 2"]) -> Float[ndarray, "m 2"]:
    """Points along a way, its start left out."""
    pieces = []
    for start, end in itertools.pairwise(stops_m):
        count = max(1, int(np.ceil(np.linalg.norm(end - start) / SPACING_M)))
        pieces.append(start + (end - start) * (np.arange(1, count + 1) / count)[:, None])
    return np.concatenate(pieces)


def _apart(ones: Float[ndarray, "S 2"], others: Float[ndarray, "K 2"]) -> Float[ndarray, "S K"]:
    apart: Float[ndarray, "S K"] = np.linalg.norm(ones[:, None] - others, axis=-1)
    return apart
