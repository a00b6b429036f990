"""Where the pusher may be: a rectangle or convex polygon, less the rectangles that are kept out."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError

# A way is cut this far in front of a keep-out, so that rounding does not put its end inside.
_GAP_M = 1e-6
# Projections onto the sides of a polygon, one after the other; in an acute corner the first one is not enough.
_PASSES = 8


class Region:
    """Workspace and keep-outs of the pusher's centre; every method takes single points or arrays of them.

    Args:
        workspace_m: x_min, x_max, y_min, y_max, or the corners x1, y1, x2, y2, ... of a convex polygon [m; table].
        keep_out_m: x_min, x_max, y_min, y_max of each rectangle, one after the other; without area: none.

    Raises:
        InputError: see `check_region`.
    """

    def __init__(self, workspace_m: Sequence[float], keep_out_m: Sequence[float]) -> None:
        check_region(workspace_m, keep_out_m)
        self.workspace_m, self.keep_out_m = tuple(workspace_m), tuple(keep_out_m)
        self._rectangle = len(workspace_m) == 4
        if self._rectangle:
            x_min, x_max, y_min, y_max = workspace_m
            corners = np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
        else:
            corners = np.asarray(workspace_m, dtype=float).reshape(-1, 2)
        sides = np.roll(corners, -1, axis=0) - corners
        left_hand = sides[0, 0] * sides[1, 1] - sides[0, 1] * sides[1, 0] > 0.0
        normals = np.stack([sides[:, 1], -sides[:, 0]], axis=1) * (1.0 if left_hand else -1.0)
        self._normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)  # outward
        self._offsets = (self._normals * corners).sum(axis=1)
        self._low, self._high = corners.min(axis=0), corners.max(axis=0)
        holes = np.asarray(keep_out_m, dtype=float).reshape(-1, 4)
        holes = holes[(holes[:, 0] < holes[:, 1]) & (holes[:, 2] < holes[:, 3])]
        self._hole_low, self._hole_high = holes[:, [0, 2]], holes[:, [1, 3]]

    @property
    def box(self) -> tuple[Float[ndarray, "2"], Float[ndarray, "2"]]:
        """Lowest and highest corner of the rectangle around the workspace [m; table]."""
        return self._low, self._high

    @property
    def is_box(self) -> bool:
        """Whether that rectangle is all there is to know."""
        return self._rectangle and not len(self._hole_low)

    def outside_by(self, points_m: Float[ndarray, "*k 2"]) -> Float[ndarray, "*k"]:
        """How far points lie outside the workspace [m], on its worst side; negative inside. Ignores keep-outs."""
        return (np.asarray(points_m, dtype=float) @ self._normals.T - self._offsets).max(axis=-1)

    def kept_out_by(self, points_m: Float[ndarray, "*k 2"]) -> Float[ndarray, "*k"]:
        """How deep points lie in a keep-out [m]; negative outside all of them, -inf when there is none."""
        return self._depths(points_m).max(axis=-1, initial=-np.inf)

    def _depths(self, points_m: Float[ndarray, "*k 2"]) -> Float[ndarray, "*k holes"]:
        points = np.asarray(points_m, dtype=float)[..., None, :]
        return np.minimum(points - self._hole_low, self._hole_high - points).min(axis=-1)

    def clamp(self, points_m: Float[ndarray, "*k 2"]) -> Float[ndarray, "*k 2"]:
        """The nearest points of the workspace [m; table]; ignores keep-outs."""
        points = np.asarray(points_m, dtype=float)
        if self._rectangle:
            return np.clip(points, self._low, self._high)
        for _ in range(_PASSES):
            for normal, offset in zip(self._normals, self._offsets, strict=True):
                points = points - np.maximum(points @ normal - offset, 0.0)[..., None] * normal
        return points

    def reached(
        self, start_m: Float[ndarray, "*k 2"], end_m: Float[ndarray, "*k 2"], *, into_m: float = 0.0
    ) -> Float[ndarray, "*k 2"]:
        """Where a straight way that wants to go to the end has to stop [m; table].

        The end is brought inside the workspace first; then the way stops in front of the first keep-out it would enter.
        One that starts inside a keep-out may leave it, but not get deeper first.

        Args:
            start_m: starts (..., 2).
            end_m: ends wanted (..., 2).
            into_m: how deep into a keep-out a way may go.
        """
        start = np.asarray(start_m, dtype=float)
        end = self.clamp(end_m)
        if not self._rectangle:
            end = start + (end - start) * self._inside(start, end)
        if len(self._hole_low):
            end = start + (end - start) * self._free(start, end, into_m)
        return end

    def _inside(self, start: ndarray, end: ndarray) -> ndarray:
        """Share of a way that lies inside the polygon: what the projection left over in a corner is cut off."""
        ahead = (end - start) @ self._normals.T
        room = self._offsets - start @ self._normals.T
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where((ahead > room) & (room >= 0.0), room / ahead, 1.0)
        return shares.min(axis=-1, keepdims=True)

    def _free(self, start: ndarray, end: ndarray, into_m: float) -> ndarray:
        """Share of a way before it enters a keep-out (slab test)."""
        way = (end - start)[..., None, :]
        way = np.where(np.abs(way) < 1e-12, 1e-12, way)
        low, high = self._hole_low + into_m, self._hole_high - into_m
        first, second = (low - start[..., None, :]) / way, (high - start[..., None, :]) / way
        enters, leaves = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
        hit = (enters < leaves) & (enters >= 0.0) & (enters <= 1.0) & (low < high).all(axis=-1)
        share = np.where(hit, enters, 1.0).min(axis=-1, keepdims=True)
        length = np.maximum(np.linalg.norm(end - start, axis=-1, keepdims=True), 1e-12)
        share = np.where(share < 1.0, np.maximum(share - _GAP_M / length, 0.0), 1.0)
        # The depth along a way rises once and falls once, so that its first micrometre tells whether it rises at all.
        depths_m = self._depths(start)
        nudged_m = self._depths(start + (end - start) * np.minimum(_GAP_M / length, 1.0))
        deeper = ((depths_m > into_m) & (nudged_m > depths_m + 1e-3 * _GAP_M)).any(axis=-1, keepdims=True)
        return np.where(deeper, 0.0, share)


@functools.lru_cache(maxsize=64)
def region(workspace_m: tuple[float, ...], keep_out_m: tuple[float, ...]) -> Region:
    """The region of these settings."""
    return Region(workspace_m, keep_out_m)


def check_region(workspace_m: Sequence[float], keep_out_m: Sequence[float]) -> None:
    """Raises InputError unless the workspace is a rectangle or a convex polygon, and keep-outs are rectangles."""
    if len(workspace_m) == 4:
        if workspace_m[0] >= workspace_m[1] or workspace_m[2] >= workspace_m[3]:
            raise InputError(f"workspace_m = {workspace_m} must be x_min < x_max, y_min < y_max in metres")
    elif len(workspace_m) < 6 or len(workspace_m) % 2:
        raise InputError(
            f"workspace_m = {workspace_m} has {len(workspace_m)} numbers; give x_min, x_max, y_min, y_max, or the"
            " corners x1, y1, x2, y2, x3, y3, ... of a convex polygon"
        )
    elif not _is_convex(list(zip(workspace_m[0::2], workspace_m[1::2], strict=True))):
        raise InputError(
            f"workspace_m = {workspace_m} is no convex polygon; list its corners in order, and cut out the rest with"
            " keep_out_m"
        )
    rectangles = [keep_out_m[i : i + 4] for i in range(0, len(keep_out_m), 4)]
    if any(len(r) != 4 or r[0] > r[1] or r[2] > r[3] for r in rectangles):
        raise InputError(f"keep_out_m = {keep_out_m} must hold x_min <= x_max, y_min <= y_max for each rectangle")


def _is_convex(corners: list[tuple[float, float]]) -> bool:
    """All turns to the same side, and once round in all: a five-pointed star turns to one side, too, but twice."""
    headings = [math.atan2(y - corners[i - 1][1], x - corners[i - 1][0]) for i, (x, y) in enumerate(corners)]
    turns = [(h - headings[i - 1] + math.pi) % math.tau - math.pi for i, h in enumerate(headings)]
    return (min(turns) > 0.0 or max(turns) < 0.0) and abs(round(sum(turns) / math.tau)) == 1
