"""Which side of the box to push next, and what is to come after that: a search over pairs of straight pushes.

A descent improves the pushes from one place. It cannot see that from another place, after a walk, the goal is two
pushes away. Straight pushes from every place are therefore predicted once with the learned dynamics. What one of them
does to the box is a shift and a turn in the box's own frame, the same wherever the box is (a motion primitive of a body
in the plane). A second push after a first is then two poses multiplied, the error that is left a product of six numbers
of each (`PoseError.of_poses`), and a million pairs are one product of matrices.

What the search finds is where the box is to be after the first push, so that the second brings it to the goal. Only the
first is ever carried out, and it is improved by the descent before; then all is searched anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from sgp_core.box_poses import PoseError, moved, poses_of, seen_from, turned
from sgp_core.config import PlannerConfig
from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout
from sgp_core.types import AT_GOAL, Aim
from sgp_core.way_round import WayRound, Ways

ANGLES = np.radians([-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0])  # of pushes, from straight into the box
HERE = np.linspace(-np.pi, np.pi, 16, endpoint=False)  # directions of pushes from where the pusher is
PARTS = 2  # a push may end after a part of a step, too
MOVED_M = 0.002  # a push from here that moves the box less is none
# Steps are limited by the longer part of their way along the table's axes, which is so much of it in the mean.
ALONG_AN_AXIS = 0.9
# The descent takes off about half of the squared error that a straight push leaves.
ROUGH = 0.5
# A push that is still to be planned will not be exact, either; else the best would always be yet to come.
EXACT_M = 0.003


class Segment(NamedTuple):
    """A straight push, and what is planned after it."""

    row: int  # which of all first pushes it is
    place: int  # which of the ways leads to where it begins; -1: where the pusher is
    u: Float[ndarray, "T 2"]  # [m; table], at rest after its end
    cost_m2: float  # of both
    aim: Aim  # where the box is to be after it, for another push to bring it to the goal


class Pushes(NamedTuple):
    """Where straight pushes end, S of them after each part of a step."""

    poses: Float[ndarray, "*k 3"]  # of the box (S, P, 3) [m, rad; table, or box before the push]
    walks: Float[ndarray, "*k K"]  # steps from there to every place (S, P, K)


class ContactSequences:
    """All straight pushes of one kind of box, and the search among pairs of them.

    Args:
        roll: `roll` of dynamics, see `adjoint.py`.
        layout: of the box.
        config: weights of the task cost, step limit, horizon.
        around: places where a push may begin.
        at_m: where on the table the pushes are tried; far from the data, models may know nothing.
    """

    def __init__(
        self, roll: Any, layout: MarkerLayout, config: PlannerConfig, around: WayRound, at_m: Float[ndarray, "2"]
    ) -> None:
        self._roll, self._layout, self._config, self._around = roll, layout, config, around
        self._parts = np.arange(1, PARTS * config.horizon + 1) / PARTS  # how many steps a push took after each
        self._step_m2 = layout.count * config.step_cost_m**2
        self._push_m2 = config.action_weight * config.step_limit_m**2 * self._parts + self._step_m2 * np.ceil(
            self._parts
        )
        self._later_m2 = self._push_m2 + layout.count * EXACT_M**2
        self._directions = turned(np.tile(ANGLES, len(around.places)), np.repeat(around.inwards, len(ANGLES), axis=0))
        origin = np.array([*at_m, 0.0])
        tried = self._pushed(origin, np.repeat(around.places, len(ANGLES), axis=0) + at_m, self._directions)
        self._pushes = tried._replace(poses=tried.poses - origin)
        # A second push costs what its parts leave of the error, in the end and meanwhile: a sum of products, too.
        left = PoseError(layout, config.turn_weight, (0.0, 0.0, 0.0)).of_motions(self._pushes.poses)
        cost = ROUGH * left + config.running_weight / PARTS * left.cumsum(axis=1)
        cost[..., 1] += self._later_m2
        self._seconds = _single(cost.reshape(-1, cost.shape[-1]).T)

    def rows(self, part: int, parts: int) -> tuple[int, ...]:
        """First pushes of a part of the search: of the first one from where the pusher is, else of some places."""
        places = len(self._around.places)
        place = np.repeat(1 + np.arange(places) * (parts - 1) // places, len(ANGLES)) % parts
        return tuple(np.flatnonzero(np.append(place, np.zeros(len(HERE), dtype=int)) == part).tolist())

    def places_of(self, rows: Sequence[int]) -> Int[ndarray, "K"]:
        """Places where these first pushes begin, but for those that begin where the pusher is."""
        return np.unique([row // len(ANGLES) for row in rows if row < len(self._directions)]).astype(int)

    def best(
        self,
        box: Pose,
        pusher_m: Float[ndarray, "2"],
        goal: Pose,
        rows: Sequence[int],
        places: Int[ndarray, "K"],
        ways: Ways,
        count: int,
    ) -> list[Segment]:
        """The first pushes of the best pairs, at most one of a place and a direction.

        Args:
            box: pose of the box [m, rad; table].
            pusher_m: centre of the pusher [m; table].
            goal: pose that the box should get [m, rad; table].
            rows: which first pushes may be; those that there are not, under other settings, are left out.
            places: `places_of` them.
            ways: from the pusher to each of these.
            count: how many at most.
        """
        weight, error_of = self._config.running_weight, PoseError(self._layout, self._config.turn_weight, goal)
        tried, beside = np.asarray(rows, dtype=int), len(self._directions)
        row, ahead = tried[tried < beside], tried[(tried >= beside) & (tried < beside + len(HERE))]
        begin = np.searchsorted(places, row // len(ANGLES))
        row, begin = row[ways.reached[begin]], begin[ways.reached[begin]]
        first = Pushes(moved(np.asarray(box), self._pushes.poses[row]), self._pushes.walks[row])
        directions, walks = turned(np.asarray(box[2]), self._directions[row]), ways.length_m[begin]
        if len(ahead):
            here = turned(HERE[ahead - beside], np.array([1.0, 0.0]))
            from_here = self._pushed(np.asarray(box), np.tile(pusher_m, (len(here), 1)), here)
            first = Pushes(*(np.concatenate(both) for both in zip(first, from_here, strict=True)))
            directions, walks = np.concatenate([directions, here]), np.append(walks, np.zeros(len(here)))
            row, begin = np.append(row, ahead), np.append(begin, np.full(len(here), -1))
        walks = walks / self._config.step_limit_m
        # What each first push costs; one that ends within a step waits for the step's end.
        error, start = error_of(first.poses), float(error_of(np.asarray(box)))
        waited = error.cumsum(axis=1) / PARTS + (np.ceil(self._parts) - self._parts) * error
        before = weight * (start * walks[:, None] + waited) + self._step_m2 * walks[:, None] + self._push_m2
        alone = before + ROUGH * error
        both = before + self._followed(first, error, error_of)
        idle = np.abs(first.poses[..., :2] - box[:2]).max(axis=-1) + np.abs(first.poses[..., 2] - box[2]) < MOVED_M
        idle[begin >= 0] = False
        whole = np.where(idle, np.inf, np.minimum(alone, both))
        part_of = whole.argmin(axis=1)
        found = []
        for k in np.argsort(whole[np.arange(len(whole)), part_of], kind="stable")[:count]:
            part = int(part_of[k])
            if not np.isfinite(whole[k, part]):
                break
            parts = np.zeros((len(self._parts), 2))
            parts[: part + 1] = directions[k] * self._config.step_limit_m / PARTS
            u = parts.reshape(-1, PARTS, 2).sum(axis=1)
            aim = AT_GOAL
            if both[k, part] < alone[k, part]:
                end = Pushes(first.poses[k, part], first.walks[k, part])
                aim = self._second(end, error[k, part], error_of, goal)
            found.append(Segment(int(row[k]), int(begin[k]), u, float(whole[k, part]), aim))
        return found

    def after(self, box: Pose, pusher_m: Float[ndarray, "2"], goal: Pose) -> Aim:
        """What it is best to aim at for a box that is about to be at a pose.

        Args:
            box: the pose [m, rad; table].
            pusher_m: where the pusher will be [m; table].
            goal: pose that the box should get [m, rad; table].
        """
        error_of = PoseError(self._layout, self._config.turn_weight, goal)
        first = Pushes(np.asarray(box), self._walks_from(seen_from(np.asarray(box), pusher_m)[None])[0])
        error = error_of(first.poses)
        if float(self._followed(first, error, error_of)) >= ROUGH * error:
            return AT_GOAL
        return self._second(first, error, error_of, goal)

    def _pushed(
        self, box: Float[ndarray, "3"], pusher_m: Float[ndarray, "S 2"], directions: Float[ndarray, "S 2"]
    ) -> Pushes:
        """Straight pushes from places [m; table]."""
        markers = np.tile(self._layout.markers_at(*box).reshape(-1), (len(pusher_m), 1))
        x = torch.from_numpy(np.concatenate([markers, pusher_m], axis=1)).float()
        u = torch.from_numpy(directions * self._config.step_limit_m / PARTS).float()
        found = self._roll(x, u[:, None].repeat(1, len(self._parts), 1))[0][:, 1:].double().numpy()
        poses = poses_of(self._layout, self._layout.markers(found))
        return Pushes(poses, self._walks_from(seen_from(poses, found[..., -2:])))

    def _walks_from(self, points_m: Float[ndarray, "... 2"]) -> Float[ndarray, "... K"]:
        """Steps from points beside the box [m; box] to every place."""
        return np.asarray(np.ceil(ALONG_AN_AXIS * self._around.about(points_m) / self._config.step_limit_m))

    def _followed(self, first: Pushes, error: Float[ndarray, "*k"], error_of: PoseError) -> Float[ndarray, "*k"]:
        """Least cost of a second push after each first one [m^2]."""
        pushing, walking = self._pairs(first, error, error_of)
        return np.asarray((pushing.amin(-1) + walking).amin(-1).double())

    def _pairs(
        self, first: Pushes, error: Float[ndarray, "*k"], error_of: PoseError
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cost of each second push after each first one (*k, K, pushes of a place), and of the walk there (*k, K)."""
        pushing = (_single(error_of.of_poses(first.poses)) @ self._seconds).unflatten(-1, [first.walks.shape[-1], -1])
        return pushing, _single(first.walks * (self._config.running_weight * error[..., None] + self._step_m2))

    def _second(self, first: Pushes, error: Float[ndarray, ""], error_of: PoseError, goal: Pose) -> Aim:
        """From which pose a second push after one brings the box to the goal."""
        pushing, walking = self._pairs(first, error, error_of)
        row, part = divmod(int((pushing + walking[:, None]).argmin()), len(self._parts))
        push, walk = self._pushes.poses[row, : part + 1], float(first.walks[row // len(ANGLES)])
        yaw = goal[2] - float(push[part, 2])
        x_m, y_m = np.asarray(goal[:2]) - turned(np.asarray(yaw), push[part, :2])
        waiting = float(error) * walk + float(error_of(moved(first.poses, push)).sum()) / PARTS
        later_m2 = self._config.running_weight * (waiting + float(error)) + self._step_m2 * walk
        return Aim((float(x_m), float(y_m), yaw), later_m2 + float(self._later_m2[part]))


def _single(values: ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
