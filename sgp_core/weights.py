"""Tensors of a .pt file that torch.save wrote, read without running anything in it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from sgp_core.archives import open_zip
from sgp_core.errors import InputError


def load_weights(file: Path) -> Any:
    """Tensors and plain values on the CPU.

    Raises:
        OSError: the file cannot be read.
        InputError: it is none of torch.save's archives, it would unpack to more than it is, or it holds other objects.
    """
    with open_zip(file, file.stat().st_size):
        pass  # torch.save compresses nothing; what would grow is none of its files
    try:
        # weights_only: a pickle of plain values and tensors; everything else is refused before it is made.
        return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, MemoryError, pickle.UnpicklingError) as error:
        words = str(error).splitlines()
        raise InputError(f"no tensors of torch.save: {words[0] if words else type(error).__name__}") from error
