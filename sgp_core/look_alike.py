"""How nearly a marker layout looks like itself after a turn: then swapped labels pass for a turned box."""

from __future__ import annotations

import numpy as np

from sgp_core.layout import MarkerLayout, rotation, wrap_angle

LEAST_TURN_RAD = 0.2


def look_alike(layout: MarkerLayout) -> tuple[float, float]:
    """How nearly a turned layout covers itself.

    Returns:
        The turn [rad] and the largest distance of a marker from another's place [m] after it and the best shift. The
        larger the distance, the safer swapped labels are told from a turned box.
    """
    places, count = layout.places, layout.count
    best = (0.0, float("inf"))
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    for i, j in pairs:
        for k, m in pairs:
            if (i, j) == (k, m):
                continue
            a, b = places[j] - places[i], places[m] - places[k]
            turn = float(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
            moved = (places - (places[i] + places[j]) / 2) @ rotation(turn).T + (places[k] + places[m]) / 2
            apart = np.linalg.norm(moved[:, None] - places[None], axis=-1)
            # The identity with a shift is no turn: every marker would have to take another's place.
            if (apart.argmin(axis=1) == np.arange(count)).any() and abs(wrap_angle(turn)) < LEAST_TURN_RAD:
                continue
            if len(set(apart.argmin(axis=1))) == count and (worst := float(apart.min(axis=1).max())) < best[1]:
                best = (turn, worst)
    return best
