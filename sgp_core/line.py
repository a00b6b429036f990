"""A way through the plane that is piecewise linear in time, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """What a follower has to know of a moving point: where it will stop, and how soon."""

    end_m: Float[ndarray, "n"]
    left_s: float  # 0 when it has stopped


class TimedLine:
    """Breakpoints of time and place; empty until `restart`. Before the first and after the last one it stands."""

    def __init__(self) -> None:
        self._times_s: list[float] = []  # increasing
        self._points_m: list[ndarray] = []

    def __bool__(self) -> bool:
        """Whether there is a place at all."""
        return bool(self._times_s)

    def under_way(self, now_s: float) -> bool:
        """Whether it goes on after now."""
        return bool(self._times_s) and self._times_s[-1] > now_s

    @property
    def end_s(self) -> float:
        """When it stops."""
        return self._times_s[-1]

    @property
    def end_m(self) -> Float[ndarray, "2"]:
        """Where it stops."""
        return self._points_m[-1]

    def at(self, time_s: float) -> Float[ndarray, "2"]:
        """Place at a time."""
        points = np.asarray(self._points_m)
        return np.array([np.interp(time_s, self._times_s, points[:, axis]) for axis in range(2)])

    def ahead(self, now_s: float) -> Ahead:
        """Where it stops, as seen from now."""
        return Ahead(end_m=self.end_m, left_s=max(self.end_s - now_s, 0.0))

    def restart(self, now_s: float, point_m: Float[ndarray, "2"]) -> None:
        """Forget everything and stand."""
        self._times_s, self._points_m = [now_s], [np.array(point_m, dtype=float)]

    def draw(self, now_s: float, end_s: float, end_m: Float[ndarray, "2"], speed_limit_mps: float) -> None:
        """Replace what lies after now by a straight line to the end, late enough for the speed limit."""
        here_m = self.at(now_s)
        end_s = max(end_s, now_s + float(np.linalg.norm(end_m - here_m)) / speed_limit_mps, now_s + 1e-6)
        kept = [(t, p) for t, p in zip(self._times_s, self._points_m, strict=True) if t < now_s]
        line = [*kept, (now_s, here_m), (end_s, end_m)]
        self._times_s, self._points_m = [t for t, _ in line], [p for _, p in line]

    def forget(self, before_s: float) -> None:
        """Drop breakpoints that nobody can ask for any more."""
        while len(self._times_s) > 1 and self._times_s[1] <= before_s:
            del self._times_s[0], self._points_m[0]
