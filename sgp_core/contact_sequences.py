"""Which side of the box to push next, and what is to come after that: a search over pairs of straight pushes.

A descent improves the pushes from one place. It cannot see that from another place, after a walk, the goal is two
pushes away. Straight pushes from every place are therefore predicted once with the learned dynamics. What one of them
does to the box is a shift and a turn in the box's own frame, the same wherever the box is (a motion primitive of a body
in the plane). A second push after a first is then two poses multiplied, and a million pairs take some thirty
milliseconds.

What the search finds is where the box is to be after the first push, so that the second brings it to the goal. Only the
first is ever carried out, and it is improved by the descent before; then all is searched anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from sgp_core.box_poses import PoseError, moved, poses_of, seen_from, turned
from sgp_core.config import PlannerConfig
from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout
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

    place: int  # where it begins; -1: where the pusher is
    u: Float[ndarray, "T 2"]  # [m; table], at rest after its end
    aim: Pose | None  # where the box is to be after it, for another push to bring it to the goal; None: at the goal
    later_m2: float  # what that costs


class Pushes(NamedTuple):
    """Straight pushes, S of them, after each part of a step."""

    poses: Float[ndarray, "S P 3"]  # of the box [m, rad; table, or box before the push]
    walks: Float[ndarray, "S P K"]  # steps from there to every place


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

    def best(self, box: Pose, pusher_m: Float[ndarray, "2"], goal: Pose, ways: Ways, count: int) -> list[Segment]:
        """The first pushes of the best pairs, at most one of a place and a direction.

        Args:
            box: pose of the box [m, rad; table].
            pusher_m: centre of the pusher [m; table].
            goal: pose that the box should get [m, rad; table].
            ways: from the pusher to every place.
            count: how many at most.
        """
        weight, error_of = self._config.running_weight, PoseError(self._layout, self._config.turn_weight, goal)
        reached = np.flatnonzero(np.repeat(ways.reached, len(ANGLES)))
        here = turned(HERE, np.array([1.0, 0.0]))
        from_here = self._pushed(np.asarray(box), np.tile(pusher_m, (len(here), 1)), here)
        poses = np.concatenate([moved(np.asarray(box), self._pushes.poses[reached]), from_here.poses])
        later_walks = np.concatenate([self._pushes.walks[reached], from_here.walks])
        walks = np.concatenate([ways.length_m[reached // len(ANGLES)], np.zeros(len(here))]) / self._config.step_limit_m
        directions = np.concatenate([turned(np.asarray(box[2]), self._directions[reached]), here])
        places = np.concatenate([reached // len(ANGLES), np.full(len(here), -1)])
        # What each first push costs; one that ends within a step waits for the step's end.
        error, start = error_of(poses), float(error_of(np.asarray(box)))
        waited = error.cumsum(axis=1) / PARTS + (np.ceil(self._parts) - self._parts) * error
        before = weight * (start * walks[:, None] + waited) + self._step_m2 * walks[:, None] + self._push_m2
        after, which = self._followed(poses, later_walks, error, error_of)
        alone, both = before + ROUGH * error, before + after
        idle = np.abs(poses[..., :2] - box[:2]).max(axis=-1) + np.abs(poses[..., 2] - box[2]) < MOVED_M
        idle[: len(reached)] = False
        whole = np.where(idle, np.inf, np.minimum(alone, both))
        part_of = whole.argmin(axis=1)
        rows = np.argsort(whole[np.arange(len(whole)), part_of], kind="stable")[:count]
        found = []
        for row in rows:
            part = int(part_of[row])
            if not np.isfinite(whole[row, part]):
                break
            parts = np.zeros((len(self._parts), 2))
            parts[: part + 1] = directions[row] * self._config.step_limit_m / PARTS
            u = parts.reshape(-1, PARTS, 2).sum(axis=1)
            if both[row, part] < alone[row, part]:
                second = int(which[row, part])
                aim, later_m2 = self._second(poses[row, part], later_walks[row, part], second, error_of, goal)
                found.append(Segment(int(places[row]), u, aim, later_m2 + weight * float(error[row, part])))
            else:
                found.append(Segment(int(places[row]), u, None, 0.0))
        return found

    def after(self, box: Pose, pusher_m: Float[ndarray, "2"], goal: Pose) -> tuple[Pose | None, float]:
        """What it is best to aim at for a box that is about to be at a pose, and what comes then costs [m^2].

        Args:
            box: the pose [m, rad; table].
            pusher_m: where the pusher will be [m; table].
            goal: pose that the box should get [m, rad; table].
        """
        error_of = PoseError(self._layout, self._config.turn_weight, goal)
        pose = np.asarray(box)
        error, walks = error_of(pose), self._walks_from(seen_from(pose, pusher_m)[None])[0]
        cost, which = self._followed(pose[None, None], walks[None, None], error[None, None], error_of)
        if cost[0, 0] >= ROUGH * error:
            return None, 0.0
        aim, later_m2 = self._second(pose, walks, int(which[0, 0]), error_of, goal)
        return aim, later_m2 + self._config.running_weight * float(error)

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

    def _followed(
        self,
        poses: Float[ndarray, "S P 3"],
        walks: Float[ndarray, "S P K"],
        error: Float[ndarray, "S P"],
        error_of: PoseError,
    ) -> tuple[Float[ndarray, "S P"], ndarray]:
        """Least cost of a second push after each first one [m^2], and which push that is."""
        weight, (shift, yaw) = self._config.running_weight, error_of.off(poses.reshape(-1, 3))
        second = self._pushes.poses.reshape(-1, 3)
        further = _single(second[:, :2] + turned(second[:, 2], error_of.middle) - error_of.middle)
        # Both pushes' shifts and turns: sums, and the cosine of a sum, over all pairs at once.
        c, s = _single(np.cos(poses[..., 2]).reshape(-1, 1)), _single(np.sin(poses[..., 2]).reshape(-1, 1))
        middle = _single(shift)
        x = (c * further[:, 0]).sub_(s * further[:, 1]).add_(middle[:, :1])
        y = (s * further[:, 0]).add_(c * further[:, 1]).add_(middle[:, 1:])
        turn = _single(np.cos(yaw)[:, None]) * _single(np.cos(second[:, 2]))
        turn.sub_(_single(np.sin(yaw)[:, None]) * _single(np.sin(second[:, 2])))
        pairs = (
            x.square_().add_(y.square_()).mul_(error_of.count).add_(turn.neg_().add_(1.0), alpha=error_of.turning_m2)
        )
        pairs = pairs.view(len(yaw), -1, len(self._parts))  # (S P, K angles, parts)
        cost = pairs.cumsum(-1).mul_(weight / PARTS).add_(pairs, alpha=ROUGH).add_(_single(self._later_m2))
        waiting = weight * error.reshape(-1, 1) + self._step_m2
        cost.add_(_single(walks.reshape(len(yaw), -1) * waiting).repeat_interleave(len(ANGLES), dim=1)[..., None])
        least, which = cost.flatten(1).min(dim=1)
        return least.double().numpy().reshape(error.shape), which.numpy().reshape(error.shape)

    def _second(
        self, pose: Float[ndarray, "3"], walks: Float[ndarray, "K"], which: int, error_of: PoseError, goal: Pose
    ) -> tuple[Pose, float]:
        """From which pose a second push brings the box to the goal, and what it costs from this one on [m^2]."""
        row, part = divmod(which, len(self._parts))
        push, walk = self._pushes.poses[row, : part + 1], float(walks[row // len(ANGLES)])
        yaw = goal[2] - float(push[part, 2])
        x_m, y_m = np.asarray(goal[:2]) - turned(np.asarray(yaw), push[part, :2])
        waiting = float(error_of(pose)) * walk + float(error_of(moved(pose, push)).sum()) / PARTS
        later_m2 = self._config.running_weight * waiting + self._step_m2 * walk + float(self._later_m2[part])
        return (float(x_m), float(y_m), yaw), later_m2


def _single(values: ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).float()
