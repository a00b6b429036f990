"""Plans again from a bag, decision by decision: the states, goals, steps and reports that mpc_node had, and no clock.

Nothing of the node's timing is imitated: `status` tells from which state each plan was made, what the pusher was about
to do, and how many iterations each noise level had, `plan` for which instant it was made. The planner then gets the
same state, outlook and warm start, and its random restarts follow from the same seed, so that with the same settings
the same steps come out, and with others one sees where they differ.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.bundle import ModelBundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.mpc import Controller, Decision, initial_carry, toward_another_goal
from sgp_core.prediction import Outlook
from sgp_core.types import Goal, Reason, Search, State
from sgp_ros import convert
from sgp_ros.bag_states import Recorded, Take

SAME_STAMP_S = 2e-6
SAME_M = 1e-9
LONGEST_S = 30.0  # from a state to the instant its plan begins; anything else is another state's plan


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decided:
    """One decision of the recorded mpc_node."""

    received_s: float
    began_s: float  # when its plan was started, on the clock of the recorder
    state_stamp_ns: int
    reason: str
    start_s: float  # instant the plan begins; NaN without a plan
    plan_u: Float[ndarray, "L 2"] | None  # its steps, a walk first [m; table]
    walk: int  # how many of them are the walk
    from_m: Float[ndarray, "2"] | None  # where it leads to [m; table]
    objective: float
    executed: bool  # whether the pusher had carried out the last step
    motion_m: Float[ndarray, "2"]  # what it would do until the plan begins [m; table]; NaN without an outlook
    schedule: tuple[int, ...]  # iterations at each noise level
    search: Search | None  # for a place to push from; None when the recording does not tell
    left: float  # of the time of the plan's first push

    @property
    def u(self) -> Float[ndarray, "2"] | None:
        """The first step [m; table]."""
        return None if self.plan_u is None else self.plan_u[0]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compared:
    """A recorded decision, and the one made from the same state now."""

    recorded: Decided
    decision: Decision
    state: State
    goal: Goal
    off_m: float  # distance between the two steps; NaN where only one of the two planned


class Log:
    """What mpc_node heard and said, as far as it was recorded. `takers` are for `bag_states.read`."""

    def __init__(self, bundle: ModelBundle) -> None:
        self._layout = bundle.layout
        self.decisions: list[Decided] = []
        self.goals: list[tuple[float, Goal]] = []  # time of recording, and the goal
        self.states: dict[int, ndarray] = {}  # as mocap_node published them, by stamp [ns]
        self.refused: list[str] = []
        self._path: Any = None
        self._last_ns = 0
        self.takers: dict[str, Take] = {
            "plan": self._take_path,
            "status": self._take_status,
            "state": self._take_state,
            "goal_pose": lambda m, at_s: self._take_goal(lambda: convert.goal_from_pose(m, self._layout), at_s),
            "goal_markers": lambda m, at_s: self._take_goal(lambda: convert.goal_from_markers(m, self._layout), at_s),
        }

    def _take_goal(self, read: Callable[[], Goal], received_s: float) -> None:
        try:
            goal = read()
        except InputError as error:
            self.refused.append(f"a goal was refused: {error}")
            return
        if not self.goals or not np.array_equal(goal.markers_m, self.goals[-1][1].markers_m):
            self.goals.append((received_s, goal))  # the same goal again is no news

    def _take_path(self, message: Any, _received_s: float) -> None:
        self._path = message

    def _take_state(self, message: Any, _received_s: float) -> None:
        x = np.array([_xy(pose.position) for pose in message.poses]).reshape(-1)
        self.states[convert.stamp_ns(message.header.stamp)] = x

    def _take_status(self, message: Any, received_s: float) -> None:
        values = {pair.key: pair.value for pair in message.values}
        state_ns = int(values.get("planned_from_ns", 0))
        if state_ns in (0, self._last_ns):
            return
        self._last_ns, path, self._path = state_ns, self._path, None
        start_s, plan_u, from_m, took_s, walk = float("nan"), None, None, 0.0, int(values.get("walk", 0))
        state_s = convert.clock_seconds(state_ns)
        if path is not None and state_s - SAME_STAMP_S <= convert.seconds(path.header.stamp) <= state_s + LONGEST_S:
            start_s, took_s = convert.seconds(path.header.stamp), float(values["plan_ms"]) * 1e-3
            pusher_m = np.array([_xy(pose.pose.position) for pose in path.poses])
            if not 0 <= walk < len(pusher_m) - 1:
                raise ValueError(f"a plan of {len(pusher_m)} places with a walk of {walk} steps")
            plan_u, from_m = np.diff(pusher_m, axis=0), pusher_m[walk] if walk else None
        self.decisions.append(
            Decided(
                received_s=received_s,
                began_s=received_s - took_s,
                state_stamp_ns=state_ns,
                reason=values["reason"],
                start_s=start_s,
                plan_u=plan_u,
                walk=walk,
                from_m=from_m,
                objective=float(values["objective"]),
                executed=values["executed"] == "true",
                motion_m=np.array([float(values[name]) for name in ("motion_x_m", "motion_y_m")]),
                schedule=tuple(int(count) for count in values["schedule"].split(",") if count),
                search=Search.of(values["search"]) if values.get("search") else None,
                left=float(values.get("left", 1.0)),
            )
        )


def replan(
    log: Log,
    recorded: Recorded,
    bundle: ModelBundle,
    planner: PlannerConfig,
    mpc: MpcConfig,
    *,
    seed: int,
    as_scheduled: bool,
    goal: Goal | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Compared]:
    """Make each recorded decision again.

    Args:
        log: of the recorded node.
        recorded: states from the recorded markers.
        bundle, planner, mpc, seed: for the plans; a budget would make them depend on this machine, so none is kept.
        as_scheduled: as many iterations at each noise level as there were, and the same search; without, what the
            settings give.
        goal: from the start, for a recording whose goal was a parameter.
        tell: called with the number of decisions made.

    Raises:
        InputError: the recording does not tell what was planned, or has no goal.
    """
    if not log.decisions:
        raise InputError(
            "the bag does not tell what mpc_node planned: it needs the topics status and plan, recorded with this"
            " version's mpc_node"
        )
    if goal is None and not log.goals:
        raise InputError("the bag holds no goal_pose or goal_markers; give --goal, as it was given to the nodes")
    near = Nearest(recorded.states)
    controller = Controller(bundle, dataclasses.replace(planner, budget_ms=0.0), mpc)
    carry, compared = initial_carry(seed), []
    told: Goal | None = goal
    for number, was in enumerate(log.decisions):
        tell(number + 1)
        now = latest(log.goals, was.began_s) or goal
        if now is not told:
            carry, told = toward_another_goal(carry), now
        state = near.at(was.state_stamp_ns)
        # The recorded node drew its random numbers whether the state is in the bag or not.
        drawn = controller.drawn(carry) if was.plan_u is not None else carry.generator_state
        if state is None or told is None:
            carry = dataclasses.replace(carry, generator_state=drawn)
            continue
        outlook = Outlook(start_s=was.start_s, motion_m=was.motion_m) if np.isfinite(was.start_s) else None
        schedule = was.schedule if as_scheduled and was.schedule else None
        search = was.search if as_scheduled else None
        decision = controller.control(
            state, told, carry, executed=was.executed, outlook=outlook, schedule=schedule, search=search
        )
        carry = dataclasses.replace(decision.carry, generator_state=drawn)
        if carry.u is not None and was.plan_u is not None:
            # Each decision from what the recorded one had: differences do not add up.
            left = 1.0 if was.walk else was.left
            carry = dataclasses.replace(carry, u=was.plan_u[was.walk :], from_m=was.from_m, left=left)
        off_m = float("nan")
        if decision.plan is not None and was.u is not None:
            off_m = float(np.linalg.norm(decision.plan.u[0] - was.u))
        compared.append(Compared(recorded=was, decision=decision, state=state, goal=told, off_m=off_m))
    return compared


class Nearest:
    """States by stamp: a stamp of today in seconds is a multiple of 0.24 microseconds, whichever way it was computed.

    Args:
        states: in any order.
    """

    def __init__(self, states: Sequence[State]) -> None:
        self._states = sorted(states, key=lambda state: state.stamp_s)
        self._stamps_s = np.array([state.stamp_s for state in self._states])

    def at(self, stamp_ns: int) -> State | None:
        """The state of this stamp."""
        stamp_s = convert.clock_seconds(stamp_ns)
        index = int(np.searchsorted(self._stamps_s, stamp_s - SAME_STAMP_S))
        found = index < len(self._states) and abs(self._stamps_s[index] - stamp_s) <= SAME_STAMP_S
        return self._states[index] if found else None


def latest(entries: list[tuple[float, Any]], time_s: float) -> Any:
    """The newest of entries in order of time [s] that is not after `time_s`, or None."""
    index = bisect_right(entries, time_s, key=lambda entry: entry[0])
    return entries[index - 1][1] if index else None


def _xy(point: Any) -> Float[ndarray, "2"]:
    return np.array([point.x, point.y], dtype=float)


def states_agreement(log: Log, recorded: Recorded) -> dict[str, Any]:
    """Of the states that mocap_node published: how many come out of the markers again, and how different they are.

    A recorder finds one topic after the other: what was published before it had heard all markers and the pusher for
    long enough to make a first state is counted apart.
    """
    near = Nearest(recorded.states)
    first_s = min((state.stamp_s for state in recorded.states), default=0.0) - SAME_STAMP_S
    said = [(x, stamp_ns) for stamp_ns, x in log.states.items() if convert.clock_seconds(stamp_ns) >= first_s]
    pairs = [(x, near.at(stamp_ns)) for x, stamp_ns in said]
    off = [float(np.abs(x - state.x).max()) for x, state in pairs if state is not None]
    return {
        "states_recorded": len(pairs),
        "states_before_first": len(log.states) - len(pairs),
        "states_matched": len(off) / len(pairs) if pairs else float("nan"),
        "states_identical": sum(one <= SAME_M for one in off) / len(pairs) if pairs else float("nan"),
        "states_off_mm_max": max(off) * 1e3 if off else float("nan"),
    }


def agreement(compared: list[Compared], tolerance_m: float) -> dict[str, Any]:
    """How often steps and verdicts are the same, and by how much they are not."""
    off = np.array([one.off_m for one in compared])
    both = off[np.isfinite(off)]
    verdicts = [(one.recorded.reason == Reason.GOAL_REACHED) == (one.decision.plan is None) for one in compared]
    return {
        "decisions_compared": len(compared),
        "steps": len(both),
        "steps_within_tolerance": float((both <= tolerance_m).mean()) if len(both) else float("nan"),
        "tolerance_mm": tolerance_m * 1e3,
        "off_mm_median": float(np.median(both) * 1e3) if len(both) else float("nan"),
        "off_mm_max": float(both.max() * 1e3) if len(both) else float("nan"),
        "same_verdict": float(np.mean(verdicts)),
    }
