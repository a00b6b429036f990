"""The table of faults as Markdown."""

from __future__ import annotations

from pathlib import Path


def write_markdown(path: Path, outcomes: list) -> None:
    pass
