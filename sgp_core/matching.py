"""Which observed point is which marker, and where the box is, whatever is swapped, hidden or foreign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Complex, Float, Int
from numpy import ndarray

from sgp_core.layout import MarkerLayout
from sgp_core.placements import Placements, as_complex, followed, searched
from sgp_core.safety import Fault
from sgp_core.types import Reason

Pose = tuple[float, float, float]  # x [m], y [m], yaw [rad] of the box in the table frame

MOST_POINTS = 100  # a larger cloud is a scene, not markers; the search grows with its square
# Votes for a placement. A marker that fits fixes two coordinates, a right label only says one name among N; a marker
# counts less the further it is off, down to nothing at the tolerance. That the box was there a moment ago speaks louder
# than a third point on a pair, which one cloud of ten has by chance. Wrong labels and foreign points are both rare; at
# once they are hardly ever.
MARKER_VOTES, LABEL_VOTES, NEAR_VOTES, MIXED_VOTES = 2, 1, 3, -2
SURE = 4  # so many points hardly fit a wrong place by chance
CLEAR_VOTES = 1.0  # with a smaller lead a placement is no better than the next one


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """The layout placed on observed points."""

    pose: Pose
    index: Int[ndarray, "N"]  # the point that is each marker, -1 where there is none
    outliers: tuple[int, ...]  # the points that are no marker
    swapped: bool  # some label was wrong
    residuals_m: Float[ndarray, "N"]  # distance of each marker's point from the placed layout; NaN where there is none
    markers_m: Float[ndarray, "N 2"]  # the placed layout


def match(
    points_m: Float[ndarray, "M 2"],
    layout: MarkerLayout,
    tolerance_m: float,
    *,
    labelled: bool,
    near: Pose | None = None,
    reach_m: float = 0.05,
) -> Match | Fault:
    """Place the layout on observed points.

    Labels are taken at their word where all seen markers fit. Otherwise every pair of points is laid on every pair of
    places at the same distance; the placement wins that explains most markers and most labels.

    Args:
        points_m: observed points [m; table], NaN where hidden.
        layout: the box.
        tolerance_m: largest distance of a marker from its place; where only two are left, of their distance.
        labelled: point i is said to be marker i, M = N; else the points come in any order, with others among them.
        near: where the box was a moment ago; decides between placements that explain the points equally well.
        reach_m: how far the farthest marker may have moved since.

    Returns:
        The placement, or a Fault BAD_STATE: fewer than two points, nothing fits, or several placements fit alike.
    """
    points, places = as_complex(points_m), as_complex(layout.places)
    seen = np.isfinite(points)
    count = int(seen.sum())
    if labelled and len(points) != layout.count:
        return _bad(f"{len(points)} points for the {layout.count} markers {list(layout.names)}")
    if count < 2:
        what = f"{count} of {layout.count} markers visible" if labelled else f"{count} points seen"
        return _bad(f"{what}; at least 2 are needed to place the box")
    said = _as_said(points, places, seen, tolerance_m if count > 2 else 0.5 * tolerance_m) if labelled else None
    if said is not None:
        return said
    if count > MOST_POINTS:
        return _bad(f"{count} points seen, at most {MOST_POINTS} are searched; is this a cloud of markers?")
    task = _Task(points, seen, count, places, layout, tolerance_m, labelled)
    before = None if near is None else as_complex(layout.markers_at(*near))
    if before is not None:
        kept = followed(before, reach_m, points, places, tolerance_m, min(SURE, layout.count))
        if kept is not None and task.plain(kept.fit, task.right(kept)).all():
            return task.answer(kept, 0)
    return task.choose(searched(points, places, tolerance_m), before, reach_m)


def _as_said(
    points: Complex[ndarray, "N"], places: Complex[ndarray, "N"], seen: Bool[ndarray, "N"], limit_m: float
) -> Match | None:
    """The placement when every label is right, None when some marker is off; by far the most frequent case."""
    found, known = points[seen], places[seen]
    found_mean, known_mean = complex(found.sum()) / len(found), complex(known.sum()) / len(found)
    turn = complex(np.vdot(known - known_mean, found - found_mean))
    turn = turn / abs(turn) if turn else 1.0 + 0.0j
    shift = found_mean - turn * known_mean
    placed = turn * places + shift
    residuals_m = np.abs(points - placed)
    if not float(np.fmax.reduce(residuals_m)) <= limit_m:
        return None
    index = np.arange(len(points))
    return _match(shift, turn, np.where(seen, index, -1), (), False, residuals_m, placed)


def _match(
    shift: complex,
    turn: complex,
    index: Int[ndarray, "N"],
    outliers: tuple[int, ...],
    swapped: bool,
    residuals_m: Float[ndarray, "N"],
    placed: Complex[ndarray, "N"],
) -> Match:
    return Match(
        pose=(shift.real, shift.imag, float(np.arctan2(turn.imag, turn.real))),
        index=index,
        outliers=outliers,
        swapped=swapped,
        residuals_m=residuals_m,
        markers_m=placed.view(float).reshape(-1, 2),
    )


@dataclass(frozen=True, eq=False)
class _Task:
    """Points that are not simply the markers in their order."""

    points: Complex[ndarray, "M"]
    seen: Bool[ndarray, "M"]
    count: int
    places: Complex[ndarray, "N"]
    layout: MarkerLayout
    tolerance_m: float
    labelled: bool

    def answer(self, found: Placements, which: int) -> Match:
        """One of the placements."""
        index = found.index[which]
        has = index >= 0
        free = self.seen.copy()
        free[index[has]] = False
        return _match(
            complex(found.shift[which]),
            complex(found.turn[which]),
            index,
            tuple(np.flatnonzero(free).tolist()),
            self.labelled and bool((index != np.arange(len(index)))[has].any()),
            np.where(has, found.residuals_m[which], np.nan),
            found.turn[which] * self.places + found.shift[which],
        )

    def right(self, found: Placements) -> Int[ndarray, "H"]:
        """How many labels each placement agrees with."""
        same: Int[ndarray, "H"] = (found.index == np.arange(self.layout.count)).sum(axis=1) * self.labelled
        return same

    def plain(self, fit: Int[ndarray, "H"], right: Int[ndarray, "H"]) -> Bool[ndarray, "H"]:
        """Where no label is wrong or no point foreign."""
        return (fit == right) | (fit == self.count) if self.labelled else np.ones(len(fit), dtype=bool)

    def choose(self, found: Placements, before: Complex[ndarray, "N"] | None, reach_m: float) -> Match | Fault:
        """The placement with most votes, where it is sure enough and no other one is as good."""
        if not len(found):
            return _bad(self.why(0))
        fit, placed = found.fit, found.placed(self.places)
        right = self.right(found)
        moved_m = np.full(len(fit), np.inf) if before is None else np.abs(placed - before).max(axis=1)
        close = moved_m <= reach_m
        closeness = (1.0 - (found.residuals_m / self.tolerance_m) ** 2) * (found.index >= 0)
        votes = MARKER_VOTES * closeness.sum(axis=1) + LABEL_VOTES * right + NEAR_VOTES * close
        votes = votes + MIXED_VOTES * ~self.plain(fit, right)
        top = votes > votes.max() - CLEAR_VOTES
        first = np.where(top & close, moved_m, np.inf).argmin() if (top & close).any() else votes.argmax()
        alike = top & (np.abs(placed - placed[first]).max(axis=1) <= 2.0 * self.tolerance_m)
        best = int(np.where(alike, votes, -np.inf).argmax())
        if not self.stands(int(fit[best]), int(right[best]), bool(close[best])):
            return _bad(self.why(found.most))
        rival = top & (np.abs(placed - placed[best]).max(axis=1) > 2.0 * self.tolerance_m)
        if close[best]:
            rival &= moved_m <= 2.0 * moved_m[best] + self.tolerance_m
        if rival.any():
            return _bad(
                f"{self.count} points fit the box in {int(rival.sum()) + 1} ways and nothing tells which;"
                " more markers must be seen"
            )
        return self.answer(found, best)

    def stands(self, fit: int, right: int, close: bool) -> bool:
        """Whether a placement with so many markers, so many of them rightly labelled, is more than chance."""
        if close:
            return not self.labelled or ((fit in (right, self.count) or fit >= SURE) and 2 * fit >= self.count)
        if self.labelled:
            return fit >= 3 and (fit == right or fit == self.count >= min(SURE, self.layout.count))
        if fit < min(SURE, max(3, self.layout.count - 1)):
            return False
        whole = fit == min(self.count, self.layout.count)
        return whole or searched(self.points.conj(), self.places, self.tolerance_m).most <= fit

    def why(self, most: int) -> str:
        """What points look like that do not form the box; `most` of them do."""
        seen = f"{self.count} of {self.layout.count} markers" if self.labelled else f"{self.count} points"
        enough = max(most + 1, min(self.count, self.layout.count, 3))
        for changed, words in (
            (self.points * 1e-3, "are millimetres: set unit_m to 0.001"),
            (self.points * 1e3, "are a thousand times too small: set unit_m to 1.0"),
            (self.points.conj(), "are mirrored: an axis of table_from_mocap points the wrong way"),
        ):
            if searched(changed, self.places, self.tolerance_m).most >= enough:
                return f"the {seen} seen {words}"
        wide_m, narrow_m = _spread(self.points[self.seen])
        hint = ""
        if wide_m < self.tolerance_m:
            hint = "; they are all at one place"
        elif self.count > 2 and narrow_m < 0.1 * _spread(self.places)[1]:
            hint = "; they lie on one line, as from a mocap system whose y axis is up (table_from_mocap)"
        return (
            f"of the {seen} seen at most {most} fit the box within rigid_tolerance_m = {self.tolerance_m:g}{hint};"
            f" check marker names {list(self.layout.names)} and places, units (unit_m) and table_from_mocap"
        )


def _bad(text: str) -> Fault:
    return Fault(reason=Reason.BAD_STATE, text=text)


def _spread(points: Complex[ndarray, "K"]) -> tuple[float, float]:
    """Standard deviation along and across the direction in which the points spread most [m]."""
    flat = np.column_stack([points.real, points.imag])
    wide, narrow = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) / np.sqrt(len(points))
    return float(wide), float(narrow)
