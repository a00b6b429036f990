"""Named goals: the standard case, and what a wrong file says."""

from pathlib import Path

import numpy as np
import pytest

from sgp_core.errors import InputError
from sgp_core.goals import NamedGoal, find_goal, load_goals, save_goal
from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path
from sgp_core.types import Goal

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))


def test_goals_of_the_standard_case() -> None:
    poses = {name: goal.pose for name, goal in load_goals().items()}
    assert poses == {"center": (0.71, 0.0, 0.0), "left": (0.71, 0.10, 0.2), "right": (0.71, -0.10, -0.2)}


def test_goal_by_name_and_by_numbers() -> None:
    assert find_goal("left").pose == (0.71, 0.10, 0.2)
    assert find_goal("0.6, -0.05, 1").pose == (0.6, -0.05, 1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [("middle", "choose one of center, left, right"), ("1,2,x", "is not x,y,yaw"), ("1,2,nan", "three finite numbers")],
)
def test_a_wrong_goal_says_what_is_wanted(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_goal(text)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("near: [0.6, 0.0]", "near = \\[0.6, 0.0\\] must be three finite numbers"),
        ("near: [0.6, 0.0, .nan]", "must be three finite numbers"),
        ("near: [0.6, yes, 0.0]", "must be three finite numbers"),
        ("[1, 2", "is not YAML"),
        ("", "must hold lines like"),
        ("near: {pose: [0.6, 0, 0]}", "have the keys pose and markers_m"),
        ("near: {pose: [0.6, 0, 0], markers_m: [[1, 2, 3]]}", "must be two finite numbers"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=said):
        load_goals(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.yaml cannot be read"):
        load_goals(tmp_path / "nothing.yaml")


def test_a_saved_goal_keeps_the_measured_markers_and_the_other_goals(tmp_path: Path) -> None:
    path = tmp_path / "new" / "goals.yaml"
    markers = LAYOUT.markers_at(0.8, 0.1, 0.3) + np.array(
        [[1e-3, 0.0], [0.0, 0.0], [0.0, -1e-3], [0.0, 0.0], [0.0, 0.0]]
    )
    save_goal(path, "shelf", Goal(markers_m=markers), LAYOUT)
    pose = save_goal(path, "home", Goal.from_pose(LAYOUT, 0.5, 0.0, -0.1), LAYOUT)
    assert pose == pytest.approx((0.5, 0.0, -0.1))
    assert sorted(load_goals(path)) == ["home", "shelf"]
    shelf = find_goal("shelf", path)
    np.testing.assert_allclose(shelf.goal(LAYOUT).markers_m, markers, atol=1e-6)
    assert shelf.pose == pytest.approx((0.8, 0.1, 0.3), abs=0.01)
    assert find_goal("center", path).pose == (0.71, 0.0, 0.0)  # those of the package stay known
    assert not [f for f in path.parent.iterdir() if f != path]


def test_measured_markers_of_another_layout_fall_back_to_the_pose() -> None:
    goal = NamedGoal(pose=(0.6, 0.0, 0.2), markers_m=((0.6, 0.0), (0.7, 0.0)))
    np.testing.assert_allclose(goal.goal(LAYOUT).markers_m, LAYOUT.markers_at(0.6, 0.0, 0.2))


@pytest.mark.parametrize("name", ["", "a,b", " "])
def test_a_goal_that_could_not_be_found_again_is_not_saved(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        save_goal(tmp_path / "goals.yaml", name, Goal.from_pose(LAYOUT, 0.5, 0.0, 0.0), LAYOUT)


def test_a_broken_goals_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "goals.yaml"
    path.write_text("near: [0.6")
    with pytest.raises(InputError, match="not YAML"):
        save_goal(path, "far", Goal.from_pose(LAYOUT, 0.5, 0.0, 0.0), LAYOUT)
    assert path.read_text() == "near: [0.6"
