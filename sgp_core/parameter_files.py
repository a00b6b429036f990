"""ROS parameter files read without ROS: what one node would get from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgp_core.errors import InputError
from sgp_core.reading import read_yaml


def node_parameters(paths: Sequence[Path], node: str) -> dict[str, Any]:
    """Parameters for a node, later files over earlier ones; sections `/**/NODE`, `NODE`, `/ns/NODE` and `/**` count.

    Raises:
        InputError: a file cannot be read or is no parameter file.
    """
    found: dict[str, Any] = {}
    for path in paths:
        sections = read_yaml(path, "parameter file")
        if not isinstance(sections, dict):
            raise InputError(f"parameter file {path} needs sections such as `/**/{node}: ros__parameters: ...`")
        for pattern, section in sections.items():
            if str(pattern) == "/**" or str(pattern).split("/")[-1] == node:
                values = section.get("ros__parameters") if isinstance(section, dict) else None
                if not isinstance(values, dict):
                    raise InputError(f"parameter file {path}: {pattern} has no `ros__parameters:`")
                found |= values
    return found
