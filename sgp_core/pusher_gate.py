"""Which pusher samples are believed."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.assembly import BACKWARDS_S
from sgp_core.config import EstimatorConfig
from sgp_core.safety import Fault
from sgp_core.types import Reason

# No table is this large: millimetres taken for metres, or another thing under the pusher's name.
FAR_M = 10.0
FARTHEST_M = 0.1  # nor is it believed to have gone further unseen, however long that took
NOISE_M = 0.01  # further than this from the last sample is a jump even where no time has passed
PERSIST_SAMPLES = 3
PERSIST_S = 0.05


def is_missing(point_m: Float[ndarray, "3"]) -> bool:
    """True for what drivers send instead of a measurement: NaN, infinity, or exactly the origin of their own frame.

    Judge the sample as it came, in the driver's frame: after a transform the origin is a place like any other.
    """
    x, y, z = (float(number) for number in point_m)
    return not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)) or (x == 0.0 and y == 0.0 and z == 0.0)


class PusherGate:
    """Refuses pusher samples that cannot be true.

    A jump counts as wrong until it has lasted for three samples and 0.05 s: then it was the last place that was wrong.
    So does the first place of all, and a sample from the past, until the clock is seen to have been set back.

    Args:
        config: `pusher_speed_limit_mps` is used; may be replaced between calls.
    """

    def __init__(self, config: EstimatorConfig) -> None:
        self.config = config
        self.clear()

    def clear(self) -> None:
        """Forget everything; for a clock that jumped."""
        self._last: tuple[float, ndarray] | None = None
        self._jumped: list[tuple[float, ndarray]] = []

    def accept(self, stamp_s: float, position_m: Float[ndarray, "3"]) -> Fault | None:
        """May this sample [m; table] be believed?

        Returns:
            None when it may, else a Fault NO_PUSHER with the reason in words. Samples that are not newer than the last
            one are refused, too, unless the clock was set back.
        """
        position = np.array(position_m, dtype=float)
        if is_missing(position):
            return _no("the pusher position is not finite or exactly zero: the driver does not see it")
        far_m = float(np.linalg.norm(position))
        if far_m > FAR_M:
            return _no(f"the pusher is {far_m:.0f} m away; are these millimetres (unit_m)?")
        if self._last is None or stamp_s < self._last[0] - BACKWARDS_S:
            if not self._persists(stamp_s, position):
                return _no("the pusher was not seen for long enough yet")
            self._last, self._jumped = (stamp_s, position), []
            return None
        if stamp_s <= self._last[0]:
            return _no(f"a pusher sample came {(self._last[0] - stamp_s) * 1e3:.1f} ms after a newer one")
        if self._follows(self._last, stamp_s, position) or self._persists(stamp_s, position):
            self._last, self._jumped = (stamp_s, position), []
            return None
        off_m = float(np.linalg.norm(position - self._last[1]))
        return _no(
            f"the pusher jumped {off_m * 1e3:.0f} mm in {stamp_s - self._last[0]:.3f} s, pusher_speed_limit_mps is"
            f" {self.config.pusher_speed_limit_mps:g}"
        )

    def _follows(self, last: tuple[float, ndarray], stamp_s: float, position: ndarray) -> bool:
        reach_m = min(self.config.pusher_speed_limit_mps * (stamp_s - last[0]), FARTHEST_M) + NOISE_M
        return float(np.linalg.norm(position - last[1])) <= reach_m

    def _persists(self, stamp_s: float, position: ndarray) -> bool:
        if self._jumped and self._jumped[-1][0] - BACKWARDS_S <= stamp_s <= self._jumped[-1][0]:
            return False
        if self._jumped and stamp_s < self._jumped[-1][0]:
            self._jumped = []
        if self._jumped and not self._follows(self._jumped[-1], stamp_s, position):
            self._jumped = []
        self._jumped.append((stamp_s, position))
        return len(self._jumped) >= PERSIST_SAMPLES and stamp_s - self._jumped[0][0] >= PERSIST_S


def _no(text: str) -> Fault:
    return Fault(reason=Reason.NO_PUSHER, text=text)
