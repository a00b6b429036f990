"""Samples in, states out: what a camera and an arm report, assembled into frames, judged, and completed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.assembly import FrameAssembler
from sgp_core.config import EstimatorConfig
from sgp_core.estimation import Estimator
from sgp_core.layout import MarkerLayout
from sgp_core.pusher_gate import PusherGate
from sgp_core.safety import Fault
from sgp_core.types import MarkerFrame, State


@dataclass(frozen=True, kw_only=True)
class Perceived:
    """What became of a frame."""

    stamp_s: float
    visible: int  # markers
    found: State | Fault


class Perception:
    """The way of a sample to a state, the same in a node and from a bag; keeps no time of its own.

    Each method takes a sample [m; table] with the time of its measurement and returns what became of the frames that
    are now complete or given up, oldest first.

    Args:
        layout: the box.
        config: may be replaced between calls.
    """

    def __init__(self, layout: MarkerLayout, config: EstimatorConfig) -> None:
        self.assembler = FrameAssembler(layout.names, config)
        self.estimator = Estimator(layout, config)
        self._gate = PusherGate(config)
        self._period = 0  # number of the period of the last state

    @property
    def config(self) -> EstimatorConfig:
        """The settings of all parts."""
        return self.estimator.config

    @config.setter
    def config(self, config: EstimatorConfig) -> None:
        self.assembler.config = self.estimator.config = self._gate.config = config

    def marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> list[Perceived]:
        """One marker; NaN when hidden."""
        return self._judged(self.assembler.add_marker(name, stamp_s, position_m))

    def frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> list[Perceived]:
        """All markers of one instant, in the order of the layout."""
        return self._judged(self.assembler.add_frame(stamp_s, positions_m))

    def points(self, stamp_s: float, points_m: Float[ndarray, "M 2"]) -> list[Perceived]:
        """All that was seen at one instant, in no order, reflections included."""
        if self._is_enough(stamp_s):
            return []
        found = self.estimator.match_points(points_m, stamp_s)
        if isinstance(found, Fault):
            return [Perceived(stamp_s=stamp_s, visible=0, found=found)]
        return self.frame(stamp_s, found)

    def pusher(self, stamp_s: float, position_m: Float[ndarray, "3"]) -> list[Perceived] | Fault:
        """The pusher; a Fault when it cannot have come there."""
        fault = self._gate.accept(stamp_s, position_m)
        return fault or self._judged(self.assembler.add_pusher(stamp_s, np.asarray(position_m)[:2]))

    def _judged(self, frames: Sequence[MarkerFrame]) -> list[Perceived]:
        judged = []
        for frame in frames:
            if self._is_enough(frame.stamp_s):
                continue
            found = self.estimator.estimate(frame)
            if isinstance(found, State):
                self._period = self._number(frame.stamp_s)
            judged.append(Perceived(stamp_s=frame.stamp_s, visible=int(frame.visible.sum()), found=found))
        return judged

    def _is_enough(self, stamp_s: float) -> bool:
        """Whether this period has its state already."""
        return self._number(stamp_s) == self._period

    def _number(self, stamp_s: float) -> int:
        """Periods are counted from zero, not from the last state, so that a lost frame changes nothing later."""
        return math.floor(stamp_s * self.config.state_rate_hz)
