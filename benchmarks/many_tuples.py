"""A large data set out of a small one: each copy moved and turned on the table as a whole, which physics does not mind.

python benchmarks/many_tuples.py out/model/demonstrations.npz 200000 out/many.npz
/usr/bin/time -v sgp train out/many.npz -o out/many
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sgp_core.data import Transitions

TURN_RAD, SHIFT_M, ABOUT_M = 0.2, 0.02, np.array([0.6, 0.0])


def many(data: Transitions, count: int, seed: int = 0) -> Transitions:
    random, parts = np.random.default_rng(seed), []
    for copy in range(-(-count // len(data))):
        angle, shift_m = random.uniform(-TURN_RAD, TURN_RAD), random.uniform(-SHIFT_M, SHIFT_M, 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        x, x_next = (
            ((v.reshape(-1, 2) - ABOUT_M) @ turn.T + ABOUT_M + shift_m).reshape(v.shape) for v in (data.x, data.x_next)
        )
        number = data.demonstration + copy * (data.demonstration.max() + 1)
        parts.append((x, data.u @ turn.T, data.u_commanded @ turn.T, x_next, number))
    x, u, u_commanded, x_next, demonstration = (np.concatenate(column)[:count] for column in zip(*parts, strict=True))
    arrays = {"x": x, "u": u, "u_commanded": u_commanded, "x_next": x_next, "demonstration": demonstration}
    made = {"layout": data.layout, "step_duration_s": data.step_duration_s, "provenance": {"copies_of": data.sha256}}
    return Transitions(**arrays, **made)


if __name__ == "__main__":
    many(Transitions.load(Path(sys.argv[1])), int(sys.argv[2])).save(Path(sys.argv[3]))
