"""Which planner settings are tuned, in which ranges, and what a proposal means for one bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sgp_core.config import ALL_SIGMAS, PlannerConfig
from sgp_core.errors import InputError

LEVELS_MOST = 10  # noise levels in one plan, so that the fewest iterations are enough for them
DIGITS = 3  # of what is proposed: a file that people read needs no more


@dataclass(frozen=True, kw_only=True)
class Range:
    """What one number may be, both ends included."""

    name: str
    low: float
    high: float
    whole: bool = False
    by_ratio: bool = False  # twice as much counts as the same distance everywhere

    def nearest(self, value: float) -> float:
        """The value, brought into the range."""
        return min(max(value, self.low), self.high)


# `sigma_first` and `sigma_count` stand for `sigmas`: so they fit the ladder of any bundle.
FIRST, COUNT = "sigma_first", "sigma_count"
RANGES = (
    Range(name="beta", low=1e-4, high=1.0, by_ratio=True),
    Range(name="horizon", low=2, high=8, whole=True),
    Range(name="iterations", low=10, high=200, whole=True, by_ratio=True),
    Range(name="learning_rate", low=0.01, high=0.5, by_ratio=True),
    Range(name="restarts", low=1, high=16, whole=True, by_ratio=True),
)


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be proposed.

    Args:
        ladder: noise levels of the bundle, high to low.
        base: settings that everything else is compared with; those that are not tuned stay as they are here.
        fixed: names of settings that are not tuned.

    Raises:
        InputError: nothing is left to tune.
    """

    ladder: tuple[float, ...]
    base: PlannerConfig
    fixed: Collection[str] = ()

    def __post_init__(self) -> None:
        if not self.ranges:
            raise InputError(f"nothing is left to tune: {', '.join(sorted(self.fixed))} are all given")

    @property
    def ranges(self) -> list[Range]:
        """Of each number that is proposed."""
        found = [one for one in RANGES if one.name not in self.fixed]
        if "sigmas" not in self.fixed:
            count = len(self.ladder)
            ladder = [
                Range(name=FIRST, low=0, high=count - 1, whole=True),
                Range(name=COUNT, low=1, high=min(count, LEVELS_MOST), whole=True),
            ]
            found += [one for one in ladder if one.low < one.high]
        elif (levels := len(self._base_levels())) > LEVELS_MOST:  # none may go without an iteration
            found = [dataclasses.replace(r, low=max(r.low, levels)) if r.name == "iterations" else r for r in found]
        return [one for one in found if one.low < one.high]

    @property
    def names(self) -> list[str]:
        """Of the planner's settings that are tuned."""
        names = {"sigmas" if one.name in (FIRST, COUNT) else one.name for one in self.ranges}
        return [name for name in self.base.to_dict() if name in names]

    def settings(self, proposal: Mapping[str, float]) -> PlannerConfig:
        """The planner's settings for numbers by name, as `ranges` names them."""
        values = {name: value for name, value in proposal.items() if name not in (FIRST, COUNT)}
        rounded = {name: float(f"{v:.{DIGITS}g}") if isinstance(v, float) else v for name, v in values.items()}
        if len(values) == len(proposal):
            return self.base.replaced(**rounded)
        levels = thinned(self.ladder, int(proposal[FIRST]), int(proposal[COUNT]))
        shown = tuple(float(f"{sigma:.4g}") for sigma in levels)  # the planner takes the nearest level
        return self.base.replaced(**rounded, sigmas=ALL_SIGMAS if levels == self.ladder else shown)

    def first_guess(self) -> dict[str, float]:
        """The base, as nearly as the ranges hold it: a beta of 0, for one, has no place on a scale of ratios."""
        levels = self._base_levels()
        highest = int(np.argmin(np.abs(np.asarray(self.ladder) - levels[0])))
        known = {**self.base.to_dict(), FIRST: highest, COUNT: len(levels)}
        return {one.name: one.nearest(known[one.name]) for one in self.ranges}

    def _base_levels(self) -> Sequence[float]:
        return self.ladder if self.base.sigmas == ALL_SIGMAS else self.base.sigmas


def thinned(ladder: Sequence[float], first: int, count: int) -> tuple[float, ...]:
    """At most `count` levels of a ladder, evenly from the level number `first` to the last one, which is always there.

    The last one is where the objective is exact: a plan that ends elsewhere did not minimise what it is judged by.
    """
    last = len(ladder) - 1
    chosen = np.round(np.linspace(last, first, min(count, last - first + 1))).astype(int)
    return tuple(float(ladder[k]) for k in sorted(set(chosen.tolist())))
