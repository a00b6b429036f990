"""Where the descent of a plan begins: the last plan, pushes from every side of the box, and a few random ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.contact_sequences import ContactSequences, Segment
from sgp_core.layout import rotation
from sgp_core.types import AT_GOAL, Aim, Goal, Listed, Plan, PlanStatus, State
from sgp_core.way_round import Ways, way_round
from sgp_core.workspace import Region

RESTING_M = 0.001  # a step so short is none
HERE_M = 0.004  # a pusher so close to a place is there
STRETCHES = 6  # lengths of a step that are tried


class Candidate(NamedTuple):
    """Pushes to begin from, after a walk."""

    u: Float[ndarray, "T 2"]  # [m]
    from_m: Float[ndarray, "2"]  # where the pusher is then [m; table]
    stops_m: Float[ndarray, "n 2"]  # corners of the way there, its end included [m; table]; none: it is there
    walk: float  # how long it takes, in steps
    aim: Aim = AT_GOAL  # of the pushes


def most_candidates(config: PlannerConfig) -> int:
    """How many first guesses there can be: restarts, and two of each sequence that is searched for."""
    return config.restarts + 2 * config.sequences * (config.contacts_per_side > 0)


class Candidates:
    """Makes the first guesses of plans.

    Args:
        bundle: its layout.
        config: how many places, the step limit.
        region: where the pusher may be.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, region: Region) -> None:
        self._layout, self._config, self._region = bundle.layout, config, region
        self._around = way_round(bundle.layout, config.contacts_per_side)
        self._middle_m = bundle.layout.markers(np.asarray(bundle.normalizer.x_centre)).mean(axis=0)
        self._found: ContactSequences | None = None

    def from_sides(self, state: State, goal: Goal, roll: Any, among: tuple[int, ...] = ()) -> list[Candidate]:
        """The first pushes of sequences that may lead to the goal; those a step away also as that step's rest.

        Args:
            state: where things are [m; table].
            goal: where the markers should end [m; table].
            roll: `roll` of dynamics, see `adjoint.py`.
            among: which first pushes may be, rows of `shortlist`; none: all.
        """
        config, limit, pusher_m = self._config, self._config.step_limit_m, state.x[-2:]
        if not config.contacts_per_side:
            return []
        everywhere = self._sequences(roll).rows(0, 1)
        ways, segments = self._search(state, goal, roll, among or everywhere)
        if among and not segments:  # no way to any of them
            ways, segments = self._search(state, goal, roll, everywhere)
        found: list[Candidate] = []
        for segment in segments:
            k, begun = segment.place, [stay(pusher_m, segment.u)]
            if k >= 0:
                begun = [self._walked(ways, k, pusher_m, segment.u)]
                if ways.direct[k] and ways.length_m[k] <= limit:
                    begun.append(stay(pusher_m, np.vstack([ways.stops_m[k][-1:] - pusher_m, segment.u[:-1]])))
            found.extend(one._replace(aim=segment.aim) for one in begun)
        return found

    def shortlist(self, state: State, goal: Goal, roll: Any, part: int) -> tuple[Listed, ...]:
        """The best first pushes of one of `search_parts`, for a later `from_sides`."""
        if not self._config.contacts_per_side:
            return ()
        rows = self._sequences(roll).rows(part, self._config.search_parts)
        found = self._search(state, goal, roll, rows)[1] if rows else []
        return tuple(Listed(segment.row, segment.cost_m2) for segment in found)

    def _search(self, state: State, goal: Goal, roll: Any, rows: Sequence[int]) -> tuple[Ways, list[Segment]]:
        box, wanted = (self._layout.pose_of(m) for m in (self._layout.markers(state.x), goal.markers_m))
        sequences, pusher_m = self._sequences(roll), state.x[-2:]
        places = sequences.places_of(rows)
        ways = self._around.ways(box, pusher_m, self._around.places[places], self._region)
        return ways, sequences.best(box, pusher_m, wanted, rows, places, ways, self._config.sequences)

    def followed(self, candidate: Candidate, x_end: Float[ndarray, "nx"], goal: Goal, roll: Any) -> Candidate:
        """A candidate whose pushes end in a state, with what is best to come after them; with contacts only."""
        box, wanted = self._layout.pose_of(self._layout.markers(x_end)), self._layout.pose_of(goal.markers_m)
        return candidate._replace(aim=self._sequences(roll).after(box, x_end[-2:], wanted))

    def wanted(
        self, goal: Goal, candidates: list[Candidate], *, begun: bool = False
    ) -> tuple[Float[ndarray, "B T ny"], Float[ndarray, "B T 1"], Float[ndarray, "B T 1"]]:
        """Where each wants the markers after each step [m; table], how much that weighs, and which steps are free.

        At the goal, meanwhile and in the end; or from the end of its pushes on where it aims. An end counts at every
        step from there on: what can be put off to the last step of a horizon is put off for ever. For the same reason
        the steps after an end stay at rest.
        """
        config = self._config
        targets = np.tile(goal.markers_m.reshape(-1), (len(candidates), config.horizon, 1))
        weights = np.full((len(candidates), config.horizon, 1), config.running_weight)
        free = np.ones_like(weights)
        for target, weight, candidate, rest in zip(targets, weights, candidates, free, strict=True):
            end = _steps(candidate.u, begun=begun) - 1 if config.contacts_per_side else config.horizon - 1
            weight[end:] = 1.0 / (config.horizon - end)
            rest[end + 1 :] = 0.0
            if candidate.aim.box is not None:
                target[end:] = self._layout.markers_at(*candidate.aim.box).reshape(-1)
        return targets, weights, free

    def _sequences(self, roll: Any) -> ContactSequences:
        if self._found is None:
            self._found = ContactSequences(roll, self._layout, self._config, self._around, self._middle_m)
        return self._found

    def again(self, state: State, u: Float[ndarray, "T 2"], from_m: Float[ndarray, "2"] | None) -> Candidate | None:
        """The last plan's pushes, from where they were to begin; None when there is no way there any more."""
        pusher_m = state.x[-2:]
        if from_m is None:
            return stay(pusher_m, u)
        box = self._layout.pose_of(self._layout.markers(state.x))
        place = (from_m - np.asarray(box[:2])) @ rotation(box[2])
        ways = self._around.ways(box, pusher_m, place[None], self._region)
        return self._walked(ways, 0, pusher_m, u) if ways.reached[0] else None

    def walk(
        self, state: State, candidate: Candidate, lasts: float
    ) -> tuple[Float[ndarray, "n 2"], Float[ndarray, "2"] | None]:
        """The steps that lead to where a candidate's pushes begin, and the step to send [m; table].

        A step takes its time however short it is. One that a next plan replaces soon is stretched, so that a corner is
        reached as soon as can be: as far as is clear of the box, because nobody knows whether there will be a next one.
        """
        if not len(candidate.stops_m):
            return np.zeros((0, 2)), None
        box, pusher_m = self._layout.pose_of(self._layout.markers(state.x)), state.x[-2:]
        limit_m = self._config.step_limit_m
        steps = self._around.steps(box, pusher_m, candidate.stops_m, limit_m, self._region)
        longest = limit_m / max(float(np.abs(steps[0]).max()), RESTING_M)
        for factor in np.linspace(min(1.0 / lasts, longest), 1.0, STRETCHES) if lasts < 1.0 < longest else ():
            if self._around.is_clear(box, pusher_m, steps[0] * factor, self._region):
                return steps, steps[0] * factor
        return steps, steps[0]

    def waiting_cost(self, state: State, goal: Goal, candidates: list[Candidate]) -> Float[ndarray, "B"]:
        """What the running cost adds while the pusher walks and the box stays, and after the pushes [m^2]."""
        if not self._config.contacts_per_side:
            return np.zeros(len(candidates))
        error_m = self._layout.markers(state.x) - goal.markers_m
        mean_m = error_m.mean(axis=0)
        turned_m2 = self._config.turn_weight * ((error_m - mean_m) ** 2).sum()
        error_m2 = float(len(error_m) * (mean_m**2).sum() + turned_m2)
        each_m2 = self._config.running_weight * error_m2
        step_m2 = len(error_m) * self._config.step_cost_m**2
        return np.array([each_m2 * c.walk + step_m2 * (c.walk + _steps(c.u)) + c.aim.later_m2 for c in candidates])

    def _walked(self, ways: Ways, k: int, pusher_m: ndarray, u: ndarray) -> Candidate:
        if ways.length_m[k] < HERE_M:
            return stay(pusher_m, u)
        stops_m = ways.stops_m[k]
        return Candidate(u, stops_m[-1], stops_m, float(ways.length_m[k]) / self._config.step_limit_m)


