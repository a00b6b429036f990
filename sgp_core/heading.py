"""The direction in which a tool is led, once it has gone some way in it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

# More than a tool comes down further back, so that one that has only begun to leave a box does not come down on it; and
# less than what is between a way round the box and the box, so that one that pushes it knows where it came from.
TAKEN_M = 0.0035
STRAIGHT = 0.87  # cosine of the angle up to which a way still leads in the same direction


class Heading:
    """Takes the way bit by bit.

    Attributes:
        direction: of the way (2,), of length 1; zero before there is one [table].
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The way begins here."""
        self.direction, self._toward, self._gone_m = np.zeros(2), np.zeros(2), 0.0

    def take(self, moved_m: Float[ndarray, "2"]) -> None:
        """The tool was led so far [m; table]."""
        length_m = float(np.linalg.norm(moved_m))
        if length_m < 1e-9:
            return
        if float(moved_m @ self._toward) < STRAIGHT * length_m:
            self._toward, self._gone_m = moved_m / length_m, 0.0
        self._gone_m += length_m
        if self._gone_m > TAKEN_M:
            self.direction = moved_m / length_m
