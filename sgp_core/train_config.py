"""Settings of the networks and their training."""

from __future__ import annotations

from dataclasses import dataclass

from sgp_core.config import Config, setting
from sgp_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Config):
    """Networks and their training. Presets: `small` (the default bundle) and `paper` (App. C.4)."""

    hidden: int = setting(256, "width of each hidden layer", low=4, high=8192)
    layers: int = setting(4, "number of hidden layers", low=1, high=16)
    rigid: bool = setting(
        True, "dynamics that move the box as a whole, wherever it is; off: each marker by itself, as in the paper"
    )
    batch_size: int = setting(
        0, "tuples per optimiser step; 0: 256, or of large data a 200th, at most 1024", low=0, high=65536
    )
    learning_rate: float = setting(3e-3, "AdamW learning rate", low=1e-6, high=1.0)
    weight_decay: float = setting(0.01, "AdamW weight decay of the dynamics; the score has none", low=0.0, high=100.0)
    steps: int = setting(12000, "optimiser steps at most, per network", low=1, high=10_000_000)
    check_every: int = setting(250, "optimiser steps between held-out checks", low=1, high=1_000_000)
    patience: int = setting(48, "checks without improvement before training stops", low=1, high=10_000)
    copies: int = setting(
        8,
        "each transition again at so many other places between those of the data, mirrored at the box's axes; 0 takes"
        " the table or the box as uneven",
        low=0,
        high=1000,
    )
    held_out: float = setting(0.15, "fraction of the demonstrations held out", low=0.01, high=0.9)
    sigma_high: float = setting(0.2, "largest noise level", low=1e-3, high=10.0)
    sigma_low: float = setting(0.01, "smallest noise level", low=1e-4, high=1.0)
    sigma_count: int = setting(10, "number of noise levels, on a cosine schedule", low=1, high=1000)
    seed: int = setting(0, "seed of the split, the weights and the batches", low=0, high=2**31 - 1)

    def check(self) -> None:
        """See `Config.check`."""
        if self.sigma_low > self.sigma_high:
            raise InputError(f"sigma_low = {self.sigma_low} must not exceed sigma_high = {self.sigma_high}")


PRESETS: dict[str, TrainConfig] = {"small": TrainConfig(), "paper": TrainConfig(hidden=1024, rigid=False, copies=0)}
