"""Whose clock the stamps in a bag are of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sgp_core.errors import InputError

# Stamps of markers and steps, or marks, this far apart on arrival come from two clocks.
CLOCKS_APART_S = 0.5


class BagClock:
    """Whether the stamps of the samples keep time with the recorder, and with those of steps and marks."""

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

    def check(self, bag: str, others_late_s: Mapping[str, list[float]], *, by_receipt: bool) -> list[str]:
        """What is to be told of the clock.

        Args:
            bag: its name, for the words.
            others_late_s: of the steps, and whatever else has stamps of its own, how late each was on arrival [s].
            by_receipt: samples count as measured when they were recorded, whatever their stamps say.

        Raises:
            InputError: they are of another clock than the samples.
        """
        remedy = "set stamp_source: receive in --params-file"
        told = [f"{self.jump}; if the clock was set, {remedy}"] if self.jump and not by_receipt else []
        if not self.late_s:
            return told
        samples_late_s = 0.0 if by_receipt else float(np.median(np.concatenate(list(self.late_s.values()))))
        for name, late_s in others_late_s.items():
            apart_s = samples_late_s - float(np.median(late_s)) if late_s else 0.0
            if abs(apart_s) <= CLOCKS_APART_S:
                continue
            if by_receipt:
                raise InputError(
                    f"{bag}: the stamps of the {name} are {-apart_s:+.2f} s old on arrival, as from another clock than"
                    " the recorder's, and stamp_source is receive; set the clocks (chrony) and record again, or set"
                    " stamp_source: header if the markers are of the same clock"
                )
            why = self.jump or (
                f"the stamps of the markers are {apart_s:+.2f} s older on arrival than those of the {name}, as from"
                " another clock"
            )
            raise InputError(f"{bag}: {why}; {remedy}, or set the clocks (chrony) and record again")
        return told
