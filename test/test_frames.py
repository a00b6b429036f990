"""Frames of mocap, arm and table, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from sgp_core.config import FramesConfig
from sgp_core.errors import InputError
from sgp_core.frames import Frames, Transform


def test_y_up_mocap_on_the_table() -> None:
    """A y-up mocap frame standing at (0.1, 0.2) of the table: its y is the table's z, its z the table's -y."""
    frames = Frames(FramesConfig(table_from_mocap=(0.1, 0.2, 0.0, np.pi / 2, 0.0, 0.0)))
    point = frames.table_from("world").apply(np.array([1.0, 5.0, 2.0]))
    np.testing.assert_allclose(point, [1.1, -1.8, 5.0], atol=1e-12)


def test_turned_and_trivial_transforms() -> None:
    turned = Transform.from_numbers((0.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2))
    np.testing.assert_allclose(turned.apply(np.array([1.0, 0.0, 9.0])), [0.0, 1.0, 9.0], atol=1e-12)
    np.testing.assert_array_equal(Frames(FramesConfig()).table_from("table").apply(np.eye(3)), np.eye(3))


def test_transforms_chain_invert_and_read_back_their_numbers() -> None:
    numbers = (0.3, -0.2, 0.1, 0.4, -0.5, 2.0)
    there = Transform.from_numbers(numbers)
    np.testing.assert_allclose(there.to_numbers(), numbers)
    back = there.inverse() @ there
    np.testing.assert_allclose(back.to_numbers(), np.zeros(6), atol=1e-12)
    again = Transform.from_quaternion(tuple(there.translation_m), tuple(there.quaternion()))
    assert again is not None
    np.testing.assert_allclose(again.rotation, there.rotation)


@pytest.mark.parametrize(
    ("position", "xyzw"),
    [((0.0, 0.0, np.nan), (0.0, 0.0, 0.0, 1.0)), ((0.0,) * 3, (np.nan,) * 4), ((0.0,) * 3, (0.0,) * 4)],
)
def test_a_pose_that_is_none_gives_no_transform(position: tuple[float, ...], xyzw: tuple[float, ...]) -> None:
    assert Transform.from_quaternion(position, xyzw) is None


def test_frame_names() -> None:
    far = (5.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    config = FramesConfig(mocap_frame="mocap", base_frame="arm_base", table_from_base=far)
    frames = Frames(config)
    assert frames.table_from("/arm_base").translation_m[0] == 5.0
    assert frames.table_from("mocap").translation_m[0] == 0.0
    with pytest.raises(InputError, match=r"'world'.*'mocap'.*'arm_base'"):
        frames.table_from("world")
    assert Frames(config.replaced(mocap_frame="")).table_from("world").translation_m[0] == 0.0


@pytest.mark.parametrize("name", ["table_from_mocap", "table_from_base"])
def test_a_place_needs_six_numbers(name: str) -> None:
    with pytest.raises(InputError, match=name):
        FramesConfig().replaced(**{name: (0.0, 0.0)})
