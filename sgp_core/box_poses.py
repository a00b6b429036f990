"""Poses of a box in the plane, many at once: (..., 3) of x [m], y [m], yaw [rad]."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout


def turned(yaw: Float[ndarray, "..."], v: Float[ndarray, "... 2"]) -> Float[ndarray, "... 2"]:
    """Vectors turned by angles [rad]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.stack([c * v[..., 0] - s * v[..., 1], s * v[..., 0] + c * v[..., 1]], axis=-1)


def moved(poses: Float[ndarray, "... 3"], motions: Float[ndarray, "... 3"]) -> Float[ndarray, "... 3"]:
    """Poses after motions, each seen from the box before it."""
    centre = poses[..., :2] + turned(poses[..., 2], motions[..., :2])
    return np.concatenate([centre, (poses[..., 2] + motions[..., 2])[..., None]], axis=-1)


def seen_from(poses: Float[ndarray, "... 3"], points_m: Float[ndarray, "... 2"]) -> Float[ndarray, "... 2"]:
    """Points [m; table] in the frames of boxes."""
    return turned(-poses[..., 2], points_m - poses[..., :2])


def poses_of(layout: MarkerLayout, markers: Float[ndarray, "... N 2"]) -> Float[ndarray, "... 3"]:
    """Least-squares poses, as `MarkerLayout.pose_of`."""
    places = layout.places
    mean, place = markers.mean(axis=-2), places.mean(axis=0)
    a, b = places - place, markers - mean[..., None, :]
    yaw = np.arctan2((a[:, 0] * b[..., 1] - a[:, 1] * b[..., 0]).sum(-1), (a * b).sum((-2, -1)))
    centre = mean - turned(yaw, np.broadcast_to(place, mean.shape))
    return np.concatenate([centre, yaw[..., None]], axis=-1)


class PoseError:
    """The squared marker error of poses, as the task cost has it: turns weigh more than shifts.

    Args:
        layout: of the markers.
        turn_weight: by how much.
        goal: pose that the box should get [m, rad; table].

    Attributes:
        middle: of the markers [m; box].
        count: of the markers.
        turning_m2: what a turn by 180 degrees costs, times a half.
    """

    def __init__(self, layout: MarkerLayout, turn_weight: float, goal: Pose) -> None:
        self.middle, self.count = layout.places.mean(axis=0), layout.count
        self.turning_m2 = 2.0 * turn_weight * float(((layout.places - self.middle) ** 2).sum())
        self._yaw = goal[2]
        self._wanted = np.asarray(goal[:2]) + turned(np.asarray(goal[2]), self.middle)

    def off(self, poses: Float[ndarray, "... 3"]) -> tuple[Float[ndarray, "... 2"], Float[ndarray, "..."]]:
        """How far the middle of the markers is from where it should be [m; table], and the yaw likewise [rad]."""
        return poses[..., :2] + turned(poses[..., 2], self.middle) - self._wanted, poses[..., 2] - self._yaw

    def __call__(self, poses: Float[ndarray, "... 3"]) -> Float[ndarray, "..."]:
        """The error [m^2]."""
        shift, turn = self.off(poses)
        found: ndarray = self.count * (shift**2).sum(axis=-1) + self.turning_m2 * (1.0 - np.cos(turn))
        return found

    # The error of a pose after a motion, seen from the box before it, is a sum of products of what is known of each:
    # |m + R f|^2 = |m|^2 + |f|^2 + 2 m R f, and the cosine of a sum of angles likewise.

    def of_poses(self, poses: Float[ndarray, "... 3"]) -> Float[ndarray, "... 6"]:
        """The poses' side of it."""
        (shift, turn), c, s = self.off(poses), np.cos(poses[..., 2]), np.sin(poses[..., 2])
        m_x, m_y = shift[..., 0], shift[..., 1]
        return np.stack(
            [
                self.count * (m_x**2 + m_y**2) + self.turning_m2,
                np.ones_like(turn),
                2.0 * self.count * (m_x * c + m_y * s),
                2.0 * self.count * (m_y * c - m_x * s),
                -self.turning_m2 * np.cos(turn),
                self.turning_m2 * np.sin(turn),
            ],
            axis=-1,
        )

    def of_motions(self, motions: Float[ndarray, "... 3"]) -> Float[ndarray, "... 6"]:
        """The motions' side of it, the same for all goals."""
        f = motions[..., :2] + turned(motions[..., 2], self.middle) - self.middle
        one, turn = np.ones_like(f[..., 0]), motions[..., 2]
        return np.stack(
            [one, self.count * (f**2).sum(axis=-1), f[..., 0], f[..., 1], np.cos(turn), np.sin(turn)], axis=-1
        )
