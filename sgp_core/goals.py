"""Named goal poses of the box, from a YAML file such as config/goals.yaml."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from sgp_core.errors import InputError
from sgp_core.share import share_path

Pose = tuple[float, float, float]  # x [m], y [m], yaw [rad]; frame `table`


def load_goals(path: Path | None = None) -> dict[str, Pose]:
    """Goal poses by name.

    Args:
        path: YAML file with `name: [x_m, y_m, yaw_rad]` per line; config/goals.yaml when left out.

    Raises:
        InputError: the file cannot be read, or an entry is not three finite numbers.
    """
    path = share_path("config", "goals.yaml") if path is None else path
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"goals file {path} cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise InputError(f"goals file {path} is not YAML: {error}") from error
    if not isinstance(values, dict) or not values:
        raise InputError(f"goals file {path} must hold lines like `center: [0.71, 0.0, 0.0]` (x m, y m, yaw rad)")
    return {str(name): _pose(path, str(name), value) for name, value in values.items()}


def find_goal(text: str, path: Path | None = None) -> Pose:
    """The pose of a named goal, or of three numbers `x,y,yaw` [m, m, rad].

    Raises:
        InputError: neither a known name nor three finite numbers; the text lists the names.
    """
    parts = text.split(",")
    if len(parts) == 3:
        try:
            numbers = [float(part) for part in parts]
        except ValueError as error:
            raise InputError(f"goal {text!r} is not x,y,yaw in m and rad, such as 0.71,0.0,0.0") from error
        return _pose(None, text, numbers)
    goals = load_goals(path)
    if text not in goals:
        raise InputError(f"goal {text!r} is not known; choose one of {', '.join(goals)}, or give x,y,yaw in m and rad")
    return goals[text]


def _pose(path: Path | None, name: str, value: object) -> Pose:
    where = f"goals file {path}: " if path else ""
    numbers = value if isinstance(value, list) else []
    right = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    if len(numbers) != 3 or not right:
        raise InputError(f"{where}goal {name} = {value!r} must be three finite numbers: x m, y m, yaw rad")
    x, y, yaw = numbers
    return float(x), float(y), float(yaw)
