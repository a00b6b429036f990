"""Several dynamics networks of the same data: where they disagree, there were none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sgp_core.baselines.penalty import PenalisedObjective
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.bundle_index import INDEX
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError


def load_members(bundle: ModelBundle, folder: Path) -> list[ModelBundle]:
    """Every bundle in a folder, in the order of their names.

    Raises:
        InputError: fewer than two, one that was trained on other data than `bundle`, or two with the same seed.
    """
    members = [load_bundle(file.parent) for file in sorted(folder.glob(f"*/{INDEX}"))]
    if len(members) < 2:
        raise InputError(
            f"--ensemble {folder} holds {len(members)} bundles, each in its own folder; it takes two or more"
        )
    wanted = bundle.index["data"]["sha256"]
    for member in members:
        if member.index["data"]["sha256"] != wanted:
            raise InputError(f"{member.path} was trained on other data than {bundle.path}; a comparison needs the same")
    if len({member.index["training"]["seed"] for member in members}) < len(members):
        raise InputError(f"--ensemble {folder}: two bundles have the same seed, and are the same; train with others")
    return members


class EnsembleObjective(PenalisedObjective):
    """Predicts the mean of the members; the penalty is their variance, summed over the marker coordinates.

    Args:
        bundle: says what the unit of length is.
        config: weights, horizon, beta.
        members: two or more.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, members: Sequence[ModelBundle]) -> None:
        super().__init__(bundle, config, self._step)
        self._members = [member.dynamics for member in members]
        self._x_scale2 = bundle.normalizer.x_scale**2

    def _step(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        ends = torch.stack([member(x, u) for member in self._members])
        variance = ends[..., :-2].var(dim=0, correction=0).sum(-1)
        return ends.mean(dim=0), variance / self._x_scale2
