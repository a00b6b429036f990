"""Named goals: the standard case, and what a wrong file says."""

from pathlib import Path

import pytest

from sgp_core.errors import InputError
from sgp_core.goals import find_goal, load_goals


def test_goals_of_the_standard_case() -> None:
    assert load_goals() == {"center": (0.71, 0.0, 0.0), "left": (0.71, 0.10, 0.2), "right": (0.71, -0.10, -0.2)}


def test_goal_by_name_and_by_numbers() -> None:
    assert find_goal("left") == (0.71, 0.10, 0.2)
    assert find_goal("0.6, -0.05, 1") == (0.6, -0.05, 1.0)


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