def _steps(u: Float[ndarray, "T 2"], *, begun: bool = False) -> int:
    """Until pushes end; of one that has begun the rest counts, however short."""
    moving = np.flatnonzero(np.abs(u).max(axis=1) > RESTING_M)
    if len(moving):
        return int(moving[-1]) + 1
    return 1 if begun else len(u)


def stay(pusher_m: Float[ndarray, "2"], u: Float[ndarray, "T 2"]) -> Candidate:
    """Pushes from where the pusher is [m; table]."""
    return Candidate(u, pusher_m, np.zeros((0, 2)), 0.0)


def after_walk(plan: Plan, pusher_m: Float[ndarray, "2"], walk: Float[ndarray, "W 2"]) -> Plan:
    """A plan from where its pushes begin, with the steps that lead there from the pusher; the box stays meanwhile."""
    if not len(walk):
        return plan
    x = np.tile(plan.x[0], (len(walk), 1))
    x[:, -2:] = pusher_m + np.concatenate([np.zeros((1, 2)), walk[:-1].cumsum(axis=0)])
    return dataclasses.replace(plan, u=np.concatenate([walk, plan.u]), x=np.concatenate([x, plan.x]), walk=len(walk))


def failed(state: State, horizon: int) -> Plan:
    """Rest, and no objective to show for it."""
    return Plan(
        stamp_s=state.stamp_s,
        x=np.tile(state.x, (horizon + 1, 1)),
        u=np.zeros((horizon, 2)),
        walk=0,
        objective=np.inf,
        task_cost=np.inf,
        distance2=np.inf,
        data_distance=np.inf,
        warm_start_objective=np.inf,
        status=PlanStatus.FAILED,
        schedule=(),
        solve_s=0.0,
    )
