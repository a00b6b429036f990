"""Ways round the box: they touch nothing, and lead where they should."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from analytic import LAYOUT
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sgp_core.layout import MarkerLayout, rotation
from sgp_core.share import share_path
from sgp_core.sim.rig import clearance
from sgp_core.way_round import PUSH_GAP_M, STEPS_MOST, WAY_GAP_M, WayRound
from sgp_core.workspace import Region

BOX = MarkerLayout.load(share_path("config", "layout.yaml"))
AROUND = WayRound(BOX, 5)
OPEN = Region((-1.0, 2.0, -1.5, 1.5), ())
LIMIT_M = 0.05


def walked(pose: tuple[float, float, float], start: np.ndarray, k: int, region: Region = OPEN) -> np.ndarray:
    """Where the pusher is before and after each step to place k."""
    ways = AROUND.ways(pose, start, AROUND.places, region)
    assert ways.reached[k]
    steps = AROUND.steps(pose, start, ways.stops_m[k], LIMIT_M, region)
    return np.vstack([start, start + steps.cumsum(axis=0)])


@settings(deadline=None, max_examples=60)
@given(
    yaw=st.floats(-3.1, 3.1),
    angle=st.floats(-3.1, 3.1),
    gap=st.floats(0.0, 0.1),
    k=st.integers(0, len(AROUND.places) - 1),
)
def test_every_place_is_reached_without_touching_the_box(yaw: float, angle: float, gap: float, k: int) -> None:
    pose, out = (0.6, 0.05, yaw), np.array([np.cos(angle), np.sin(angle)])
    distance = next(d for d in np.arange(0.05, 0.3, 0.0005) if clearance(BOX, pose, np.array(pose[:2]) + d * out) >= 0)
    start = np.array(pose[:2]) + (distance + gap) * out
    stops = walked(pose, start, k)
    np.testing.assert_allclose(stops[-1], pose[:2] + rotation(yaw) @ AROUND.places[k], atol=1e-9)
    assert np.abs(np.diff(stops, axis=0)).max() <= LIMIT_M + 1e-9
    assert len(stops) - 1 < STEPS_MOST
    shares = np.linspace(0.0, 1.0, 21)
    gaps = [[clearance(BOX, pose, a + (b - a) * share) for share in shares] for a, b in itertools.pairwise(stops)]
    assert np.min(gaps) > -1e-3  # one that begins at the rim leaves it; noise is less than a millimetre
    assert len(gaps) < 3 or np.min(gaps[2:]) > WAY_GAP_M - 2e-3


def test_a_place_in_front_is_reached_straight_and_one_behind_by_the_corners() -> None:
    pose, start = (0.6, 0.0, 0.0), np.array([0.45, 0.0])
    ways = AROUND.ways(pose, start, AROUND.places, OPEN)
    front = AROUND.places[:, 0] < -0.05
    assert ways.direct[front].all()
    behind = AROUND.places[:, 0] > 0.05
    assert not ways.direct[behind].any()
    assert ways.length_m[behind].min() > ways.length_m[front].max() + 0.1
    assert clearance(BOX, pose, pose[:2] + AROUND.places[0]) == pytest.approx(PUSH_GAP_M, abs=1e-9)


def test_a_place_outside_the_workspace_or_behind_a_keep_out_is_not_reached() -> None:
    pose, start = (0.6, 0.0, 0.0), np.array([0.45, 0.0])
    narrow = Region((0.3, 0.65, -0.3, 0.3), ())
    ways = AROUND.ways(pose, start, AROUND.places, narrow)
    assert not ways.reached[AROUND.places[:, 0] > 0.06].any()
    assert ways.reached[AROUND.places[:, 0] < -0.05].all()
    walled = Region((0.3, 0.95, -0.3, 0.3), (0.55, 0.65, -0.3, -0.12, 0.55, 0.65, 0.12, 0.3))
    ways = AROUND.ways(pose, start, AROUND.places, walled)
    assert not ways.reached[AROUND.places[:, 0] > 0.05].any()


def test_a_pusher_that_rests_on_the_border_has_its_ways() -> None:
    """Noise shows it a little outside every other time."""
    pose, region = (0.6, 0.0, 0.0), Region((0.45, 0.95, -0.3, 0.3), ())
    for outside_m, there in ((1e-9, True), (0.002, True), (0.02, False)):
        ways = AROUND.ways(pose, np.array([0.45 - outside_m, 0.0]), AROUND.places, region)
        assert ways.reached[AROUND.places[:, 0] < -0.05].all() == there


@given(per_side=st.integers(0, 7))
def test_places_stand_beside_every_side(per_side: int) -> None:
    around = WayRound(LAYOUT, per_side)
    assert around.places.shape == around.inwards.shape == (4 * per_side, 2)
    assume(per_side)
    np.testing.assert_allclose(around.gap_m(around.places), PUSH_GAP_M, atol=1e-9)
    assert (around.gap_m(around.places + 0.01 * around.inwards) < 0.0).all()


def test_lengths_from_a_grid_are_nearly_the_same() -> None:
    points = np.random.default_rng(0).uniform(-0.35, 0.35, (2000, 2))
    points = points[AROUND.gap_m(points) >= 0.0]
    off_m = np.abs(AROUND.about(points) - AROUND.lengths(points))
    assert np.percentile(off_m, 95) < 0.002
    assert AROUND.about(points[0]).shape == AROUND.places.shape[:1]


def test_lengths_are_those_of_the_ways() -> None:
    """For a box that lies along the axes, where a way is as long as its longer parts at most."""
    random, pose = np.random.default_rng(0), (0.6, 0.05, 0.0)
    for _ in range(20):
        out = random.normal(0.0, 1.0, 2)
        out /= np.linalg.norm(out)
        distance = next(d for d in np.arange(0.05, 0.3, 0.0005) if clearance(BOX, pose, out * d + pose[:2]) >= 0.0)
        point = out * (distance + random.uniform(0.0, 0.05))
        ways = AROUND.ways(pose, point + pose[:2], AROUND.places, OPEN)
        found = AROUND.lengths(point[None])[0]
        assert ways.reached.all()
        corners = [np.vstack([point + pose[:2], stops]) for stops in ways.stops_m]
        whole = [np.linalg.norm(np.diff(way, axis=0), axis=1).sum() for way in corners]
        # By the same corners, or a little more cleverly straight at first.
        assert (found >= ways.length_m - 1e-9).all()
        np.testing.assert_allclose(found, whole, atol=0.03)
