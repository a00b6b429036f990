"""Many placements of the layout on points of the plane at once: fitted, assigned, and searched for.

Points of the plane are complex numbers in here: turning and moving the layout is one multiplication and one addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float, Int
from numpy import ndarray

MOST_PLACEMENTS = 4000  # of the pairs that are searched, in a cloud of many reflections


def as_complex(points_m: Float[ndarray, "K 2"]) -> Complex[ndarray, "K"]:
    """Points of the plane as x + iy."""
    return np.ascontiguousarray(points_m, dtype=float).view(complex)[:, 0]


@dataclass(frozen=True, eq=False)
class Placements:
    """H placements side by side: `turn * places + shift`, fitted to the points of `index`."""

    index: Int[ndarray, "H N"]  # the point that is each marker, -1 where there is none
    turn: Complex[ndarray, "H"]
    shift: Complex[ndarray, "H"]
    residuals_m: Float[ndarray, "H N"]  # 0 where there is no point

    def __len__(self) -> int:
        return len(self.turn)

    @property
    def fit(self) -> Int[ndarray, "H"]:
        """How many markers have a point."""
        return (self.index >= 0).sum(axis=1)

    @property
    def most(self) -> int:
        """The largest of them, 0 when there is no placement."""
        return int(self.fit.max(initial=0))

    def placed(self, places: Complex[ndarray, "N"]) -> Complex[ndarray, "H N"]:
        """Where each has the markers [m]."""
        return self.turn[:, None] * places + self.shift[:, None]

    def good(self, tolerance_m: float) -> Bool[ndarray, "H"]:
        """Where no marker is off; two markers share what their distance is wrong by, so each may be off by half."""
        return self.residuals_m.max(axis=1) <= np.where(self.fit <= 2, 0.5 * tolerance_m, tolerance_m)

    def take(self, which: Bool[ndarray, "H"]) -> Placements:
        """Some of them."""
        return Placements(self.index[which], self.turn[which], self.shift[which], self.residuals_m[which])


def fitted(index: Int[ndarray, "H N"], points: Complex[ndarray, "M"], places: Complex[ndarray, "N"]) -> Placements:
    """Least squares over the points given to each marker, at least one each time."""
    has = index >= 0
    count = has.sum(axis=1)
    found = np.where(has, points[index], 0.0)
    found_mean, place_mean = found.sum(axis=1) / count, (has @ places) / count
    apart = np.where(has, found - found_mean[:, None], 0.0)
    turn = ((places - place_mean[:, None]).conj() * apart).sum(axis=1)
    size = np.abs(turn)
    turn = np.where(size > 0.0, turn / np.maximum(size, 1e-300), 1.0)
    shift = found_mean - turn * place_mean
    off_m = np.abs(found - (turn[:, None] * places + shift[:, None]))
    return Placements(index, turn, shift, np.where(has, off_m, 0.0))


def assigned(placed: Complex[ndarray, "H N"], points: Complex[ndarray, "M"], limit_m: float) -> Int[ndarray, "H N"]:
    """The point of each marker: the nearest one, within the limit, that has no other marker nearer to it; else -1."""
    apart_m = np.abs(placed[:, :, None] - points)
    apart_m[~np.isfinite(apart_m)] = np.inf
    point, marker = apart_m.argmin(axis=2), apart_m.argmin(axis=1)
    mutual = np.take_along_axis(marker, point, axis=1) == np.arange(placed.shape[1])
    return np.where(mutual & (apart_m.min(axis=2) <= limit_m), point, -1)


def followed(
    before: Complex[ndarray, "N"],
    reach_m: float,
    points: Complex[ndarray, "M"],
    places: Complex[ndarray, "N"],
    tolerance_m: float,
    least: int,
) -> Placements | None:
    """The placement close to where the markers were, when at least so many of them are there: nothing to search."""
    index = assigned(before[None], points, reach_m)
    if (index >= 0).sum() < least:
        return None
    fit = fitted(index, points, places)
    return fit if fit.good(tolerance_m)[0] else None


def searched(points: Complex[ndarray, "M"], places: Complex[ndarray, "N"], tolerance_m: float) -> Placements:
    """Every good placement of two markers or more, each assignment once.

    Every pair of points is laid on every pair of places at the same distance; then all markers are assigned and fitted
    in turns.
    """
    ids = np.flatnonzero(np.isfinite(points))
    first, second = (ids[side] for side in np.triu_indices(len(ids), 1))
    start, end = np.nonzero(~np.eye(len(places), dtype=bool))
    line, edge = points[second] - points[first], places[end] - places[start]
    misfit_m = np.abs(np.abs(line)[:, None] - np.abs(edge))
    pair, place = np.nonzero(misfit_m <= tolerance_m)
    if len(pair) > MOST_PLACEMENTS:
        best = np.argpartition(misfit_m[pair, place], MOST_PLACEMENTS)[:MOST_PLACEMENTS]
        pair, place = pair[best], place[best]
    turn = line[pair] / edge[place]
    turn = turn / np.maximum(np.abs(turn), 1e-300)
    shift = 0.5 * (points[first] + points[second])[pair] - turn * (0.5 * (places[start] + places[end]))[place]
    index = assigned(turn[:, None] * places + shift[:, None], points, tolerance_m)
    for _ in range(2):
        index = assigned(fitted(_distinct(index), points, places).placed(places), points, tolerance_m)
    fit = fitted(_distinct(index), points, places)
    return fit.take(fit.good(tolerance_m))


def _distinct(index: Int[ndarray, "H N"]) -> Int[ndarray, "K N"]:
    """Each row with two points or more once."""
    rows = np.ascontiguousarray(index[(index >= 0).sum(axis=1) >= 2])
    # As bytes: numpy compares whole rows many times slower.
    _, first = np.unique(rows.view(np.dtype((np.void, rows.strides[0])))[:, 0], return_index=True)
    return rows[first]
