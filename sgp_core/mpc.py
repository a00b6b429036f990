"""Model-predictive control around the planner: advance the last plan, plan, send the first step, know when to stop."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from sgp_core.bundle import ModelBundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.layout import MarkerLayout, wrap_angle
from sgp_core.planner import Planner
from sgp_core.prediction import Outlook
from sgp_core.safety import check_step, region_of
from sgp_core.types import ANYWHERE, AT_GOAL, Aim, Goal, Looked, MpcCarry, Plan, PlanStatus, Reason, Search, State, Step

# Of a control period: the rest is for messages, and for what else the machine has to do.
BUDGET_SHARE = 0.6
# A box that comes no nearer to its goal for so many steps is worth a word; walks take half of that.
PATIENCE_STEPS, NEARER_M = 10, 0.001
# Lengths of a led step that are tried, and how far it goes towards the longest one that stays inside.
STRETCHES, WITHIN = 6, 0.98
CHOICES = 2  # times as many first pushes as wanted are compared again, because the box has moved meanwhile
SEVERAL = 1.5  # plans per step from which on one is carried on by others
BREAK_STEPS = 2  # longer ones between two plans do not count


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What one control cycle came to."""

    step: Step  # to be sent exactly when its status is RUNNING
    plan: Plan | None  # None when the goal is reached
    carry: MpcCarry
    marker_error_m: float  # mean distance of the markers from their goals
    yaw_error_rad: float
    search: Search | None = None  # how the plan looked for a place to push from, and how much of a step was left


def initial_carry(seed: int = 0) -> MpcCarry:
    """The carry before the first plan."""
    return MpcCarry(u=None, stamp_s=0.0, generator_state=_state_of(torch.Generator().manual_seed(seed)))


def toward_another_goal(carry: MpcCarry) -> MpcCarry:
    """The same plan, without what was known of the goal before."""
    return dataclasses.replace(
        carry,
        arrived=False,
        nearest_m=math.inf,
        idle_s=0.0,
        chosen_s=-math.inf,
        looked=(),
        just_looked=False,
    )


@runtime_checkable
class Solver(Protocol):
    """What the controller asks of whatever makes its plans; `Planner` says what each argument means."""

    config: PlannerConfig

    def plan(
        self,
        state: State,
        goal: Goal,
        warm_start: Float[ndarray, "T 2"],
        generator: torch.Generator,
        *,
        from_m: Float[ndarray, "2"] | None = None,
        aim: Aim | None = None,
        spent_s: float = 0.0,
        schedule: Sequence[int] | None = None,
        search: Search = ANYWHERE,
    ) -> Plan:
        """A plan from a state to a goal."""

    def predict(self, state: State, outlook: Outlook) -> State:
        """The state at the start of a plan."""

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        """What is random in a plan, as `plan` draws it."""


