"""A tree of moving frames answers as tf does."""

from __future__ import annotations

import numpy as np
import pytest

from sgp_core.frame_tree import HISTORY_S, FrameTree
from sgp_core.frames import Transform


def place(*numbers: float) -> Transform:
    return Transform.from_numbers((*numbers, *(0.0,) * (6 - len(numbers))))


def tree(*, static: bool = True) -> FrameTree:
    """base <- arm (moving) <- hand <- tool, and camera <- base beside them."""
    made = FrameTree("base", "tool")
    made.add("hand", "tool", 0.0, place(0.0, 0.0, -0.1), static=True)
    if static:
        made.add("arm", "hand", 0.0, place(0.5, 0.0, 0.0), static=True)
    made.add("camera", "base", 0.0, place(9.0, 9.0, 9.0), static=True)
    return made


def test_a_chain_of_frames_is_followed() -> None:
    made = tree()
    assert made.newest() is None
    made.add("base", "arm", 1.0, place(0.0, 0.0, 0.3, 0.0, 0.0, np.pi / 2), static=False)
    found = made.newest()
    assert found is not None
    assert found[0] == 1.0
    np.testing.assert_allclose(found[1].translation_m, [0.0, 0.5, 0.2], atol=1e-12)
    assert found[1].yaw_rad == pytest.approx(np.pi / 2)
    assert made.newest() is None  # told already


def test_it_is_seen_from_another_branch_too() -> None:
    made = FrameTree("tool", "base")
    made.add("world", "base", 0.0, place(1.0, 0.0, 0.0), static=True)
    made.add("world", "tool", 2.0, place(1.0, 2.0, 0.0, 0.0, 0.0, np.pi), static=False)
    found = made.newest()
    assert found is not None
    np.testing.assert_allclose(found[1].translation_m, [0.0, 2.0, 0.0], atol=1e-12)


def test_the_newest_instant_is_the_one_that_all_frames_reach() -> None:
    made = tree(static=False)
    for stamp_s, yaw_rad in ((1.0, 0.0), (2.0, 1.0)):
        made.add("base", "arm", stamp_s, place(0.0, 0.0, stamp_s, 0.0, 0.0, yaw_rad), static=False)
    assert made.newest() is None
    made.add("arm", "hand", 1.25, place(1.0, 0.0, 0.1), static=False)
    found = made.newest()
    assert found is not None
    assert found[0] == 1.25
    # A quarter of the way, and of the turn.
    np.testing.assert_allclose(found[1].translation_m, [np.cos(0.25), np.sin(0.25), 1.25], atol=1e-12)
    made.add("arm", "hand", 3.0, place(1.0, 0.0, 0.1), static=False)
    found = made.newest()
    assert found is not None
    assert found[0] == 2.0


def test_before_all_frames_have_begun_there_is_nothing() -> None:
    made = tree(static=False)
    made.add("base", "arm", 1.0, place(0.0), static=False)
    made.add("arm", "hand", 2.0, place(0.0), static=False)
    assert made.newest() is None  # the hand was not there yet at 1.0
    assert "does not lead" in made.missing()
    made.add("base", "arm", 2.5, place(0.0), static=False)
    assert made.newest() is not None
    assert made.missing() == ""


def test_of_two_with_the_same_stamp_the_first_counts() -> None:
    made = tree()
    made.add("base", "arm", 1.0, place(0.1), static=False)
    made.add("base", "arm", 1.0, place(0.2), static=False)
    found = made.newest()
    assert found is not None
    assert found[1].translation_m[0] == pytest.approx(0.6)


def test_samples_in_the_wrong_order_are_sorted_and_old_ones_forgotten() -> None:
    made = tree(static=False)
    for stamp_s in (1.0, 1.2, 1.1, 1.0 + HISTORY_S + 0.15):
        made.add("base", "arm", stamp_s, place(stamp_s), static=False)
    made.add("arm", "hand", 1.15, place(0.0), static=False)
    assert made.newest() is None  # what was at 1.15 lies too far back
    made.add("arm", "hand", 1.2, place(0.0), static=False)
    found = made.newest()
    assert found is not None
    assert found[1].translation_m[0] == pytest.approx(1.2)


def test_a_clock_that_is_set_back_begins_anew() -> None:
    made = tree()
    made.add("base", "arm", 100.0, place(0.1), static=False)
    assert made.newest() is not None
    made.add("base", "arm", 50.0, place(0.2), static=False)
    found = made.newest()
    assert found is not None
    assert found[0] == 50.0
    assert found[1].translation_m[0] == pytest.approx(0.7)


def test_why_there_is_nothing() -> None:
    assert FrameTree("base", "tool").missing() == "tf does not lead from 'base' to 'tool'; its frames are none"
    assert tree().missing().endswith("its frames are arm, base, camera, hand, tool")
    loop = FrameTree("a", "b")
    loop.add("c", "b", 0.0, place(0.0), static=False)
    loop.add("b", "c", 0.0, place(0.0), static=False)
    assert loop.newest() is None
