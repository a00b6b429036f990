"""A training that was interrupted, on disk: read with care, written in one step."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sgp_core.errors import InputError
from sgp_core.weights import load_weights

KEEP_EVERY_S = 5.0  # a checkpoint of the paper's networks has 100 MB


class Checkpoint:
    """States of the networks in training, by name.

    Args:
        file: where; a checkpoint that is there is read.
        about: what it belongs to, such as data and settings; plain values.

    Attributes:
        states: what was read, or kept since.

    Raises:
        InputError: the file is damaged, or belongs to something else; the text names what.
    """

    def __init__(self, file: Path, about: dict[str, Any]) -> None:
        self._file, self._about = file, json.loads(json.dumps(about))
        self._kept_s = time.monotonic()
        self.states: dict[str, dict[str, Any]] = _read(file, self._about) if file.exists() else {}

    @property
    def steps(self) -> dict[str, int]:
        """How far each network is."""
        return {name: int(state["step"]) for name, state in self.states.items()}

    def keep(self, name: str, state: Callable[[], dict[str, Any]]) -> None:
        """Take the state of a network; it is written now, or a few seconds later with the next one."""
        now_s = time.monotonic()
        if name in self.states and now_s - self._kept_s < KEEP_EVERY_S:
            return
        self._kept_s = now_s
        # A copy: training goes on in the same tensors, and what is written later has to be of one moment.
        self.states[name] = copy.deepcopy(state())
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(".partial")
        torch.save({"about": self._about, "states": self.states}, partial)
        os.replace(partial, self._file)

    def remove(self) -> None:
        """The training has ended."""
        self._file.unlink(missing_ok=True)


def _read(file: Path, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    again = "use --overwrite to begin again, or another folder"
    try:
        found = load_weights(file)
        states, was = dict(found["states"]), dict(found["about"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{file} is no checkpoint of a training, or damaged ({reason}); {again}") from error
    for name in sorted({*about, *was}):
        if about.get(name) != was.get(name):
            raise InputError(
                f"{file} holds an interrupted training with {name} = {was.get(name)!r} instead of"
                f" {about.get(name)!r}; give the same to go on, {again}"
            )
    return states
