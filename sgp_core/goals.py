"""Named goals of the box, from a YAML file such as config/goals.yaml.

A line is a pose, `center: [0.71, 0.0, 0.0]`, or, as written for a goal that was shown with the box itself, a pose with
the markers as they were measured: `shelf: {pose: [0.8, 0.1, 0.3], markers_m: [[0.81, 0.16], ...]}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sgp_core.errors import InputError
from sgp_core.files import write_text
from sgp_core.layout import MarkerLayout
from sgp_core.reading import read_yaml
from sgp_core.share import share_path
from sgp_core.types import Goal

Pose = tuple[float, float, float]  # x [m], y [m], yaw [rad]; frame `table`


@dataclass(frozen=True, kw_only=True)
class NamedGoal:
    """A goal as a file holds it."""

    pose: Pose
    markers_m: tuple[tuple[float, float], ...] | None = None  # as measured [m; table]

    def goal(self, layout: MarkerLayout) -> Goal:
        """The measured markers where they are those of the layout, else the layout at the pose."""
        if self.markers_m is not None and len(self.markers_m) == layout.count:
            return Goal(markers_m=np.array(self.markers_m))
        return Goal.from_pose(layout, *self.pose)


def load_goals(path: Path | None = None) -> dict[str, NamedGoal]:
    """Goals by name.

    Args:
        path: YAML file; config/goals.yaml when left out.

    Raises:
        InputError: the file cannot be read, or an entry is neither a pose nor a pose with markers.
    """
    path = share_path("config", "goals.yaml") if path is None else path
    values = read_yaml(path, "goals file")
    if not isinstance(values, dict) or not values:
        raise InputError(f"goals file {path} must hold lines like `center: [0.71, 0.0, 0.0]` (x m, y m, yaw rad)")
    return {str(name): _entry(f"goals file {path}: goal {name}", value) for name, value in values.items()}


def find_goal(text: str, path: Path | None = None) -> NamedGoal:
    """A named goal, or one from three numbers `x,y,yaw` [m, m, rad].

    Args:
        text: name or numbers.
        path: goals on top of those in config/goals.yaml; a file that does not exist yet holds none.

    Raises:
        InputError: neither a known name nor three finite numbers; the text lists the names.
    """
    parts = text.split(",")
    if len(parts) == 3:
        try:
            numbers = [float(part) for part in parts]
        except ValueError as error:
            raise InputError(f"goal {text!r} is not x,y,yaw in m and rad, such as 0.71,0.0,0.0") from error
        return NamedGoal(pose=_pose(f"goal {text}", numbers))
    goals = load_goals() | (load_goals(path) if path is not None and path.exists() else {})
    if text not in goals:
        raise InputError(f"goal {text!r} is not known; choose one of {', '.join(goals)}, or give x,y,yaw in m and rad")
    return goals[text]


def save_goal(path: Path, name: str, goal: Goal, layout: MarkerLayout) -> Pose:
    """Add a goal to a file, or replace it there; the other goals stay. Returns its pose.

    Raises:
        InputError: a name that could not be found again, or a file that cannot be read or written.
    """
    if not name.strip() or "," in name:
        raise InputError(f"a goal cannot be called {name!r}; give a word without commas")
    known = load_goals(path) if path.exists() else {}
    pose = layout.pose_of(goal.markers_m)
    markers = tuple((float(x), float(y)) for x, y in goal.markers_m)
    entries = {**known, name.strip(): NamedGoal(pose=pose, markers_m=markers)}
    text = yaml.safe_dump({key: _plain(entry) for key, entry in entries.items()}, default_flow_style=None)
    try:
        write_text(path, text, force=True)
    except OSError as error:
        raise InputError(f"goals file {path} cannot be written: {error.strerror}") from error
    return pose


def _plain(entry: NamedGoal) -> Any:
    pose = [round(value, 6) for value in entry.pose]
    if entry.markers_m is None:
        return pose
    return {"pose": pose, "markers_m": [[round(x, 6), round(y, 6)] for x, y in entry.markers_m]}


def _entry(where: str, value: object) -> NamedGoal:
    if not isinstance(value, dict):
        return NamedGoal(pose=_pose(where, value))
    if set(value) != {"pose", "markers_m"} or not isinstance(value["markers_m"], list):
        raise InputError(f"{where} = {value!r} must be three numbers, or have the keys pose and markers_m")
    markers = tuple(_numbers(where, pair, 2, "x m, y m of each marker") for pair in value["markers_m"])
    return NamedGoal(pose=_pose(where, value["pose"]), markers_m=tuple((x, y) for x, y in markers))


def _pose(where: str, value: object) -> Pose:
    x, y, yaw = _numbers(where, value, 3, "x m, y m, yaw rad")
    return x, y, yaw


def _numbers(where: str, value: object, count: int, what: str) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else []
    right = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    if len(numbers) != count or not right:
        words = {2: "two", 3: "three"}[count]
        raise InputError(f"{where} = {value!r} must be {words} finite numbers: {what}")
    return tuple(float(number) for number in numbers)
