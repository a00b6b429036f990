"""Somebody who plays: pushes at any place of the box, obliquely and at its corners, to see what it does.

A planner tries every push there is. Who only ever pushed with care knows nothing of most of them, and a model of that
is wrong wherever the planner looks for something better.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.layout import MarkerLayout, rotation
from sgp_core.sim.demonstrator import Pose
from sgp_core.sim.rig import clearance

BEYOND = 1.15  # how far past the ends of a side a push may begin, as a share of half its length
TOUCHING_M = 0.0008
GAPS_M = (0.0, 0.01, 0.05)  # at the rim, near it, on the way to it: as often each
OBLIQUE_RAD, TURN_RAD = 0.5, 0.35  # standard deviations: of the first direction, and of its change from step to step
ANYWHERE = 0.1  # how often the direction is a wholly new one
LONGEST_M, SHORT = 0.05, 0.4
AWAY_M = 0.07  # so far from the box nothing is to be learned


def beside(layout: MarkerLayout, box: Pose, random: np.random.Generator) -> Float[ndarray, "2"]:
    """A place of the pusher at the rim of the box, corners included, or a little off [m; table]."""
    half, turn = np.asarray(layout.box_size_m[:2]) / 2.0, rotation(box[2])
    axis, side = random.integers(2), random.choice([-1.0, 1.0])
    place, outward = np.zeros(2), np.zeros(2)
    place[axis] = side * (half[axis] + layout.pusher_radius_m)
    place[1 - axis] = random.uniform(-BEYOND, BEYOND) * half[1 - axis]
    outward[axis] = side
    pusher = np.asarray(box[:2]) + turn @ place
    while clearance(layout, box, pusher) < TOUCHING_M:
        pusher = pusher + turn @ outward * 0.001
    near, far = random.exponential(GAPS_M[1]), random.uniform(0.0, GAPS_M[2])
    return np.asarray(pusher + turn @ outward * random.choice([GAPS_M[0], near, far]))


class Heading:
    """Where somebody who plays pushes to: at first more or less into the box, then this way and that.

    Args:
        layout: of the box.
        box: its pose [m, rad; table].
        pusher: where the pusher is [m; table].
        random: the player's mood.
    """

    def __init__(
        self, layout: MarkerLayout, box: Pose, pusher: Float[ndarray, "2"], random: np.random.Generator
    ) -> None:
        at = rotation(box[2]).T @ (pusher - np.asarray(box[:2]))
        beyond = np.abs(at) - np.asarray(layout.box_size_m[:2]) / 2.0
        inward = np.zeros(2)
        axis = int(np.argmax(beyond))
        inward[axis] = -np.sign(at[axis])
        x, y = rotation(box[2]) @ inward
        self._angle = float(np.arctan2(y, x)) + random.normal(0.0, OBLIQUE_RAD)

    def step(
        self, layout: MarkerLayout, box: Pose, pusher: Float[ndarray, "2"], random: np.random.Generator
    ) -> Float[ndarray, "2"] | None:
        """Next displacement of the pusher (2,) [m; table]; None when it has lost the box."""
        if clearance(layout, box, pusher) > AWAY_M:
            return None
        self._angle += random.normal(0.0, TURN_RAD)
        if random.random() < ANYWHERE:
            self._angle = random.uniform(-np.pi, np.pi)
        length = random.uniform(0.0, LONGEST_M) * random.choice([1.0, 1.0, SHORT])
        direction = np.array([np.cos(self._angle), np.sin(self._angle)])
        return np.asarray(direction / np.abs(direction).max() * length)
