"""Marker layout: packing, poses, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout, wrap_angle
from sgp_core.share import share_path

DEFAULT = MarkerLayout.load(share_path("config", "layout.yaml"))


def of(count: int) -> MarkerLayout:
    places = np.random.default_rng(count).uniform(-0.08, 0.08, (count, 2))
    return MarkerLayout(
        names=tuple(f"m{i}" for i in range(count)),
        places_m=tuple(map(tuple, places)),
        box_size_m=(0.2, 0.2, 0.05),
        pusher_radius_m=0.02,
    )


@given(x=st.floats(-1, 1), y=st.floats(-1, 1), yaw=st.floats(-3.1, 3.1), count=st.integers(2, 9))
def test_pose_of_markers_at_a_pose_is_that_pose(x, y, yaw, count):
    layout = of(count)
    found = layout.pose_of(layout.markers_at(x, y, yaw))
    np.testing.assert_allclose(found, (x, y, yaw), atol=1e-9)


@pytest.mark.parametrize("count", [2, 5, 8])
def test_the_layout_sets_the_size_of_the_state(count):
    layout = of(count)
    markers, pusher = layout.markers_at(0.6, 0.1, 0.3), np.array([0.5, 0.0])
    x = layout.pack(markers, pusher)
    assert x.shape == (layout.state_size,) == (2 * count + 2,)
    np.testing.assert_array_equal(layout.markers(x), markers)
    np.testing.assert_array_equal(x[-2:], pusher)


def test_the_default_layout_is_irregular():
    # Turned by any angle of a symmetry, the markers must not fall upon each other: labels could be mistaken.
    places = DEFAULT.places
    distances = np.sort(np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(5, 1)])
    assert np.diff(distances).min() > 1e-4


def test_dict_round_trip_and_errors_that_name_the_problem(tmp_path):
    assert MarkerLayout.from_dict(DEFAULT.to_dict()) == DEFAULT
    values = DEFAULT.to_dict()
    with pytest.raises(InputError, match="names repeat"):
        MarkerLayout.from_dict({**values, "names": ["a"] * 5})
    with pytest.raises(InputError, match="mm apart"):
        MarkerLayout.from_dict({**values, "places_m": [[0.0, 0.0]] * 5})
    with pytest.raises(InputError, match="pusher_radius_m -1"):
        MarkerLayout.from_dict({**values, "pusher_radius_m": -1})
    with pytest.raises(InputError, match="in metres"):
        MarkerLayout.from_dict({**values, "box_size_m": [86.7, 170.3, 39.1]})
    with pytest.raises(InputError, match="exactly the keys"):
        MarkerLayout.from_dict({"names": []})
    file = tmp_path / "layout.yaml"
    file.write_text("names: [a")
    with pytest.raises(InputError, match=r"layout\.yaml"):
        MarkerLayout.load(file)
    file.write_bytes(b"names: \xff")
    with pytest.raises(InputError, match=r"layout\.yaml"):
        MarkerLayout.load(file)
    with pytest.raises(InputError, match="cannot be read"):
        MarkerLayout.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("angle", "expected"), [(0.0, 0.0), (2 * np.pi, 0.0), (3.5, 3.5 - 2 * np.pi), (-7.0, 2 * np.pi - 7)]
)
def test_wrap_angle(angle, expected):
    assert wrap_angle(angle) == pytest.approx(expected)
