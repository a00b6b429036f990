"""A tree of moving frames, as tf keeps it: where one frame is, seen from another, as soon as it is known."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from sgp_core.assembly import BACKWARDS_S
from sgp_core.frames import Transform

HISTORY_S = 10.0  # as long as tf remembers


@dataclass(kw_only=True)
class _Edge:
    """A frame seen from its parent: at instants, or always."""

    parent: str
    static: bool
    times_s: list[float] = field(default_factory=list)
    places: list[Transform] = field(default_factory=list)

    def at(self, time_s: float) -> Transform:
        """Between two samples on a straight line, turning evenly; `time_s` lies within them."""
        after = 0 if self.static else bisect.bisect_left(self.times_s, time_s)
        if self.static or self.times_s[after] == time_s:
            return self.places[after]
        before_s, after_s = self.times_s[after - 1 : after + 1]
        one, other = self.places[after - 1 : after + 1]
        share = (time_s - before_s) / (after_s - before_s)
        turn = Slerp([0.0, 1.0], Rotation.from_matrix(np.array([one.rotation, other.rotation])))(share)
        translation_m = (1.0 - share) * one.translation_m + share * other.translation_m
        return Transform(rotation=turn.as_matrix(), translation_m=translation_m)


class FrameTree:
    """Takes transforms one by one, and says where `child` is seen from `parent`, as tf2 does of the newest.

    Args:
        parent: the frame to see from, such as the base of an arm.
        child: the frame to look at, such as its tool.
    """

    def __init__(self, parent: str, child: str) -> None:
        self._parent, self._child = _name(parent), _name(child)
        self._edges: dict[str, _Edge] = {}
        self._told_s = -np.inf

    def add(self, parent: str, child: str, stamp_s: float, parent_from_child: Transform, *, static: bool) -> None:
        """One transform; of two with the same stamp the first counts, and a clock set back forgets what was before."""
        parent, child = _name(parent), _name(child)
        edge = self._edges.get(child)
        if edge is None or static or edge.static or edge.parent != parent:
            edge = self._edges[child] = _Edge(parent=parent, static=static)
        if edge.times_s and stamp_s < edge.times_s[-1] - BACKWARDS_S:
            self._edges = {name: one for name, one in self._edges.items() if one.static}
            edge = self._edges[child] = _Edge(parent=parent, static=False)
            self._told_s = -np.inf
        where = bisect.bisect_left(edge.times_s, stamp_s)
        if where == len(edge.times_s) or edge.times_s[where] != stamp_s:
            edge.times_s.insert(where, stamp_s)
            edge.places.insert(where, parent_from_child)
        old = bisect.bisect_left(edge.times_s, edge.times_s[-1] - HISTORY_S)
        del edge.times_s[:old], edge.places[:old]

    def newest(self) -> tuple[float, Transform] | None:
        """The last instant [s] that all transforms of the way reach, and `parent_from_child` then.

        None when that is no later than what was told before, or the frames are not connected, or nothing between them
        ever moves.
        """
        up, down = self._way(self._parent), self._way(self._child)
        common = next((name for name in down if name in up), None)
        if common is None:
            return None
        up, down = up[: up.index(common)], down[: down.index(common)]
        moving = [self._edges[name] for name in (*up, *down) if not self._edges[name].static]
        time_s = min((edge.times_s[-1] for edge in moving), default=-np.inf)
        if time_s <= self._told_s or any(edge.times_s[0] > time_s for edge in moving):
            return None
        self._told_s = time_s
        return time_s, self._from(up, time_s).inverse() @ self._from(down, time_s)

    def missing(self) -> str:
        """In words why nothing was told so far; empty when something was."""
        if self._told_s > -np.inf:
            return ""
        known = sorted({*self._edges, *(edge.parent for edge in self._edges.values())})
        return f"tf does not lead from '{self._parent}' to '{self._child}'; its frames are {', '.join(known) or 'none'}"

    def _way(self, name: str) -> list[str]:
        """A frame, its parent, and so on to the root."""
        way = [name]
        while (edge := self._edges.get(way[-1])) is not None and edge.parent not in way:
            way.append(edge.parent)
        return way

    def _from(self, names: list[str], time_s: float) -> Transform:
        """The first of these frames seen from the parent of the last."""
        found = Transform.from_numbers((0.0,) * 6)
        for name in names:
            found = self._edges[name].at(time_s) @ found
        return found


def _name(frame: str) -> str:
    return frame.lstrip("/")  # as in tf of ROS 1
