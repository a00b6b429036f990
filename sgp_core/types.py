"""The five types that flow from marker to step, and what the planner carries between plans.

Positions are metres in the frame `table` (z up), times are seconds on one clock chosen by the caller. In shapes, N is
the number of markers, nx = 2N+2 the length of a state, T the horizon, B a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from jaxtyping import Bool, Float
from numpy import ndarray

from sgp_core.layout import MarkerLayout


class Reason(StrEnum):
    """Why a step was, or was not, sent. The value is the code on the `status` topic."""

    RUNNING = "RUNNING"
    GOAL_REACHED = "GOAL_REACHED"
    DRY_RUN = "DRY_RUN"
    NO_GOAL = "NO_GOAL"
    NO_STATE = "NO_STATE"
    STALE_STATE = "STALE_STATE"
    NON_FINITE = "NON_FINITE"
    BAD_STATE = "BAD_STATE"
    FROZEN_STATE = "FROZEN_STATE"
    OUTSIDE_WORKSPACE = "OUTSIDE_WORKSPACE"
    KEEP_OUT = "KEEP_OUT"
    STEP_TOO_LARGE = "STEP_TOO_LARGE"
    LATE_STEP = "LATE_STEP"
    NO_PUSHER = "NO_PUSHER"
    PUSHER_DISABLED = "PUSHER_DISABLED"
    APPROACHING = "APPROACHING"
    PUSHER_FAULT = "PUSHER_FAULT"
    STEP_DURATION_MISMATCH = "STEP_DURATION_MISMATCH"
    TRACKING_ERROR = "TRACKING_ERROR"
    STOPPED = "STOPPED"
    PLANNER_ERROR = "PLANNER_ERROR"
    OFF_DATA = "OFF_DATA"


class PlanStatus(StrEnum):
    """How a plan came about."""

    IMPROVED = "IMPROVED"  # better than the warm start
    KEPT_WARM_START = "KEPT_WARM_START"  # no iterate was better
    FAILED = "FAILED"  # the models gave no finite objective; the plan holds no motion


@dataclass(frozen=True, kw_only=True)
class MarkerFrame:
    """All markers and the pusher at one instant."""

    stamp_s: float
    positions_m: Float[ndarray, "N 2"]  # NaN where hidden
    visible: Bool[ndarray, "N"]
    pusher_m: Float[ndarray, "2"]  # interpolated to the stamp; NaN when not known


@dataclass(frozen=True, kw_only=True)
class State:
    """The measured state: marker 1..N (x, y), pusher (x, y) last [m; table]. Always complete and finite."""

    stamp_s: float
    x: Float[ndarray, "nx"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Where the markers should end."""

    markers_m: Float[ndarray, "N 2"]

    @classmethod
    def from_pose(cls, layout: MarkerLayout, x_m: float, y_m: float, yaw_rad: float) -> Goal:
        """Goal from a box pose [m, rad; table]."""
        return cls(markers_m=layout.markers_at(x_m, y_m, yaw_rad))


class Listed(NamedTuple):
    """A first push that a later plan may choose."""

    row: int  # which of all
    cost_m2: float  # of the best pair that begins with it, when it was looked at


class Aim(NamedTuple):
    """Where pushes are to bring the box, for others to follow."""

    box: tuple[float, float, float] | None = None  # pose [m, rad; table]; None: to the goal
    later_m2: float = 0.0  # running cost of what follows


AT_GOAL = Aim()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the planner found. `objective = task_cost + beta * distance2`, lower is better."""

    stamp_s: float  # of the state it starts from
    u: Float[ndarray, "L 2"]  # pusher displacements [m], first a walk to where it pushes, then T pushes
    x: Float[ndarray, "L+1 nx"]
    walk: int  # how many of them are the walk
    objective: float
    task_cost: float  # terminal and action cost [normalised units]
    distance2: float  # sum over the pushes of the smoothed squared distance to data [normalised units]
    data_distance: float  # root of the mean of that distance along the pushes [normalised units]
    warm_start_objective: float  # J of the advanced warm start, never below `objective`
    status: PlanStatus
    schedule: tuple[int, ...]  # iterations run at each noise level; fewer than asked for when the budget was over
    solve_s: float
    lead: Float[ndarray, "2"] | None = None  # on a walk: the step to send, which a next plan will cut short [m]
    aim: Aim = AT_GOAL  # of its pushes
    shortlist: tuple[Listed, ...] = ()  # first pushes that a later plan may choose among, see `Search`

    @property
    def from_m(self) -> Float[ndarray, "2"] | None:
        """Where the pushes begin, when the pusher has to walk there first [m; table]."""
        return self.x[self.walk, -2:] if self.walk else None

    @property
    def iterations(self) -> int:
        """All that were run."""
        return sum(self.schedule)


@dataclass(frozen=True, kw_only=True)
class Search:
    """Where else than the warm start a plan looks for a place to push from, and for which push."""

    choose: bool = True  # whether it may begin with another push than the warm start
    among: tuple[int, ...] = ()  # the first pushes to choose among; none: all
    look: int | None = None  # without a choice: the part of the search that a shortlist is made of, and no descent
    lasts: float = 1.0  # how much of the first step is carried out until the next plan's replaces it
    left: float = 1.0  # how much of its time is left, when it has begun

    @property
    def text(self) -> str:
        """In a word, as `of` reads it."""
        if self.choose:
            return " ".join(["choose", *map(str, self.among)])
        return "go on" if self.look is None else f"look {self.look}"

    @classmethod
    def of(cls, text: str) -> Search:
        """From a word. Raises ValueError for any other."""
        word, *numbers = text.split(" ")
        if word == "choose":
            return cls(among=tuple(int(number) for number in numbers))
        if text != "go on" and word != "look":
            raise ValueError(f"'{text}' is not a search")
        return cls(choose=False, look=int(numbers[0]) if word == "look" else None)


ANYWHERE = Search()


class Looked(NamedTuple):
    """What a plan found in one part of the search."""

    parts: int  # of how many
    part: int
    shortlist: tuple[Listed, ...]  # its best first pushes


@dataclass(frozen=True, kw_only=True)
class MpcCarry:
    """All that one plan hands to the next: nothing else is remembered anywhere."""

    u: Float[ndarray, "T 2"] | None  # last plan's pushes [m]; None before the first plan
    stamp_s: float  # stamp of that plan
    generator_state: bytes  # of the torch.Generator that draws the restarts
    from_m: Float[ndarray, "2"] | None = None  # where they begin, after a walk [m; table]; None: where the pusher is
    aim: Aim | None = None  # of these pushes; None: still to be found
    left: float = 1.0  # of the time of the first of these pushes, when the plan began
    arrived: bool = False  # inside the goal's hysteresis band
    nearest_m: float = math.inf  # mean distance of the markers from this goal, when the box was last nearer than before
    idle_s: float = 0.0  # how long it has not been any nearer, breaks not counted
    chosen_s: float = -math.inf  # stamp of the last plan that chose where to push from
    looked: tuple[Looked, ...] = ()  # what the plans since then found, a part of the search each
    just_looked: bool = False  # whether the last one was one of those


@dataclass(frozen=True, kw_only=True)
class Step:
    """One relative pusher step: a displacement from the pusher reference at `stamp_s` [m; table]."""

    stamp_s: float
    u: Float[ndarray, "2"]
    status: Reason
    reason: str
