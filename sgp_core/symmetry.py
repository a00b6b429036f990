"""Transitions at other places: a box on a table does the same wherever it lies, and mirrored when pushed mirrored.

Honest as long as the table is the same everywhere, and the box as heavy on one side as on the other. What is made here
lies between the poses that were seen, never beyond them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.data import Transitions

ROWS_MOST = 20_000  # more places do not help, and large data hold them already
TRIES = 20


def spread(data: Transitions, copies: int, seed: int) -> Transitions:
    """Each transition again at other places and turns, a random half mirrored at either axis of the box.

    Poses are drawn evenly from the range of those in the data, and so that the pusher stays in the range of its own.

    Args:
        data: as recorded.
        copies: of each transition; fewer when there would be more than `ROWS_MOST` in all.
        seed: of places and mirrors.
    """
    copies = min(copies, ROWS_MOST // len(data))
    if copies < 1:
        return data
    random, layout = np.random.default_rng(seed), data.layout
    before, after = (
        np.array([layout.pose_of(markers) for markers in layout.markers(x)]) for x in (data.x, data.x_next)
    )
    pusher = data.x[:, -2:]
    low, high, pusher_low, pusher_high = before.min(0), before.max(0), pusher.min(0), pusher.max(0)
    parts = []
    for _ in range(copies):
        mirror = random.choice([-1.0, 1.0], size=(len(data), 2))
        place = random.uniform(low, high, (len(data), 3))
        for _ in range(TRIES):
            moved = _moved(before, place, mirror, pusher)
            out = ((moved < pusher_low) | (moved > pusher_high)).any(axis=1)
            if not out.any():
                break
            place[out] = random.uniform(low, high, (int(out.sum()), 3))
        # Where nothing was found, as when the box was always pushed at the same place, it stays.
        place[out], mirror[out] = before[out], 1.0
        parts.append(
            dataclasses.replace(
                data,
                x=_state(data, data.x, before, before, place, mirror),
                u=_turned(before, place, mirror, data.u),
                u_commanded=_turned(before, place, mirror, data.u_commanded),
                x_next=_state(data, data.x_next, before, after, place, mirror),
            )
        )

    def joined(name: str) -> ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    return dataclasses.replace(
        data,
        x=joined("x"),
        u=joined("u"),
        u_commanded=joined("u_commanded"),
        x_next=joined("x_next"),
        demonstration=joined("demonstration"),
    )


def _turned(
    before: Float[ndarray, "M 3"], place: Float[ndarray, "M 3"], mirror: Float[ndarray, "M 2"], v: Float[ndarray, "M 2"]
) -> Float[ndarray, "M 2"]:
    """Directions, from the old box's frame through the mirror into the new one's."""
    return _rotate(place[:, 2], _rotate(-before[:, 2], v) * mirror)


def _moved(
    before: Float[ndarray, "M 3"], place: Float[ndarray, "M 3"], mirror: Float[ndarray, "M 2"], p: Float[ndarray, "M 2"]
) -> Float[ndarray, "M 2"]:
    """Points, in the same way."""
    return place[:, :2] + _turned(before, place, mirror, p - before[:, :2])


def _state(
    data: Transitions,
    x: Float[ndarray, "M nx"],
    before: Float[ndarray, "M 3"],
    pose: Float[ndarray, "M 3"],
    place: Float[ndarray, "M 3"],
    mirror: Float[ndarray, "M 2"],
) -> Float[ndarray, "M nx"]:
    """States whose box has a pose, where they come to lie; what the markers were off by is mirrored with it."""
    centre = _moved(before, place, mirror, pose[:, :2])
    handed = mirror.prod(axis=1)
    yaw = place[:, 2] + handed * (pose[:, 2] - before[:, 2])
    markers = data.layout.markers(x)
    columns = []
    for k, at in enumerate(data.layout.places):
        off = _rotate(-pose[:, 2], markers[:, k] - pose[:, :2]) - at
        columns.append(centre + _rotate(yaw, at + off * mirror))
    return np.concatenate([*columns, _moved(before, place, mirror, x[:, -2:])], axis=1)


def _rotate(angle: Float[ndarray, "M"], v: Float[ndarray, "M 2"]) -> Float[ndarray, "M 2"]:
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1]], axis=1)
