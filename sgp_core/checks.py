"""Figures that tell whether to trust trained models: held-out errors, score descent (D.2.4), rigidity (Fig. 4B)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.bundle import ModelBundle
from sgp_core.data import Transitions
from sgp_core.distance import nearest_distance
from sgp_core.layout import MarkerLayout

JOINED_M = 0.005  # a row follows on another when it begins so close to where that ended
MOVED_M = 0.002  # mean marker displacement above which a transition counts as a push
DESCENT_STEPS = 20  # steps per noise level
DESCENT_RATE = 0.5  # of the full step sigma^2 * score, which is the denoiser's


def held_out_metrics(bundle: ModelBundle, data: Transitions, seed: int = 0) -> dict[str, Any]:
    """All figures of this module on demonstrations the models have not seen."""
    return {
        "held_out_transitions": len(data),
        "held_out_demonstrations": len(np.unique(data.demonstration)),
        "one_step": one_step_error(bundle, data),
        "rollout_4": rollout_error(bundle, data, 4),
        "score_descent": score_descent(bundle, data, seed),
    }


def one_step_error(bundle: ModelBundle, data: Transitions) -> dict[str, Any]:
    """Distance of each predicted marker from the measured one [mm]: per marker, mean, and mean over pushes only."""
    with torch.no_grad():
        found = bundle.dynamics(torch.from_numpy(data.x).float(), torch.from_numpy(data.u).float()).numpy()
    error = _marker_error_mm(data.layout, found, data.x_next)
    moved = np.linalg.norm(data.layout.markers(data.x_next) - data.layout.markers(data.x), axis=-1).mean(axis=-1)
    pushes = moved > MOVED_M
    return {
        "mm_per_marker": _rounded(error.mean(axis=0)),
        "mm": _rounded(error.mean()),
        "mm_pushes": _rounded(error[pushes].mean()) if pushes.any() else None,
        "displacement_mm_pushes": _rounded(moved[pushes].mean() * 1e3) if pushes.any() else None,
    }


def rollout_error(bundle: ModelBundle, data: Transitions, steps: int) -> dict[str, Any]:
    """The same after `steps` predicted steps with the recorded actions, from every start a demonstration allows."""
    # Rows of one demonstration follow on one another, but for what was cut out between them.
    follows = data.demonstration[1:] == data.demonstration[:-1]
    follows &= np.abs(data.x[1:] - data.x_next[:-1]).max(axis=1) < JOINED_M
    whole = [follows[k : len(data) - steps + 1 + k] for k in range(steps - 1)]
    starts = np.flatnonzero(np.all(whole, axis=0)) if len(data) >= steps else np.array([], dtype=int)
    if len(starts) == 0:
        return {"starts": 0, "mm_per_marker": None, "mm": None, "rigid_mm": None}
    x = torch.from_numpy(data.x[starts]).float()
    with torch.no_grad():
        for k in range(steps):
            x = bundle.dynamics(x, torch.from_numpy(data.u[starts + k]).float())
    error = _marker_error_mm(data.layout, x.numpy(), data.x_next[starts + steps - 1])
    return {
        "starts": len(starts),
        "mm_per_marker": _rounded(error.mean(axis=0)),
        "mm": _rounded(error.mean()),
        "rigid_mm": _rounded(rigid_error_mm(data.layout, x.numpy().astype(float)).mean()),
    }


def score_descent(bundle: ModelBundle, data: Transitions, seed: int) -> dict[str, Any]:
    """Disturb held-out tuples, then descend the learned score from the highest noise level to the lowest.

    Returns:
        Distance to the nearest reference tuple [normalised] and distance of the markers from a rigid box [mm], mean
        before and after. Both must fall; markers torn apart must find each other again.
    """
    generator = torch.Generator().manual_seed(seed)
    z = bundle.normalizer.normalize(torch.from_numpy(data.x), torch.from_numpy(data.u)).float()
    start = z + bundle.sigmas[0] * torch.randn(z.shape, generator=generator)
    end = descend(bundle, start)
    return {
        "disturbed_by_sigma": bundle.sigmas[0],
        "distance_held_out": _rounded(nearest_distance(z, bundle.reference).mean()),
        "distance_before": _rounded(nearest_distance(start, bundle.reference).mean()),
        "distance_after": _rounded(nearest_distance(end, bundle.reference).mean()),
        "rigid_mm_before": _rounded(_rigid_of(bundle, start)),
        "rigid_mm_after": _rounded(_rigid_of(bundle, end)),
    }


def descend(bundle: ModelBundle, z: Tensor, levels: Iterable[int] | None = None) -> Tensor:
    """Descend the smoothed distance to data from z (B, 2N+4), normalised, through the ladder (Prop. 1).

    Args:
        bundle: with the learned score.
        z: where to begin.
        levels: indices of the noise levels, one after the other; all of them, high to low, when left out.
    """
    scales, size = bundle.normalizer.scales(), bundle.layout.state_size
    centre = torch.tensor((*bundle.normalizer.x_centre, 0.0, 0.0), dtype=scales.dtype)
    with torch.no_grad():
        for level in range(len(bundle.sigmas)) if levels is None else levels:
            sigma = bundle.sigmas[level]
            for _ in range(DESCENT_STEPS):
                metres = z * scales + centre
                score = bundle.score(metres[:, :size], metres[:, size:], torch.full((len(z),), level))
                z = z + DESCENT_RATE * sigma**2 * score * scales
    return z


def rigid_error_mm(layout: MarkerLayout, x: Float[ndarray, "B nx"]) -> Float[ndarray, "B"]:
    """Mean distance of the markers from the best-fitting rigid layout [mm], for states [m]."""
    return off_rigid_mm(layout, x).mean(axis=-1)


def off_rigid_mm(layout: MarkerLayout, x: Float[ndarray, "B nx"]) -> Float[ndarray, "B N"]:
    """Distance of each marker from the best-fitting rigid layout [mm], for states [m]."""
    markers = layout.markers(x)
    fitted = np.array([layout.markers_at(*layout.pose_of(m)) for m in markers])
    return np.linalg.norm(markers - fitted, axis=-1) * 1e3


def states_of(bundle: ModelBundle, z: Tensor) -> Float[ndarray, "B nx"]:
    """States [m; table] of normalised tuples (B, 2N+4)."""
    size = bundle.layout.state_size
    return z.double().numpy()[:, :size] * bundle.normalizer.x_scale + np.asarray(bundle.normalizer.x_centre)


def _rigid_of(bundle: ModelBundle, z: Tensor) -> float:
    return float(rigid_error_mm(bundle.layout, states_of(bundle, z)).mean())


def _marker_error_mm(layout: MarkerLayout, found: np.ndarray, true: np.ndarray) -> np.ndarray:
    return np.linalg.norm(layout.markers(found) - layout.markers(true), axis=-1) * 1e3


def _rounded(value: Any) -> Any:
    return np.round(np.asarray(value, dtype=float), 4).tolist()
