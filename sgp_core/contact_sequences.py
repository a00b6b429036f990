"""Which side of the box to push next, and what is to come after that: a search over sequences of pushes.

A descent improves the pushes from one place; it cannot see that from another place, after a walk, the goal is two pushes
away. Straight pushes from every place are therefore predicted once with the learned dynamics. What one of them does to
the box is a shift and a turn in the box's own frame, the same wherever the box is (motion primitives of a body in the
plane), so that a second push after a first is two poses multiplied, and all pairs can be looked at.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.config import PlannerConfig
from sgp_core.layout import MarkerLayout, rotation
from sgp_core.way_round import Pose, WayRound, Ways

ANGLES = np.radians([-60.0, -40.0, -20.0, 0.0, 20.0, 40.0, 60.0])  # of pushes, from straight into the box
PARTS = 2  # a push may end after a part of a step, too
MOVED_M = 0.002  # a push that moves the box less is none


class Segment(NamedTuple):
    """A straight push and what is planned after it."""

    place: int  # where it begins; -1: where the pusher is
    u: Float[ndarray, "T 2"]  # [m; table], at rest after its end
    aim: Pose | None  # where the box is to be after it, for another push to bring it to the goal; None: at the goal
    later_m2: float  # running cost of what follows
    cost_m2: float  # of everything, as far as straight pushes can tell


class ContactSequences:
    """All straight pushes of one kind of box, and the search among pairs of them.

    Args:
        step: `step` of dynamics, see `adjoint.py`.
        layout: of the box.
        config: weights of the task cost, step limit, horizon.
        around: places where a push may begin.
        at_m: where on the table the pushes are tried.
    """

    def __init__(
        self, step: Any, layout: MarkerLayout, config: PlannerConfig, around: WayRound, at_m: Float[ndarray, "2"]
    ) -> None:
        self._step, self._layout, self._config, self._around = step, layout, config, around
        self._limit = config.step_limit_m / PARTS
        self._step_m2 = layout.count * config.step_cost_m**2
        self._effort_m2 = config.action_weight * config.step_limit_m**2 * np.arange(1, PARTS * config.horizon + 1) / PARTS
        # Of a push that comes later: its steps, its effort, and that it will not be exact either.
        self._later_m2 = self._effort_m2 + self._step_m2 * np.ceil(np.arange(1, PARTS * config.horizon + 1) / PARTS)
        self._later_m2 = self._later_m2 + layout.count * EXACT_M**2
        inwards = np.repeat(around.inwards, len(ANGLES), axis=0)
        turn = np.tile(ANGLES, len(around.places))
        c, s = np.cos(turn), np.sin(turn)
        self._directions = np.stack([c * inwards[:, 0] - s * inwards[:, 1], s * inwards[:, 0] + c * inwards[:, 1]], 1)
        places = np.repeat(around.places, len(ANGLES), axis=0)
        poses, pushers = self._pushed((float(at_m[0]), float(at_m[1]), 0.0), places + at_m, self._directions)
        # (K * angles, parts) of: motion of the box and end of the pusher, both in the box's frames before and after.
        self._shift, self._turn = poses[..., :2] - at_m, poses[..., 2]
        self._walks = self._walks_from(_seen_from(poses, pushers))  # from there to each place (K * angles, parts, K)
        self._mean = layout.places.mean(axis=0)
        self._spread_m2 = float(((layout.places - self._mean) ** 2).sum())

    def _pushed(
        self, box: Pose, pusher_m: Float[ndarray, "S 2"], directions: Float[ndarray, "S 2"]
    ) -> tuple[Float[ndarray, "S P 3"], Float[ndarray, "S P 2"]]:
        """Poses of the box and places of the pusher along straight pushes [m, rad; table]."""
        x = torch.from_numpy(
            np.stack([self._layout.pack(self._layout.markers_at(*box), pusher) for pusher in pusher_m])
        ).float()
        u = torch.from_numpy(directions * self._limit).float()
        states = []
        for _ in range(PARTS * self._config.horizon):
            x = self._step(x, u)[0]
            states.append(x)
        found = torch.stack(states, dim=1).double().numpy()
        markers = self._layout.markers(found)
        return _poses(self._layout, markers), found[..., -2:]

    def best(self, box: Pose, pusher_m: Float[ndarray, "2"], goal: Pose, ways: Ways, count: int) -> list[Segment]:
        """The first pushes of the best sequences, at most one of a place and an angle.

        Args:
            box: pose of the box [m, rad; table].
            pusher_m: centre of the pusher [m; table].
            goal: pose that the box should get [m, rad; table].
            ways: from the pusher to every place.
            count: how many at most.
        """
        config, angles = self._config, len(ANGLES)
        w = config.running_weight
        # First pushes: from places that can be reached, and from where the pusher is.
        reached = np.flatnonzero(np.repeat(ways.reached, angles))
        turned = rotation(box[2])
        here = np.stack([np.cos(HERE), np.sin(HERE)], axis=1)
        poses_here, pushers_here = self._pushed(box, np.tile(pusher_m, (len(here), 1)), here)
        first = np.concatenate(
            [
                np.concatenate(
                    [
                        self._shift[reached] @ turned.T + np.asarray(box[:2]),
                        (self._turn[reached] + box[2])[..., None],
                    ],
                    axis=-1,
                ),
                poses_here,
            ]
        )
        moved = np.abs(poses_here[..., :2] - np.asarray(box[:2])).max(axis=-1) > MOVED_M
        later_walks = np.concatenate([self._walks[reached], self._walks_from(_seen_from(poses_here, pushers_here))])
        walks = np.concatenate([ways.length_m[reached // angles] / config.step_limit_m, np.zeros(len(here))])
        error = self._error_m2(torch.from_numpy(first[..., :2]), torch.from_numpy(first[..., 2]), goal).numpy()
        start = float(self._error_m2(torch.tensor(box[:2]), torch.tensor(box[2]), goal))
        done = np.arange(1, error.shape[1] + 1) / PARTS
        before = w * (start * walks[:, None] + np.cumsum(error, axis=1) / PARTS + (np.ceil(done) - done) * error)  # (F, P)
        before += self._effort_m2 + self._step_m2 * (walks[:, None] + np.ceil(done))
        # What follows each of them.
        flat = first.reshape(-1, 3)
        later_walks = later_walks.reshape(len(flat), -1)
        after, which = self._followed(flat, later_walks, error.reshape(-1), goal)
        rough = ROUGH * error.reshape(-1)
        alone = before.reshape(-1) + rough
        both = before.reshape(-1) + after
        whole = np.minimum(alone, both)
        whole[len(whole) - moved.size :][~moved.reshape(-1)] = np.inf
        order = np.argsort(whole, kind="stable")
        found: list[Segment] = []
        seen: set[int] = set()
        parts = first.shape[1]
        for index in order:
            row, part = divmod(int(index), parts)
            if row in seen:
                continue
            seen.add(row)
            far = both[index] < alone[index]
            place = int(reached[row] // angles) if row < len(reached) else -1
            direction = turned @ self._directions[reached[row]] if row < len(reached) else here[row - len(reached)]
            aim, later = None, 0.0
            if far:
                aim, later = self._aim(flat[index], later_walks[index], error.reshape(-1)[index], int(which[index]), goal)
                # The descent counts the rest of its horizon after the push as waiting.
                later -= w * error.reshape(-1)[index] * (config.horizon - 1 - np.ceil((part + 1) / PARTS))
            u = np.zeros((PARTS * config.horizon, 2))
            u[: part + 1] = direction * self._limit
            found.append(
                Segment(place, u.reshape(config.horizon, PARTS, 2).sum(axis=1), aim, later, float(whole[index]))
            )
            if len(found) == count:
                break
        return found

    def after(self, box: Pose, pusher_m: Float[ndarray, "2"], goal: Pose) -> tuple[Pose | None, float]:
        """What is best to aim at now, to come to the goal with one more push, and the running cost of that push."""
        error = float(self._error_m2(torch.tensor(box[:2]), torch.tensor(box[2]), goal))
        pose, walks = np.array(box)[None], self._walks_from(_seen_from(np.array(box), pusher_m)[None])
        cost, which = self._followed(pose, walks, np.array([error]), goal)
        if cost[0] >= ROUGH * error:
            return None, 0.0
        aim, later = self._aim(pose[0], walks[0], error, int(which[0]), goal)
        return aim, later + self._config.running_weight * error

    def _walks_from(self, points_m: Float[ndarray, "... 2"]) -> Float[ndarray, "... K"]:
        """Steps from points beside the box [m; box] to every place."""
        lengths_m = self._around.lengths(points_m.reshape(-1, 2))
        walks: ndarray = np.ceil(ALONG_AN_AXIS * lengths_m / self._config.step_limit_m)
        return walks.reshape(*points_m.shape[:-1], -1)

    def _error_m2(self, centre: Tensor, yaw: Tensor, goal: Pose) -> Tensor:
        """Weighted squared marker error of poses, as the task cost has it [m^2]."""
        mean = torch.from_numpy(np.asarray(goal[:2]) + rotation(goal[2]) @ self._mean)
        c, s = torch.cos(yaw), torch.sin(yaw)
        x = centre[..., 0] + c * self._mean[0] - s * self._mean[1] - mean[0]
        y = centre[..., 1] + s * self._mean[0] + c * self._mean[1] - mean[1]
        turned = self._config.turn_weight * self._spread_m2 * 2.0 * (1.0 - torch.cos(yaw - goal[2]))
        return self._layout.count * (x * x + y * y) + turned

    def _followed(
        self, poses: Float[ndarray, "S 3"], walks: Float[ndarray, "S K"], error: Float[ndarray, "S"], goal: Pose
    ) -> tuple[Float[ndarray, "S"], ndarray]:
        """Least cost of a second push after each first one, and which push that is."""
        w, single = self._config.running_weight, torch.float32
        of_place = torch.from_numpy(walks)  # (S, K)
        yaw, flat_turn = torch.from_numpy(poses[:, 2]), torch.from_numpy(self._turn.reshape(-1))
        # The middle of the markers after both pushes.
        off = self._shift.reshape(-1, 2) + _turned(self._turn.reshape(-1), self._mean)
        rest = torch.from_numpy(off).to(single)
        to = np.asarray(goal[:2]) + rotation(goal[2]) @ self._mean
        at = torch.from_numpy(poses[:, :2] - to).to(single)
        c, s = torch.cos(yaw).to(single)[:, None], torch.sin(yaw).to(single)[:, None]
        x = at[:, :1] + c * rest[:, 0] - s * rest[:, 1]
        y = at[:, 1:] + s * rest[:, 0] + c * rest[:, 1]
        dc, ds = torch.cos(flat_turn).to(single), torch.sin(flat_turn).to(single)
        gc, gs = torch.cos(yaw - goal[2]).to(single)[:, None], torch.sin(yaw - goal[2]).to(single)[:, None]
        turned = 2.0 * self._config.turn_weight * self._spread_m2
        e = x.square_().add_(y.square_()).mul_(self._layout.count).add_(turned).sub_(turned * (gc * dc - gs * ds))
        e = e.view(len(poses), len(self._directions), -1)  # (S, K * angles, P)
        cost = e.cumsum(-1).mul_(w / PARTS).add_(e, alpha=ROUGH).add_(torch.from_numpy(self._later_m2).to(single))
        walking = (of_place * torch.from_numpy(w * error + self._step_m2)[:, None]).to(single).repeat_interleave(len(ANGLES), dim=1)
        least, which = cost.add_(walking[..., None]).flatten(1).min(dim=1)
        return least.double().numpy(), which.numpy()

    def _aim(
        self, pose: Float[ndarray, "3"], walks: Float[ndarray, "K"], error: float, which: int, goal: Pose
    ) -> tuple[Pose, float]:
        """From where push `which` brings the box exactly to the goal, and the running cost from there on."""
        row, part = divmod(which, self._shift.shape[1])
        shift, turn = self._shift[row, part], float(self._turn[row, part])
        yaw = goal[2] - turn
        centre = np.asarray(goal[:2]) - rotation(yaw) @ shift
        walk = float(walks[row // len(ANGLES)])
        on_way = torch.from_numpy(self._shift[row, : part + 1] @ rotation(pose[2]).T + pose[:2])
        passed = self._error_m2(on_way, torch.from_numpy(self._turn[row, : part + 1] + pose[2]), goal)
        later = self._config.running_weight * (error * walk + float(passed.sum()) / PARTS)
        later += float(self._later_m2[part]) + self._step_m2 * walk
        return (float(centre[0]), float(centre[1]), yaw), later


ALONG_AN_AXIS = 0.9  # the longer part of a way along the table's axes, which steps are limited by, in the mean
import os
EXACT_M = float(os.environ.get("EXACT","0.003"))  # no push that is still to be planned ends closer to the goal
HERE = np.linspace(-np.pi, np.pi, 16, endpoint=False)
ROUGH = float(os.environ.get("ROUGH","0.5"))


def _turned(yaw: ndarray, v: ndarray) -> ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], axis=-1)


def _seen_from(poses: Float[ndarray, "... 3"], points_m: Float[ndarray, "... 2"]) -> Float[ndarray, "... 2"]:
    return _turned(-poses[..., 2], points_m - poses[..., :2])


def _poses(layout: MarkerLayout, markers: Float[ndarray, "... N 2"]) -> Float[ndarray, "... 3"]:
    """As `MarkerLayout.pose_of`, of many."""
    places = layout.places
    mean, place = markers.mean(axis=-2), places.mean(axis=0)
    a, b = places - place, markers - mean[..., None, :]
    yaw = np.arctan2((a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(-1), (a * b).sum((-2, -1)))
    centre = mean - _turned(yaw, np.broadcast_to(place, mean.shape))
    return np.concatenate([centre, yaw[..., None]], axis=-1)
