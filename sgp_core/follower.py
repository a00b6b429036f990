"""A point that goes where it should within caps of speed and acceleration: what the arm is told."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.line import Ahead

# How fast small errors are closed [1/s]. Larger ones, from a quarter of a millimetre, as fast as one can still brake.
GAIN_HZ = 40.0
# Braking is planned with this share of the acceleration: what is left corrects the rounding to whole ticks.
SHARE = 0.8
# Closer than this to the end of the way, and as slow, it has arrived.
EXACT_M = 1e-9

Allowed = Callable[[ndarray, ndarray], bool]


class Follower:
    """Arrives when the reference does, without overshooting, and never goes where it could not stop in time.

    The reference starts and stops at once, which nothing that has a mass can do. A follower that stays behind it by
    what its acceleration allows would be late at each end, where the next step is planned from. So this one looks at
    the end and the time left: it starts with the reference, is a little faster in between, and stands with it.

    Per tick the velocity changes by at most acceleration times tick, and its length stays below the speed cap. The
    place where the point would come to rest, braking from now on, is known at every tick and has to be allowed; a
    velocity for which it is not is not taken. Braking straight ahead always remains: that ends where the tick before
    allowed it.

    Args:
        position_m: where it stands at first (n,).
    """

    def __init__(self, position_m: Float[ndarray, "n"]) -> None:
        self.position_m = np.array(position_m, dtype=float)
        self.velocity_mps = np.zeros_like(self.position_m)

    @property
    def standing(self) -> bool:
        """Whether it does not move."""
        return not self.velocity_mps.any()

    def halt(self) -> None:
        """Forget the velocity: for a pause in which the arm has come to rest by itself."""
        self.velocity_mps = np.zeros_like(self.position_m)

    def brake(self, dt_s: float, acceleration_mps2: float) -> None:
        """Let a tick pass and come to rest, straight ahead."""
        speed = float(np.linalg.norm(self.velocity_mps))
        left = speed - acceleration_mps2 * dt_s
        self._take(self.velocity_mps * (left / speed) if left > 1e-9 else np.zeros_like(self.position_m), dt_s)

    def follow(
        self,
        dt_s: float,
        ahead: Ahead,
        speed_mps: float,
        acceleration_mps2: float,
        allowed: Allowed = lambda _here_m, _stop_m: True,
    ) -> None:
        """Let a tick pass.

        Args:
            dt_s: time since the last tick; 0 leaves everything as it is.
            ahead: where to go and how soon, at the end of this tick.
            speed_mps: cap of the length of the velocity.
            acceleration_mps2: cap of its change.
            allowed: may it go straight from here to where it would come to rest?
        """
        if dt_s <= 0.0:
            return
        near = float(np.linalg.norm(ahead.end_m - self.position_m)) <= EXACT_M
        if near and float(np.linalg.norm(self.velocity_mps)) <= min(EXACT_M / dt_s, acceleration_mps2 * dt_s):
            self.position_m = np.array(ahead.end_m, dtype=float)
            self.halt()
            return
        wish = self._wish(dt_s, ahead, speed_mps, acceleration_mps2)
        # Along a wall or a keep-out one axis may be allowed where both together are not.
        for mask in (1.0, *np.eye(len(wish))) if len(wish) > 1 else (1.0,):
            velocity = self.velocity_mps + limited(wish * mask - self.velocity_mps, acceleration_mps2 * dt_s)
            if allowed(self.position_m, self._stop_m(velocity, dt_s, acceleration_mps2)):
                self._take(velocity, dt_s)
                return
        self.brake(dt_s, acceleration_mps2)

    def _wish(self, dt_s: float, ahead: Ahead, speed_mps: float, acceleration_mps2: float) -> Float[ndarray, "n"]:
        way_m, braking = ahead.end_m - self.position_m, SHARE * acceleration_mps2
        distance_m = float(np.linalg.norm(way_m))
        if distance_m == 0.0:
            return np.zeros_like(way_m)
        along_mps = float(self.velocity_mps @ way_m) / distance_m
        in_time = _in_time(distance_m, along_mps, ahead.left_s - 1.0 / GAIN_HZ, braking)
        return way_m * (min(in_time, speed_mps, _closing(distance_m, dt_s, braking)) / distance_m)

    def _stop_m(self, velocity_mps: ndarray, dt_s: float, acceleration_mps2: float) -> Float[ndarray, "n"]:
        braking_s = float(np.linalg.norm(velocity_mps)) / (2.0 * acceleration_mps2)
        return self.position_m + velocity_mps * (dt_s + braking_s)

    def _take(self, velocity_mps: ndarray, dt_s: float) -> None:
        self.velocity_mps = velocity_mps
        self.position_m = self.position_m + velocity_mps * dt_s


def limited(vector: Float[ndarray, "n"], most: float) -> Float[ndarray, "n"]:
    """The vector, or a shorter one of the same direction."""
    length = float(np.linalg.norm(vector))
    return vector if length <= most else vector * (most / length)


def leashed(here_m: ndarray, stop_m: ndarray, measured_m: ndarray, limit_m: float) -> bool:
    """Whether a stop is no further than the limit from what is measured, or no further than one is already."""
    most_m = max(limit_m, float(np.linalg.norm(here_m - measured_m)))
    return float(np.linalg.norm(stop_m - measured_m)) <= most_m + 1e-9


def _in_time(distance_m: float, speed_mps: float, left_s: float, braking_mps2: float) -> float:
    """Speed at which to go on so as to stand at the end when the time is over [m/s]; infinite when it is too late."""
    braking_m = speed_mps**2 / (2.0 * braking_mps2)
    if 0.0 < speed_mps < braking_mps2 * left_s and distance_m - braking_m < speed_mps * (
        left_s - speed_mps / braking_mps2
    ):
        return max(distance_m - braking_m, 0.0) / (left_s - speed_mps / braking_mps2)  # slower than now
    longest_s = left_s + speed_mps / braking_mps2
    root = longest_s**2 - 4.0 * (distance_m + braking_m) / braking_mps2
    return 0.5 * braking_mps2 * (longest_s - math.sqrt(root)) if longest_s > 0.0 and root >= 0.0 else math.inf


def _closing(distance_m: float, dt_s: float, braking_mps2: float) -> float:
    """Largest speed from which one can still stop at a distance, gently at the end [m/s]."""
    gain_hz = min(GAIN_HZ, 0.5 / dt_s)
    knee_m = braking_mps2 / gain_hz**2
    if distance_m <= 0.5 * braking_mps2 * dt_s**2:
        # As far as this tick and braking after it lead.
        return braking_mps2 * (math.sqrt(dt_s**2 + 2.0 * distance_m / braking_mps2) - dt_s)
    if distance_m <= knee_m:
        return gain_hz * distance_m
    return min(math.sqrt(2.0 * braking_mps2 * (distance_m - 0.5 * knee_m)), distance_m / dt_s)
