"""How a closed loop sees the simulated rig: at once and whole, or late, with gaps, through the real estimation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import EstimatorConfig, SimConfig
from sgp_core.layout import MarkerLayout
from sgp_core.perception import Perception
from sgp_core.sim.rig import Rig
from sgp_core.types import State


class Glance:
    """Every marker and the pusher, measured at the instant when somebody looks.

    Args:
        rig: what is looked at; its markers are noisy.
        layout: the box.
    """

    def __init__(self, rig: Rig, layout: MarkerLayout) -> None:
        self._rig, self._layout = rig, layout

    def wait(self, duration_s: float) -> None:
        """Let time pass."""
        self._rig.advance(duration_s)

    def move(self, start_m: Float[ndarray, "2"], u: Float[ndarray, "2"], duration_s: float) -> None:
        """One step of the pusher, as `Rig.move`."""
        self._rig.move(start_m, u, duration_s)

    def state(self) -> State | None:
        """The newest state there is."""
        return State(stamp_s=self._rig.time_s, x=self._layout.pack(self._rig.noisy_markers(), self._rig.pusher()))


class Camera:
    """Frames at a rate, with hidden markers and lost frames; each goes through `Perception` and arrives late.

    Args:
        rig: what is looked at; its markers are noisy.
        layout: the box.
        sim: rate, delay, occlusion, dropout and their seed.
    """

    def __init__(self, rig: Rig, layout: MarkerLayout, sim: SimConfig) -> None:
        self._rig, self._layout, self._sim = rig, layout, sim
        self._perception = Perception(layout, EstimatorConfig())
        self._random = np.random.default_rng((sim.seed, 1))  # another one than the noise has
        self._states: list[State] = []

    def wait(self, duration_s: float) -> None:
        """Let time pass, frame by frame."""
        self.move(self._rig.target(), np.zeros(2), duration_s)

    def move(self, start_m: Float[ndarray, "2"], u: Float[ndarray, "2"], duration_s: float) -> None:
        """One step of the pusher, as `Rig.move`, frame by frame."""
        frames = max(1, round(duration_s * self._sim.marker_rate_hz))
        for k in range(frames):
            self._rig.move(start_m + u * (k / frames), u / frames, duration_s / frames)
            self._take()

    def state(self) -> State | None:
        """The newest state that has arrived by now; None when none has yet."""
        arrived_s = self._rig.time_s - self._sim.delay_s + 1e-9  # not a sum's last digit
        arrived = [state for state in self._states if state.stamp_s <= arrived_s]
        self._states = [*arrived[-1:], *self._states[len(arrived) :]]
        return arrived[-1] if arrived else None

    def _take(self) -> None:
        markers_m = self._rig.noisy_markers()
        markers_m[self._random.random(self._layout.count) < self._sim.occlusion] = np.nan
        lost = self._random.random() < self._sim.dropout
        self._perception.pusher(self._rig.time_s, np.append(self._rig.pusher(), self._rig.height()))
        if not lost:
            for seen in self._perception.frame(self._rig.time_s, markers_m):
                if isinstance(seen.found, State):
                    self._states.append(seen.found)
