"""Result files that are whole or not there, and never replace another one unasked."""

from __future__ import annotations

import os
from pathlib import Path

from sgp_core.errors import InputError


def check_free(path: Path, force: bool) -> None:
    """Raises InputError when the file exists and `force` is not set: to be asked before the work, too."""
    if path.exists() and not force:
        raise InputError(f"{path} exists; give --force to replace it, or another name with --out")


def write_text(path: Path, text: str, force: bool = False) -> None:
    """Write a text file at once: first beside it, then renamed.

    Raises:
        InputError: the file exists and `force` is not set.
    """
    check_free(path, force)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
