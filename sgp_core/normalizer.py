"""Normalised space: each coordinate divided by the full range of its block, so that sigma means one thing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sgp_core.data import Transitions
from sgp_core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Normalizer:
    """z_bar = (z - centre) / scale for z = (x, u).

    The authors scale each dimension by its own range. Here all positions share one scale, because a rigid set of
    markers stays rigid only under an isotropic one, and both action axes share another.

    Args:
        x_centre: centre of each state coordinate (2N+2,) [m].
        x_scale: full range of positions, the largest over the coordinates [m].
        u_scale: full range of the displacements, the largest over both axes [m]; their centre is zero.
    """

    x_centre: tuple[float, ...]
    x_scale: float
    u_scale: float

    def __post_init__(self) -> None:
        numbers = (*self.x_centre, self.x_scale, self.u_scale)
        if not (np.isfinite(numbers).all() and self.x_scale > 0.0 and self.u_scale > 0.0):
            raise InputError(f"x_scale = {self.x_scale} and u_scale = {self.u_scale} must be positive and finite")

    @classmethod
    def fit(cls, data: Transitions) -> Normalizer:
        """Mid-range and full range of the data."""
        low, high = data.x.min(axis=0), data.x.max(axis=0)
        return cls(
            x_centre=tuple(float(v) for v in (low + high) / 2.0),
            x_scale=float((high - low).max()),
            u_scale=float(2.0 * np.abs(data.u).max()),
        )

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {"x_centre": list(self.x_centre), "x_scale": self.x_scale, "u_scale": self.u_scale}

    @classmethod
    def from_dict(cls, values: dict) -> Normalizer:
        """Read `to_dict` back."""
        return cls(
            x_centre=tuple(float(v) for v in values["x_centre"]),
            x_scale=float(values["x_scale"]),
            u_scale=float(values["u_scale"]),
        )

    def normalize(self, x: Tensor, u: Tensor) -> Tensor:
        """(B, 2N+2) m and (B, 2) m to z_bar (B, 2N+4)."""
        centre = torch.tensor(self.x_centre, dtype=x.dtype, device=x.device)
        return torch.cat([(x - centre) / self.x_scale, u / self.u_scale], dim=-1)

    def scales(self, dtype: torch.dtype = torch.float32) -> Tensor:
        """Scale of every coordinate of z (2N+4,) [m]."""
        return torch.tensor([self.x_scale] * len(self.x_centre) + [self.u_scale] * 2, dtype=dtype)
