"""Transitions at other places are transitions that the rig would give there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sgp_core.config import SimConfig
from sgp_core.data import Transitions
from sgp_core.layout import MarkerLayout, wrap_angle
from sgp_core.share import share_path
from sgp_core.sim.collect import CollectConfig, collect
from sgp_core.sim.rig import Rig
from sgp_core.symmetry import ROWS_MOST, spread

BOX = MarkerLayout.load(share_path("config", "layout.yaml"))
EXACT = SimConfig(marker_noise_m=0.0)


@pytest.fixture(scope="module")
def data() -> Transitions:
    return collect(BOX, CollectConfig(demonstrations=16, play=1.0, seed=3), EXACT)


def test_the_rig_does_the_same_there(data: Transitions) -> None:
    """Each is carried out once more in the physics; where a contact is about to slip, a trifle decides."""
    first = np.flatnonzero(np.diff(data.demonstration, prepend=-1))  # what went before leaves no trace in these
    off, moved = [], 0
    alone = spread(data.select(first), 3, 1)
    for x, u, x_next in zip(alone.x, alone.u_commanded, alone.x_next, strict=True):
        rig = Rig(BOX, EXACT, BOX.pose_of(BOX.markers(x)), (float(x[-2]), float(x[-1])))
        rig.advance(0.1)
        rig.move(rig.pusher(), u, data.step_duration_s)
        off.append(float(np.abs(BOX.pack(rig.markers(), rig.pusher()) - x_next).max()))
        moved += np.abs((x_next - x)[:-2]).max() > 0.002
    assert moved >= 12
    assert np.median(off) < 1e-6
    assert np.quantile(off, 0.8) < 1e-3
    assert max(off) < 0.01


def test_places_lie_between_those_of_the_data(data: Transitions) -> None:
    more = spread(data, 5, 2)
    assert len(more) == 5 * len(data)
    before, after = (np.array([BOX.pose_of(BOX.markers(x)) for x in some.x]) for some in (data, more))
    assert (after >= before.min(axis=0) - 1e-9).all()
    assert (after <= before.max(axis=0) + 1e-9).all()
    assert after.std(axis=0).min() > 0.5 * before.std(axis=0).min()
    assert (more.x[:, -2:] >= data.x[:, -2:].min(axis=0)).all()
    assert (more.x[:, -2:] <= data.x[:, -2:].max(axis=0)).all()
    np.testing.assert_array_equal(more.demonstration, np.tile(data.demonstration, 5))


def test_noise_stays_as_large(data: Transitions) -> None:
    noisy = dataclasses.replace(data, x=data.x + np.random.default_rng(0).normal(0.0, 1e-3, data.x.shape))

    def off(some: Transitions) -> float:
        poses = [BOX.pose_of(BOX.markers(x)) for x in some.x]
        return float(np.std([BOX.markers(x) - BOX.markers_at(*p) for x, p in zip(some.x, poses, strict=True)]))

    assert off(spread(noisy, 4, 0)) == pytest.approx(off(noisy), rel=0.1)


def test_it_is_the_same_for_the_same_seed_and_turns_both_ways(data: Transitions) -> None:
    one, same, other = (spread(data, 2, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.x, same.x)
    assert not np.array_equal(one.x, other.x)

    def turns(some: Transitions) -> np.ndarray:
        poses = [[BOX.pose_of(BOX.markers(x))[2] for x in rows] for rows in (some.x, some.x_next)]
        return np.array([wrap_angle(b - a) for a, b in zip(*poses, strict=True)])

    was, is_now = turns(data), turns(one)[: len(data)]
    np.testing.assert_allclose(np.abs(is_now), np.abs(was), atol=1e-6)
    large = np.abs(was) > 0.01
    assert 0.2 < (np.sign(is_now[large]) == np.sign(was[large])).mean() < 0.8


def test_large_data_stay_as_they_are(data: Transitions) -> None:
    assert spread(data, 0, 0) is data
    rows = np.arange(ROWS_MOST // 2 + 1) % len(data)
    assert len(spread(data.select(rows), 8, 0)) == len(rows)
