"""From a recording's states to transitions (x_t, u_t, x_t+1), and why some of it is of no use.

Where steps were sent, a transition begins at each of them. Where nobody sent any, as when the pusher is led by hand,
the recording is cut every `step_duration_s`: what a push does depends on the way, not on when it is begun
(quasistatic). In both cases u is where the pusher went, not where it was told to go.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.assembly import BACKWARDS_S
from sgp_core.config import Config, setting
from sgp_core.safety import Fault
from sgp_core.types import State

# A step that was replaced later than this, as a share of its duration, was carried out.
CARRIED_OUT = 0.9
NEVER_ENDED = "a demonstration began here (1) and was never ended (2); it does not count"


@dataclass(frozen=True, kw_only=True)
class CutConfig(Config):
    """What counts as a transition."""

    step_duration_s: float = setting(1.0, "time from x_t to x_t+1", unit="s", low=0.02, high=10.0)
    gap_s: float = setting(0.1, "longest gap between two states that is bridged", unit="s", low=1e-3, high=10.0)
    pause_s: float = setting(2.0, "a demonstration ends where nothing is seen for longer", unit="s", low=0.1, high=1e4)
    rest_m: float = setting(0.002, "a pusher that moves less per transition rests", unit="m", low=0.0, high=0.1)
    moved_m: float = setting(
        0.01, "a box that moves further while the pusher rests was moved by hand", unit="m", low=1e-3, high=1.0
    )


@dataclass(frozen=True, kw_only=True)
class SentStep:
    """A step as it was sent."""

    stamp_s: float
    u: Float[ndarray, "2"]  # [m; table]


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A stretch of a recording that gives no transition."""

    start_s: float
    end_s: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """One transition [m; table]."""

    stamp_s: float
    x: Float[ndarray, "nx"]
    u: Float[ndarray, "2"]
    u_commanded: Float[ndarray, "2"]
    x_next: Float[ndarray, "nx"]
    demonstration: int


def demonstrations(marks: Sequence[tuple[float, str]]) -> tuple[list[tuple[float, float]], list[Rejected]]:
    """Begin and end of each demonstration that was kept, and what became of the other marks.

    Args:
        marks: times and words: `start`, then `stop`, or `discard`. One that was never stopped does not count.
    """
    kept: list[tuple[float, float]] = []
    others: list[Rejected] = []
    begun_s: float | None = None

    def left(end_s: float, reason: str) -> None:
        others.append(Rejected(start_s=end_s if begun_s is None else begun_s, end_s=end_s, reason=reason))

    for time_s, word in sorted(marks):
        if word == "stop" and begun_s is not None:
            kept.append((begun_s, time_s))
        elif word == "stop":
            left(time_s, "a demonstration ended here (2) that had not begun (1)")
        elif begun_s is not None:
            left(time_s, "discarded (0)" if word == "discard" else NEVER_ENDED)
        begun_s = time_s if word == "start" else None
    if begun_s is not None:
        left(begun_s, NEVER_ENDED)
    return kept, others


def carried_out(steps: Sequence[SentStep], config: CutConfig) -> bool:
    """Whether most steps had their time, as those of a program have and those of a keyboard have not."""
    stamps_s = np.sort([step.stamp_s for step in steps])
    whole = np.diff(stamps_s) >= CARRIED_OUT * config.step_duration_s
    return bool(len(stamps_s)) and bool(np.mean(np.append(whole, True)) > 0.5)


class Track:
    """States of a recording as a function of time.

    Args:
        states: in any order; of two with the same stamp the first counts.
        gap_s: longest gap that is bridged [s].
    """

    def __init__(self, states: Sequence[State], gap_s: float) -> None:
        times = np.array([state.stamp_s for state in states])
        self.times_s, rows = np.unique(times, return_index=True)
        self._x = np.array([states[row].x for row in rows])
        self._gap_s = gap_s

    def at(self, time_s: float) -> Float[ndarray, "nx"] | None:
        """The state at an instant, on a straight line between its neighbours; None in a gap."""
        after = int(np.searchsorted(self.times_s, time_s))
        if after < len(self.times_s) and self.times_s[after] == time_s:
            return self._x[after]
        if after in (0, len(self.times_s)):
            return None
        before_s, after_s = self.times_s[after - 1], self.times_s[after]
        if after_s - before_s > self._gap_s:
            return None
        share = (time_s - before_s) / (after_s - before_s)
        return (1.0 - share) * self._x[after - 1] + share * self._x[after]

    def broken(self, start_s: float, end_s: float) -> tuple[float, float] | None:
        """The first gap too long to be bridged that touches a stretch of time: the states at its ends, or infinity."""
        first = int(np.searchsorted(self.times_s, start_s, side="right")) - 1
        last = int(np.searchsorted(self.times_s, end_s, side="left"))
        before, after = [-np.inf] * (first < 0), [np.inf] * (last == len(self.times_s))
        ends = np.array([*before, *self.times_s[max(first, 0) : last + 1], *after])
        wide = np.flatnonzero(np.diff(ends) > self._gap_s)
        return (float(ends[wide[0]]), float(ends[wide[0] + 1])) if len(wide) else None


