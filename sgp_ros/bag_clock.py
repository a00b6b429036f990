"""Whose clock the stamps in a bag are of."""

from __future__ import annotations

import numpy as np

from sgp_core.errors import InputError

# Stamps of markers and steps this far apart on arrival come from two clocks.
CLOCKS_APART_S = 0.5


class BagClock:
    """Whether the stamps of the samples keep time with the recorder, and with the stamps of the steps."""

    def __init__(self) -> None:
        self.late_s: dict[str, list[float]] = {}  # by topic, on arrival
        self._last: dict[str, tuple[float, float]] = {}  # stamp and arrival
        self._began_s: float | None = None
        self.jump = ""  # the first one, in words

    def take(self, topic: str, stamp_s: float, received_s: float) -> None:
        """One sample."""
        self._began_s = received_s if self._began_s is None else self._began_s
        last_stamp_s, last_received_s = self._last.get(topic, (stamp_s, received_s))
        passed_s, jumped_s = stamp_s - last_stamp_s, (stamp_s - last_stamp_s) - (received_s - last_received_s)
        # A recorder that was held up gets old messages late: then it is its own clock that seems to jump.
        if not self.jump and abs(jumped_s) > CLOCKS_APART_S and (passed_s < 0.0 or passed_s > CLOCKS_APART_S):
            at_s = received_s - self._began_s
            self.jump = f"the stamps of {topic} jump by {jumped_s:+.2f} s, {at_s:.1f} s after the first sample"
        self._last[topic] = (stamp_s, received_s)
        self.late_s.setdefault(topic, []).append(received_s - stamp_s)

    def check(self, bag: str, steps_late_s: list[float]) -> list[str]:
        """What is to be told of the clock.

        Args:
            bag: its name, for the words.
            steps_late_s: how late each step was on arrival [s].

        Raises:
            InputError: samples and steps are of different clocks.
        """
        remedy = "set stamp_source: receive in --params-file"
        told = [f"{self.jump}; if the clock was set, {remedy}"] if self.jump else []
        if not (self.late_s and steps_late_s):
            return told
        samples_late_s = np.concatenate([np.array(late_s) for late_s in self.late_s.values()])
        apart_s = float(np.median(samples_late_s) - np.median(steps_late_s))
        if abs(apart_s) > CLOCKS_APART_S:
            why = self.jump or (
                f"the stamps of the markers are {apart_s:+.2f} s older on arrival than those of the steps, as from"
                " another clock"
            )
            raise InputError(f"{bag}: {why}; {remedy}")
        return told
