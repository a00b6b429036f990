"""One planar shape fitted to many frames of markers, some of them hidden (generalised Procrustes)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def shape_of(usual: Float[ndarray, "N N"], positions: Float[ndarray, "F N 2"]) -> Float[ndarray, "N 2"]:
    """Places with given distances (multidimensional scaling), and the hand of the frame that shows most markers."""
    count = len(usual)
    centring = np.eye(count) - 1.0 / count
    values, vectors = np.linalg.eigh(-0.5 * centring @ usual**2 @ centring)
    shape = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.0))
    frame = positions[int(np.isfinite(positions[..., 0]).sum(axis=1).argmax())][None]
    mirrored = shape * np.array([-1.0, 1.0])
    return min((shape, mirrored), key=lambda s: float(np.nansum((placed_at(s, poses_of(s, frame)) - frame) ** 2)))


def poses_of(shape: Float[ndarray, "N 2"], positions: Float[ndarray, "F N 2"]) -> Float[ndarray, "F 3"]:
    """Best x, y, yaw of a shape in each frame, from the markers seen in it."""
    seen = np.isfinite(positions[..., :1])
    number = seen.sum(axis=1)
    a_mean = (shape * seen).sum(axis=1) / number
    b_mean = np.where(seen, positions, 0.0).sum(axis=1) / number
    a, b = (shape - a_mean[:, None]) * seen, np.where(seen, positions - b_mean[:, None], 0.0)
    yaw = np.arctan2((a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(axis=1), (a * b).sum(axis=(1, 2)))
    c, s = np.cos(yaw), np.sin(yaw)
    shift = b_mean - np.stack([c * a_mean[:, 0] - s * a_mean[:, 1], s * a_mean[:, 0] + c * a_mean[:, 1]], axis=-1)
    return np.column_stack([shift, yaw])


def placed_at(shape: Float[ndarray, "N 2"], poses: Float[ndarray, "F 3"]) -> Float[ndarray, "F N 2"]:
    """The shape at each pose."""
    c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    turn = np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=1)
    return shape @ turn.transpose(0, 2, 1) + poses[:, None, :2]


def refine(
    shape: Float[ndarray, "N 2"], positions: Float[ndarray, "F N 2"]
) -> tuple[Float[ndarray, "N 2"], Float[ndarray, "F 3"]]:
    """Generalised Procrustes: the mean of all frames brought onto the shape is the next shape."""
    for _ in range(20):
        poses = poses_of(shape, positions)
        c, s = np.cos(poses[:, 2]), np.sin(poses[:, 2])
        back = np.stack([np.stack([c, -s], axis=-1), np.stack([s, c], axis=-1)], axis=1)
        better = np.nanmean((positions - poses[:, None, :2]) @ back, axis=0)
        change, shape = float(np.abs(better - shape).max()), better
        if change < 1e-7:
            break
    return shape, poses_of(shape, positions)
