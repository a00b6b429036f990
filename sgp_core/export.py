"""From transitions to a bundle on disk: train, choose the reference tuples, measure, write."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgp_core.bundle import INDEX, ModelBundle, load_bundle, save_bundle, script
from sgp_core.checks import held_out_metrics
from sgp_core.config import TrainConfig
from sgp_core.data import Transitions
from sgp_core.training import Progress, Trained, train, tuples_of

REFERENCE_AT_MOST = 5000  # tuples kept for the distance to data; more make every plan slower and the file larger


def train_bundle(data: Transitions, path: Path, config: TrainConfig, progress: Progress) -> ModelBundle:
    """Train on part of the demonstrations, measure on the rest, write the bundle and read it back verified.

    Args:
        data: all transitions.
        path: folder of the bundle; made when missing, replaced when there.
        config: networks and training.
        progress: called at each held-out check.
    """
    train_data, held_out = data.split(config.held_out, config.seed)
    trained = train(train_data, held_out, config, progress)
    kept = coreset(tuples_of(train_data, trained.normalizer), REFERENCE_AT_MOST)
    index = _index(data, train_data, trained, config)
    save_bundle(
        path,
        dynamics=script(trained.dynamics),
        score=script(trained.score),
        reference_x=train_data.x[kept],
        reference_u=train_data.u[kept],
        index=index,
    )
    # Measured on what was written, as it will be used; then the figures join the index.
    written = json.loads((path / INDEX).read_text())
    written["metrics"] = {**trained.history, **held_out_metrics(load_bundle(path), held_out, config.seed)}
    (path / INDEX).write_text(json.dumps(written, indent=1) + "\n")
    return load_bundle(path)


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
    # A servo that lags realises a little less than was commanded; both lie within what the models have seen.
    longest = float(max(np.abs(train_data.u).max(), np.abs(train_data.u_commanded).max()))
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
            "x_low_m": data.x.min(axis=0).tolist(),
            "x_high_m": data.x.max(axis=0).tolist(),
            "u_low_m": data.u.min(axis=0).tolist(),
            "u_high_m": data.u.max(axis=0).tolist(),
            "provenance": data.provenance,
        },
        "training": config.to_dict(),
        "metrics": {},
    }
