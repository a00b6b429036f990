"""What the pusher does between the measurement that a plan starts from and the instant its first step begins.

Marker, message and plan all take time, and meanwhile the step before goes on. What it commands is known, so the plan
starts where the pusher will be by then, and the box with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.line import TimedLine

HISTORY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """When the first planned step begins, and what happens until then."""

    start_s: float
    motion_m: Float[ndarray, "2"]  # of the pusher, from the stamp of the measured state [m; table]
    spent_s: float = 0.0  # of the plan's budget


class CommandedMotion:
    """The pusher reference as the sender of the steps knows it, up to a constant: each step draws the line anew.

    Args:
        step_duration_s: time one step takes.
    """

    def __init__(self, step_duration_s: float) -> None:
        self._step_duration_s = step_duration_s
        self._line = TimedLine()

    def stand(self, now_s: float) -> None:
        """From now on it stands: a hold, or nobody knows better."""
        if self._line.under_way(now_s):
            self._line.draw(now_s, now_s, self._line.at(now_s), np.inf)

    def forget(self) -> None:
        """Nothing is under way, and time may have been set back."""
        self._line = TimedLine()

    def step(self, stamp_s: float, u: Float[ndarray, "2"], now_s: float, speed_limit_mps: float) -> None:
        """A step was sent: a displacement from the reference at its stamp, as `PusherReference.step` takes it."""
        if not self._line:
            self._line.restart(min(stamp_s, now_s), np.zeros(2))
        self._line.forget(now_s - HISTORY_S)
        end_m = self._line.at(stamp_s) + np.asarray(u, dtype=float)
        self._line.draw(now_s, max(stamp_s + self._step_duration_s, now_s), end_m, speed_limit_mps)

    def between(self, from_s: float, to_s: float) -> Float[ndarray, "2"]:
        """How far it leads from one instant to another [m; table]."""
        if not self._line:
            return np.zeros(2)
        return self._line.at(to_s) - self._line.at(from_s)