class Controller:
    """One control cycle as a function of state, goal and carry; holds settings and models, nothing that changes.

    Args:
        bundle: models and layout.
        planner: settings of the planner, limits among them.
        mpc: when the goal counts as reached.
        solver: makes the plans; None for the score-guided `Planner`.

    Raises:
        InputError: settings that do not fit the bundle.
    """

    def __init__(
        self, bundle: ModelBundle, planner: PlannerConfig, mpc: MpcConfig, solver: Solver | None = None
    ) -> None:
        self._bundle = bundle
        self._mpc = mpc
        self._planner: Solver = Planner(bundle, planner) if solver is None else solver

    def control(
        self,
        state: State,
        goal: Goal,
        carry: MpcCarry,
        *,
        executed: bool = True,
        outlook: Outlook | None = None,
        schedule: Sequence[int] | None = None,
        search: Search | None = None,
    ) -> Decision:
        """Decide on the next step.

        Args:
            state: measured state.
            goal: goal markers.
            carry: what the last cycle handed on.
            executed: false when the pusher did not carry out the last step; the warm start is then not advanced.
            outlook: when the step will begin and what the pusher does until then; None begins at the stamp of `state`.
            schedule: iterations at each noise level, to plan as an earlier plan was made.
            search: where else to look for a place to push from, likewise.
        """
        error_m, yaw_rad = goal_error(self._bundle.layout, state.x, goal)
        if self._arrived(error_m, yaw_rad, self._mpc.goal_hysteresis if carry.arrived else 1.0):
            # The old plan ends here; the next one, after the box moved away, starts afresh.
            return Decision(
                step=_no_step(state, Reason.GOAL_REACHED, f"goal reached, markers {error_m * 1e3:.1f} mm away"),
                plan=None,
                carry=dataclasses.replace(toward_another_goal(carry), u=None, from_m=None, arrived=True),
                marker_error_m=error_m,
                yaw_error_rad=yaw_rad,
            )
        if outlook is not None:
            state = self._planner.predict(state, outlook)
        generator = _generator_of(carry)
        spent_s = 0.0 if outlook is None else outlook.spent_s
        lasts = min(1.0, 1.0 / (self._mpc.rate_hz * self._bundle.step_duration_s))
        search = search or self._search(state, carry, executed)
        # Where nothing is chosen yet, and nothing may be, the pusher rests.
        rests = not search.choose and not self._under_way(state, carry, executed)
        begun = initial_carry() if rests else carry
        warm_start, left = self._warm_start(state, begun, executed, search.choose)
        search = dataclasses.replace(search, lasts=lasts, left=left)
        plan = self._planner.plan(
            state,
            goal,
            warm_start,
            generator,
            from_m=begun.from_m,
            # Where all is searched anew, so is what follows the warm start.
            aim=AT_GOAL if rests else None if search.choose and not search.among else carry.aim,
            spent_s=spent_s,
            schedule=schedule,
            search=search,
        )
        nearest_m, idle_s = self._progress(state, error_m, carry)
        step = self._first_step(state, plan, search, error_m, idle_s)
        begins = search.choose or (begun.from_m is not None and not plan.walk)  # a push, after a walk
        chosen_s = state.stamp_s if begins else carry.chosen_s
        return Decision(
            step=step,
            plan=plan,
            carry=MpcCarry(
                u=plan.u[plan.walk :],
                stamp_s=state.stamp_s,
                generator_state=_state_of(generator),
                from_m=plan.from_m,
                aim=plan.aim,
                left=1.0 if plan.walk else left,
                nearest_m=nearest_m,
                idle_s=idle_s,
                chosen_s=chosen_s if step.status is Reason.RUNNING else -math.inf,
                looked=self._looked(state, carry, search, plan),
                just_looked=search.look is not None,
            ),
            marker_error_m=error_m,
            yaw_error_rad=yaw_rad,
            search=search,
        )

    def drawn(self, carry: MpcCarry) -> bytes:
        """State of the random numbers after one more plan, which only depends on how many there were."""
        generator = _generator_of(carry)
        self._planner.draw(generator)
        return _state_of(generator)

    def is_at(self, x: Float[ndarray, "nx"], goal: Goal, slack: float = 1.0) -> bool:
        """Whether a state [m; table] counts as the goal, with tolerances times `slack`."""
        return self._arrived(*goal_error(self._bundle.layout, x, goal), slack)

    def _arrived(self, error_m: float, yaw_rad: float, slack: float) -> bool:
        return error_m <= slack * self._mpc.goal_tolerance_m and yaw_rad <= slack * self._mpc.goal_yaw_tolerance_rad

    def _warm_start(
        self, state: State, carry: MpcCarry, executed: bool, choose: bool
    ) -> tuple[Float[ndarray, "T 2"], float]:
        """What is still to be done of the last plan, and how much of the time of its first push is left.

        In the middle of a step its rest is the first push, so that the pusher keeps its speed. A plan that chooses anew
        begins with a whole step.
        """
        horizon = self._planner.config.horizon
        if carry.u is None:
            return np.zeros((horizon, 2)), 1.0
        # Pushes that wait for the end of a walk are still all to be done.
        walked = carry.from_m is not None
        elapsed_s = max(0.0, state.stamp_s - carry.stamp_s) if executed and not walked else 0.0
        elapsed, u = elapsed_s / self._bundle.step_duration_s, carry.u
        left = carry.left - elapsed
        if left > 0.0 and not choose:
            u = np.concatenate([u[:1] * (left / carry.left), u[1:]])
        else:
            u, left = advance(np.concatenate([u[:1] / carry.left, u[1:]]), elapsed + 1.0 - carry.left), 1.0
        # A horizon changed while running keeps what the plans have in common.
        kept = u[:horizon]
        return np.concatenate([kept, np.zeros((horizon - len(kept), 2))]), left

    def _search(self, state: State, carry: MpcCarry, executed: bool) -> Search:
        """Choose where to push from once per step, and look round for that, a part with every second plan, in between.

        A step that has begun is carried on: in the middle of one another push always seems better that would have been
        as good before, and a pusher that turns back and forth gets nowhere.
        """
        looked, config = self._recent(state, carry), self._planner.config
        parts = config.search_parts if config.contacts_per_side else 1
        several = self._mpc.rate_hz * self._bundle.step_duration_s > SEVERAL
        under_way = several and self._under_way(state, carry, executed)
        if parts == 1 or not several:
            return Search(choose=not under_way)
        if under_way and carry.just_looked:
            return Search(choose=False)
        # Before the first push towards a goal there is time to look at every part. In the middle of pushing, towards a
        # goal that has changed or after a step that was not taken, all is searched at once.
        first = carry.u is None or (carry.just_looked and math.isinf(carry.chosen_s) and executed)
        incomplete = len({found.part for found in looked}) < parts
        if under_way or (first and incomplete):
            return Search(choose=False, look=(looked[-1].part + 1) % parts if looked else 0)
        if incomplete or not executed:
            return ANYWHERE
        listed = sorted((one for found in looked for one in found.shortlist), key=lambda one: one.cost_m2)
        return Search(among=tuple(one.row for one in listed[: CHOICES * config.sequences]))

    def _under_way(self, state: State, carry: MpcCarry, executed: bool) -> bool:
        """Whether a step that was chosen has begun, and goes on beyond this plan."""
        begun_s, latest_s = state.stamp_s - carry.chosen_s, self._bundle.step_duration_s - 0.5 / self._mpc.rate_hz
        return carry.u is not None and executed and 0.0 <= begun_s < latest_s

    def _looked(self, state: State, carry: MpcCarry, search: Search, plan: Plan) -> tuple[Looked, ...]:
        found, parts = self._recent(state, carry), self._planner.config.search_parts
        # A walk that has become impossible is searched for anew instead, and that plan descends.
        if search.look is None or plan.iterations:
            return found
        return (*found, Looked(parts, search.look, plan.shortlist))[-parts:]

    def _recent(self, state: State, carry: MpcCarry) -> tuple[Looked, ...]:
        """What was found under the same settings, and without a break since."""
        if not 0.0 <= state.stamp_s - carry.stamp_s <= self._bundle.step_duration_s:
            return ()
        return tuple(found for found in carry.looked if found.parts == self._planner.config.search_parts)

    def _progress(self, state: State, error_m: float, carry: MpcCarry) -> tuple[float, float]:
        """How near the box has come to the goal [m], and how long it has not come any nearer [s]."""
        if error_m < carry.nearest_m - NEARER_M:
            return error_m, 0.0
        passed_s = min(max(state.stamp_s - carry.stamp_s, 0.0), BREAK_STEPS * self._bundle.step_duration_s)
        return carry.nearest_m, carry.idle_s + passed_s

    def _first_step(self, state: State, plan: Plan, search: Search, error_m: float, idle_s: float) -> Step:
        config = self._planner.config
        if plan.status is PlanStatus.FAILED:
            return _no_step(
                state, Reason.PLANNER_ERROR, "the models gave no finite plan from here; check goal and state"
            )
        u = self._in_time(plan, max(search.left, search.lasts)) if plan.lead is None else plan.lead
        fault = check_step(u, state.x[-2:], config)
        if fault is not None:
            return _no_step(state, fault.reason, fault.text)
        trust, distance = self._mpc.trust_distance, plan.data_distance
        off = f"off the data: distance {distance:.2f} for trust_distance = {trust:g}"
        if 0.0 < 2.0 * trust <= distance and u.any():
            remedy = "put box and goal where the demonstrations are, or record more"
            return _no_step(state, Reason.OFF_DATA, f"{off}; {remedy}")
        words = f"walking round the box, {plan.walk} steps before it pushes" if plan.walk else "pushing"
        if search.look is not None and not u.any():
            words = "looking round for where to push from"
        elif search.look is None and plan.iterations < config.iterations:
            words += (
                f"; budget_ms = {config.budget_ms:g} was over after {plan.iterations} of {config.iterations} iterations"
            )
        if 0.0 < trust < distance and not plan.walk:
            u, words = u * (trust / distance), f"{words}, by shorter steps: {off}"
        if idle_s > PATIENCE_STEPS * self._bundle.step_duration_s:
            words += (
                f"; no nearer to the goal for {idle_s:.0f} s, {error_m * 1e3:.0f} mm away: it may be out of reach, or"
                " the box does not move as the model says"
            )
        return Step(stamp_s=state.stamp_s, u=u, status=Reason.RUNNING, reason=words)

    def _in_time(self, plan: Plan, left: float) -> Float[ndarray, "2"]:
        """A step takes its time: for the rest of one to end with it, the step goes further, inside the limits."""
        u, pusher_m, config = plan.u[0], plan.x[0, -2:], self._planner.config
        region, most = region_of(config), config.step_limit_m / max(float(np.abs(u).max()), 1e-9)
        for further in np.linspace(min(1.0 / left, most), 1.0, STRETCHES) if left < 1.0 < most else ():
            end_m = pusher_m + u * further
            if float(np.abs(region.reached(pusher_m, end_m) - end_m).max()) < 1e-9:
                return u * (1.0 + (further - 1.0) * WITHIN)
        return u


