"""The region the pusher may be in: known answers, and no way out of it however the numbers lie."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.errors import InputError
from sgp_core.workspace import Region, check_region

NONE = (0.0, 0.0, 0.0, 0.0)
RECTANGLE = (0.3, 0.95, -0.35, 0.35)
TRIANGLE = (0.0, 0.0, 1.0, 0.0, 0.2, 0.3)
HOLES = (0.4, 0.5, 0.0, 0.1, 0.2, 0.25, 0.1, 0.2)


def test_rectangle() -> None:
    region = Region(RECTANGLE, NONE)
    assert region.outside_by(np.array([0.2, 0.0])) == pytest.approx(0.1)
    assert region.outside_by(np.array([0.6, 0.0])) == pytest.approx(-0.3)
    assert region.clamp(np.array([2.0, -2.0])).tolist() == [0.95, -0.35]
    assert region.kept_out_by(np.array([0.6, 0.0])) == -np.inf


@pytest.mark.parametrize("corners", [TRIANGLE, (0.2, 0.3, 1.0, 0.0, 0.0, 0.0)])
def test_polygon_in_either_order(corners: tuple[float, ...]) -> None:
    region = Region(corners, NONE)
    assert region.outside_by(np.array([0.5, -0.05])) == pytest.approx(0.05)
    assert region.outside_by(np.array([0.4, 0.1])) < 0.0
    np.testing.assert_allclose(region.clamp(np.array([0.5, -0.05])), [0.5, 0.0])


def test_a_way_stops_in_front_of_a_keep_out_and_passes_beside_it() -> None:
    region = Region(RECTANGLE, (0.6, 0.7, -0.1, 0.1))
    np.testing.assert_allclose(region.reached(np.array([0.5, 0.0]), np.array([0.65, 0.0])), [0.6, 0.0], atol=2e-6)
    np.testing.assert_allclose(region.reached(np.array([0.5, 0.0]), np.array([0.90, 0.0])), [0.6, 0.0], atol=2e-6)
    np.testing.assert_allclose(region.reached(np.array([0.5, 0.2]), np.array([0.90, 0.2])), [0.9, 0.2])
    np.testing.assert_allclose(region.reached(np.array([0.65, 0.0]), np.array([0.9, 0.0])), [0.9, 0.0])  # out of it


def test_a_way_out_of_a_keep_out_does_not_lead_through_it() -> None:
    """Measured 3 mm inside, as a pusher at its border is now and then."""
    region, inside = Region(RECTANGLE, (0.60, 0.62, -0.1, 0.1)), np.array([0.603, 0.0])
    np.testing.assert_allclose(region.reached(inside, np.array([0.55, 0.01])), [0.55, 0.01])
    np.testing.assert_allclose(region.reached(inside, np.array([0.653, 0.0])), inside)
    np.testing.assert_allclose(region.reached(inside, np.array([0.603, 0.05])), [0.603, 0.05])  # no deeper


def test_out_of_one_keep_out_is_not_into_another() -> None:
    region = Region(RECTANGLE, (0.60, 0.70, -0.1, 0.1, 0.66, 0.80, -0.1, 0.1))
    inside = np.array([0.67, 0.0])  # 30 mm deep in the first, 10 mm in the second
    np.testing.assert_allclose(region.reached(inside, np.array([0.72, 0.0])), inside)


@settings(max_examples=300, deadline=None)
@given(
    corners=st.sampled_from([RECTANGLE, TRIANGLE, (0.0, 0.0, 0.9, 0.1, 1.0, 0.15, 0.3, 0.6)]),
    seed=st.integers(0, 10_000),
)
def test_no_way_leads_out_or_through_a_keep_out(corners: tuple[float, ...], seed: int) -> None:
    region, random = Region(corners, HOLES), np.random.default_rng(seed)
    starts = random.uniform(-0.5, 1.0, (40, 2))
    starts = starts[(region.outside_by(starts) <= 0.0) & (region.kept_out_by(starts) <= 0.0)]
    ends = region.reached(starts, starts + random.normal(0.0, 0.5, starts.shape))
    ways = starts[:, None] + (ends - starts)[:, None] * np.linspace(0.0, 1.0, 60)[None, :, None]
    assert (region.outside_by(ways) <= 1e-9).all()
    assert (region.kept_out_by(ways) <= 1e-9).all()


@pytest.mark.parametrize(
    ("workspace", "keep_out", "words"),
    [
        ((0.9, 0.3, -0.2, 0.2), NONE, "x_min < x_max"),
        ((0.3, 0.9), NONE, "has 2 numbers"),
        ((0.0, 0.0, 1.0, 0.0, 0.5), NONE, "has 5 numbers"),
        ((0.0, 0.0, 1.0, 0.0, 0.2, 0.1, 0.0, 1.0), NONE, "no convex polygon"),
        ((0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0), NONE, "no convex polygon"),  # crosses itself
        ((0.0, 1.0, 0.6, -0.8, -0.95, 0.3, 0.95, 0.3, -0.6, -0.8), NONE, "no convex polygon"),  # a star
        (RECTANGLE, (0.5, 0.4, 0.0, 0.1), "x_min <= x_max"),
        (RECTANGLE, (0.4, 0.5, 0.0), "for each rectangle"),
    ],
)
def test_what_is_no_region_is_refused(workspace: tuple[float, ...], keep_out: tuple[float, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_region(workspace, keep_out)
