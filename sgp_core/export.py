"""From transitions to a bundle on disk: train, choose the reference tuples, measure, write."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgp_core.bundle import ModelBundle, load_bundle, move_bundle, save_bundle, script
from sgp_core.bundle_index import INDEX
from sgp_core.checkpoint import Checkpoint
from sgp_core.checks import held_out_metrics
from sgp_core.data import Transitions
from sgp_core.fitting import Check
from sgp_core.symmetry import spread
from sgp_core.train_config import TrainConfig
from sgp_core.training import Trained, sample, train, tuples_of

REFERENCE_AT_MOST = 2000  # tuples kept for the distance to data; more make every plan slower and the file larger
CORESET_OF = 200_000  # tuples they are chosen from; more take minutes and cover no more
MEASURED_AT_MOST = 5000  # held-out tuples for the figures
WENT = 0.5  # of a commanded step: less was not carried out


def train_bundle(
    data: Transitions,
    path: Path,
    config: TrainConfig,
    told: Callable[[Check], None],
    *,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> tuple[ModelBundle, list[Check]]:
    """Train on part of the demonstrations, measure on the rest, write the bundle and read it back verified.

    Args:
        data: all transitions.
        path: folder of the bundle; made when missing, replaced when there, in the end and at once.
        config: networks and training.
        told: called at each held-out check.
        device: where to train, as torch calls it.
        checkpoint: of an interrupted training, which goes on from there.

    Returns:
        The bundle, and every held-out check.
    """
    train_data, held_out = data.split(config.held_out, config.seed)
    learned = spread(train_data, config.copies, config.seed)
    trained = train(learned, held_out, config, told, device=device, checkpoint=checkpoint)
    some = sample(len(learned), CORESET_OF, config.seed).numpy()
    kept = some[coreset(tuples_of(learned.select(some), trained.normalizer), REFERENCE_AT_MOST)]
    index = _index(data, train_data, trained, config)
    partial = path / "partial"
    save_bundle(
        partial,
        dynamics=script(trained.dynamics),
        score=script(trained.score),
        reference_x=learned.x[kept],
        reference_u=learned.u[kept],
        index=index,
    )
    # Measured on what was written, as it will be used; then the figures join the index.
    written = json.loads((partial / INDEX).read_text())
    measured = held_out_metrics(load_bundle(partial, own=True), _beginning(held_out, MEASURED_AT_MOST), config.seed)
    written["metrics"] = {**trained.history, **measured}
    (partial / INDEX).write_text(json.dumps(written, indent=1) + "\n")
    move_bundle(partial, path)
    return load_bundle(path, own=True), trained.checks


def _beginning(data: Transitions, at_most: int) -> Transitions:
    """Whole demonstrations, since the figures follow rollouts."""
    if len(data) <= at_most:
        return data
    groups, first = np.unique(data.demonstration, return_index=True)
    wanted = groups[first < at_most]
    return data.select(np.isin(data.demonstration, wanted))


def coreset(z: Tensor, at_most: int) -> np.ndarray:
    """Indices of tuples that cover the data z (M, n): all, or by turns the one furthest from those already chosen."""
    if len(z) <= at_most:
        return np.arange(len(z))
    chosen = [0]
    distance = torch.full((len(z),), torch.inf)
    for _ in range(at_most - 1):
        distance = torch.minimum(distance, ((z - z[chosen[-1]]) ** 2).sum(-1))
        chosen.append(int(distance.argmax()))
    return np.sort(np.array(chosen))


def _index(data: Transitions, train_data: Transitions, trained: Trained, config: TrainConfig) -> dict[str, Any]:
    # A servo that lags realises a little less than was commanded; both lie within what the models have seen. A step
    # that was refused, or that something stopped, does not.
    went = np.linalg.norm(train_data.u, axis=1) >= WENT * np.linalg.norm(train_data.u_commanded, axis=1)
    longest = float(max(np.abs(train_data.u).max(), np.abs(train_data.u_commanded[went]).max(initial=0.0)))
    return {
        "layout": data.layout.to_dict(),
        "normalizer": trained.normalizer.to_dict(),
        "sigmas": list(trained.sigmas),
        "step_duration_s": data.step_duration_s,
        # Rounded up to a centimetre: a round figure for people, and not a hair below the boldest demonstrator's pace.
        "limits": {"step_limit_m": math.ceil(longest * 100.0 - 1e-6) / 100.0},
        "data": {
            "transitions": len(data),
            "demonstrations": len(np.unique(data.demonstration)),
            "sha256": data.sha256,
            "trained_on": sorted(train_data.marks.values()),
            "x_low_m": data.x.min(axis=0).tolist(),
            "x_high_m": data.x.max(axis=0).tolist(),
            "u_low_m": data.u.min(axis=0).tolist(),
            "u_high_m": data.u.max(axis=0).tolist(),
            "provenance": data.provenance,
        },
        "training": config.to_dict(),
        "metrics": {},
    }