def in_time(planner: PlannerConfig, mpc: MpcConfig) -> PlannerConfig:
    """The planner's settings for a loop of this rate, where a plan without a budget of its own gets one.

    That is 60 % of a period, or of the time for which its state may be used, whichever is shorter.
    """
    if planner.budget_ms > 0.0:
        return planner
    return dataclasses.replace(planner, budget_ms=BUDGET_SHARE * 1e3 * min(1.0 / mpc.rate_hz, mpc.state_timeout_s))


def advance(u: Float[ndarray, "T 2"], steps: float) -> Float[ndarray, "T 2"]:
    """A plan as seen `steps` step durations later, at rest after its end.

    The plan is a velocity that is constant during each step, so a fraction of a step mixes two neighbours and a whole
    number of steps is an exact shift.
    """
    whole = int(min(np.floor(steps + 1e-9), len(u)))
    part = min(1.0, max(0.0, steps - whole))
    padded = np.concatenate([u, np.zeros((whole + 1, 2))])[whole : whole + len(u) + 1]
    return (1.0 - part) * padded[:-1] + part * padded[1:]


def goal_error(layout: MarkerLayout, x: Float[ndarray, "nx"], goal: Goal) -> tuple[float, float]:
    """Mean marker distance [m] and absolute yaw error [rad] of a state from the goal."""
    markers = layout.markers(x)
    yaw = wrap_angle(layout.pose_of(markers)[2] - layout.pose_of(goal.markers_m)[2])
    return float(np.linalg.norm(markers - goal.markers_m, axis=-1).mean()), abs(yaw)


def _generator_of(carry: MpcCarry) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(carry.generator_state), dtype=torch.uint8))
    return generator


def _state_of(generator: torch.Generator) -> bytes:
    return generator.get_state().numpy().tobytes()


def _no_step(state: State, status: Reason, reason: str) -> Step:
    return Step(stamp_s=state.stamp_s, u=np.zeros(2), status=status, reason=reason)
