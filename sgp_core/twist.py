"""Velocities for arms that take twists: feed-forward of the command, and correction by the measured pusher."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.arm import Arm
from sgp_core.follower import limited
from sgp_core.pusher import PAUSE_S

# How long zeros are sent before silence: an arm that missed one must not go on with the velocity before it.
ZEROS_S = 0.5


class TwistServo:
    """Velocity commands within the caps of speed and acceleration.

    Args:
        gain_hz: velocity per distance between command and measured pusher [1/s].
    """

    def __init__(self, gain_hz: float) -> None:
        self._gain_hz = gain_hz
        self.velocity_mps: Float[ndarray, "3"] = np.zeros(3)
        self._resting_s = math.inf  # how long zeros have been sent; nothing before the first release

    def halt(self) -> None:
        """Forget the velocity: the arm has come to rest by itself, or has to at once."""
        self.velocity_mps = np.zeros(3)

    def tick(self, arm: Arm, dt_s: float, *, ending: bool = False) -> Float[ndarray, "3"] | None:
        """The velocity for the next tick [m/s; table]; None to send nothing.

        Args:
            arm: after its own tick.
            dt_s: time since the last tick.
            ending: come to rest in any case.
        """
        command, measured_m, config = arm.command, arm.reference.measured_m, arm.reference.config
        period_s = 1.0 / config.output_rate_hz
        if dt_s > max(PAUSE_S, 3.0 * period_s):
            self.halt()
        dt_s = min(max(dt_s, 0.0), 2.0 * period_s)
        wish, resting = np.zeros(3), True
        if command is not None and measured_m is not None and not ending and not arm.at_rest:
            resting = False
            error_m = command.position_m - np.append(measured_m, arm.measured_height_m)
            # Without a measured, or commanded, height there is nothing to correct.
            wish = command.velocity_mps + self._gain_hz * np.nan_to_num(error_m, nan=0.0)
            wish[:2] = limited(wish[:2], config.speed_limit_mps)
            wish[2] = np.clip(wish[2], -config.approach_speed_mps, config.approach_speed_mps)
        change = limited(wish - self.velocity_mps, config.acceleration_limit_mps2 * dt_s)
        self.velocity_mps = self.velocity_mps + change
        arm.travelled(float(np.linalg.norm(self.velocity_mps)) * dt_s)
        self._resting_s = self._resting_s + dt_s if resting and not self.velocity_mps.any() else 0.0
        return self.velocity_mps if self._resting_s <= ZEROS_S else None