def cut(
    states: Sequence[State],
    steps: Sequence[SentStep],
    faults: Sequence[tuple[float, Fault]],
    config: CutConfig,
    first_demonstration: int = 0,
) -> tuple[list[Row], list[Rejected]]:
    """Transitions of one recording.

    Args:
        states: what was measured, in the order in which it was.
        steps: what was sent; none for a recording led by hand.
        faults: stamps of frames that gave no state, and why; only for the words.
        config: what counts.
        first_demonstration: number of the first demonstration.

    Returns:
        Transitions in the order of time, and the stretches that gave none.
    """
    if not states:
        return [], []
    for back in range(1, len(states)):
        if states[back].stamp_s < states[back - 1].stamp_s - BACKWARDS_S:
            # The clock was set back: what comes after is another recording, whatever its stamps say.
            used, unused = cut(states[:back], steps, faults, config, first_demonstration)
            following = used[-1].demonstration + 1 if used else first_demonstration
            more, less = cut(states[back:], [], faults, config, following)
            at_s = states[back - 1].stamp_s
            reset = Rejected(start_s=at_s, end_s=at_s, reason="the clock was set back; steps after that are not used")
            return [*used, *more], [*unused, reset, *less]
    track = Track(states, config.gap_s)
    rejected: list[Rejected] = []
    rows: list[Row] = []
    number, last_s, moving, by_hand = first_demonstration, -np.inf, False, False
    for start_s, end_s, commanded, why in _spans(track, sorted(steps, key=lambda step: step.stamp_s), config):
        x, x_next = track.at(start_s), track.at(end_s)
        reason = why
        if not reason and (x is None or x_next is None or track.broken(start_s, end_s) is not None):
            reason = _why_unseen(track, faults, start_s, end_s)
        if not reason and x is not None and x_next is not None:
            u = x_next[-2:] - x[-2:]
            box_m = float(np.linalg.norm((x_next - x)[:-2].reshape(-1, 2), axis=1).max())
            rests = float(np.linalg.norm(u)) < config.rest_m
            if rests and box_m > config.moved_m:
                reason, by_hand = "the box was moved while the pusher rested", True
            elif rests and not moving:
                # One transition of rest after a motion is worth having: the planner must know that it is possible.
                reason = "nothing moved"
            else:
                number += bool(rows) and (by_hand or start_s - last_s > config.pause_s or _moved(rows[-1], x, config))
                told = u if commanded is None else commanded
                rows.append(Row(stamp_s=start_s, x=x, u=u, u_commanded=told, x_next=x_next, demonstration=number))
                last_s, moving, by_hand = end_s, not rests, False
                continue
        moving = False
        rejected.append(Rejected(start_s=start_s, end_s=end_s, reason=reason))
    return rows, _merged(rejected)


def _moved(last: Row, x: Float[ndarray, "nx"], config: CutConfig) -> bool:
    """Whether the box went somewhere since a transition without the pusher, while nobody saw it."""
    moved_m = np.linalg.norm((x - last.x_next).reshape(-1, 2), axis=1)
    return bool(moved_m[-1] < config.rest_m and moved_m[:-1].max() > config.moved_m)


def _spans(
    track: Track, steps: Sequence[SentStep], config: CutConfig
) -> Iterator[tuple[float, float, ndarray | None, str]]:
    """Start, end, commanded displacement, and what speaks against each possible transition."""
    duration_s = config.step_duration_s
    if steps:
        for step, following in itertools.zip_longest(steps, steps[1:]):
            whole_s = np.inf if following is None else following.stamp_s - step.stamp_s
            early = whole_s < CARRIED_OUT * duration_s
            why = f"steps replaced before they were carried out ({whole_s:.2g} s of {duration_s:g} s)" if early else ""
            end_s = step.stamp_s + (whole_s if early else duration_s)
            yield step.stamp_s, end_s, step.u, why
        return
    start_s, last_s = float(track.times_s[0]), float(track.times_s[-1])
    while start_s + duration_s <= last_s + 1e-9:
        end_s = min(start_s + duration_s, last_s)
        gap = track.broken(start_s, end_s)
        if gap is not None and np.isfinite(gap[1]):
            yield start_s, gap[1], None, ""  # the next one begins behind the gap
            start_s = gap[1]
        else:
            yield start_s, end_s, None, ""
            start_s = end_s


def _why_unseen(track: Track, faults: Sequence[tuple[float, Fault]], start_s: float, end_s: float) -> str:
    if end_s > track.times_s[-1]:
        after = (f"{fault.reason}: {fault.text}" for stamp_s, fault in faults if track.times_s[-1] < stamp_s <= end_s)
        return next(after, "the recording ends before the step does")
    if start_s < track.times_s[0]:
        return "the recording begins after the step does"
    gap = track.broken(start_s, end_s) or (start_s, end_s)
    for stamp_s, fault in faults:
        if gap[0] - 1e-9 <= stamp_s <= gap[1] + 1e-9:
            return f"{fault.reason}: {fault.text}"
    return "no marker was recorded"


def _merged(rejected: Sequence[Rejected]) -> list[Rejected]:
    """Neighbours with the same reason as one; numbers in the words are those of the first."""
    merged: list[Rejected] = []
    for one in rejected:
        if merged and _kind(merged[-1]) == _kind(one) and one.start_s - merged[-1].end_s < 1e-6:
            merged[-1] = Rejected(start_s=merged[-1].start_s, end_s=one.end_s, reason=merged[-1].reason)
        else:
            merged.append(one)
    return merged


def _kind(rejected: Rejected) -> str:
    return rejected.reason.split("(")[0].split(":")[0]
