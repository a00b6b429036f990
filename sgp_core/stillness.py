"""One position from a second of samples: their mean, if it is one place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError

LEAST_SAMPLES = 5
DRIFT_LIMIT_M = 0.001
NOISE_LIMIT_M = 0.003
FROZEN_SAMPLES = 10


def still_mean(
    samples: Float[ndarray, "S 3"], what: str, *, unit_m: float = 1.0, noisy: bool = False
) -> tuple[Float[ndarray, "3"], float]:
    """Mean position and its noise, from samples of something that should stand still.

    Args:
        samples: positions [units of the source]; NaN and all-zero ones say "hidden" and are left out.
        what: the source, for the words of an error.
        unit_m: length of the source's unit [m].
        noisy: true for a camera system, where samples equal to the last bit mean that it is stuck.

    Returns:
        The mean [units of the source] and the root mean square distance from it [m].

    Raises:
        InputError: too few samples, most of them hidden, moved meanwhile, too noisy, or stuck.
    """
    if len(samples) < LEAST_SAMPLES:
        raise InputError(
            f"{what}: {len(samples)} messages during the capture, {LEAST_SAMPLES} are needed; is it alive?"
        )
    valid = samples[np.isfinite(samples).all(axis=-1) & samples.any(axis=-1)]
    if len(valid) < max(LEAST_SAMPLES, len(samples) / 2):
        raise InputError(f"{what}: hidden in {len(samples) - len(valid)} of {len(samples)} messages; clear the view")
    if noisy and len(valid) >= FROZEN_SAMPLES and not np.ptp(valid, axis=0).any():
        raise InputError(
            f"{what}: {len(valid)} messages alike to the last bit; the driver is stuck or the marker hidden"
        )
    mean: Float[ndarray, "3"] = valid.mean(axis=0)
    half = len(valid) // 2
    drift_m = float(np.linalg.norm(valid[:half].mean(axis=0) - valid[half:].mean(axis=0))) * unit_m
    noise_m = float(np.sqrt(np.mean(np.sum((valid - mean) ** 2, axis=-1)))) * unit_m
    if drift_m > DRIFT_LIMIT_M:
        raise InputError(f"{what}: moved by {drift_m * 1e3:.1f} mm during the capture; stand still")
    if noise_m > NOISE_LIMIT_M:
        raise InputError(
            f"{what}: shakes by {noise_m * 1e3:.1f} mm, more than {NOISE_LIMIT_M * 1e3:.0f} mm; hold it still"
        )
    return mean, noise_m
