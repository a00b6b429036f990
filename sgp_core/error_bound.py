"""Prop. 2: a Lipschitz bound on the model's error, and how often and how tightly it holds.

e(z) <= e(z_c) + L_e ||z - z_c||, with e(z) the error of one predicted step, z_c the nearest datum and L_e estimated
from the slopes between data: their maxima over batches follow a reverse Weibull law, if there is a largest slope at
all, and its location is that slope. Distances are in normalised space, errors in metres, L_e in metres per unit of
normalised space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from sgp_core.bundle import ModelBundle
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.training import tuples_of

BATCHES = 50
PAIRED_AT_MOST = 2000  # data points that slopes are taken between: 2 million pairs
FIT_LEVEL = 0.05  # a fit that a Kolmogorov-Smirnov test refuses at this level is not used
REACH = 2.0  # nor one whose end lies so many times beyond the largest slope: that end is not in the data
NEIGHBOURS = 10  # of the local variant


@dataclass(frozen=True, kw_only=True)
class LipschitzEstimate:
    """L_e from slopes.

    Args:
        constant: the estimate: the median location of the fits that are good, or else the largest slope.
        largest: largest slope seen.
        locations: of the fits that are good, at most one per seed.
        seeds: how many ways of making batches were tried.
        p_value: median over the seeds of the Kolmogorov-Smirnov test.
    """

    constant: float
    largest: float
    locations: tuple[float, ...]
    seeds: int
    p_value: float

    @property
    def fitted(self) -> bool:
        """Whether the estimate comes from the fit; if not, the slopes show no upper end."""
        return 2 * len(self.locations) > self.seeds


@dataclass(frozen=True, kw_only=True)
class ErrorBound:
    """The bound at M tuples whose error is known, too.

    Args:
        error_m: real error, root mean square over the markers [m].
        bound_m: Prop. 2 [m].
        local_m: the same with the largest slope between z_c and its nearest data, instead of L_e [m].
        unseen_m: the same with the largest slope from data to held-out tuples of the other demonstrations [m].
        distance: to the nearest datum [normalised].
        lipschitz: the estimate, in metres per normalised unit.
        pairs: number of slopes it rests on.
    """

    error_m: Float[ndarray, "M"]
    bound_m: Float[ndarray, "M"]
    local_m: Float[ndarray, "M"]
    unseen_m: Float[ndarray, "M"]
    distance: Float[ndarray, "M"]
    lipschitz: LipschitzEstimate
    pairs: int

    def coverage(self, bound_m: Float[ndarray, "M"] | None = None) -> float:
        """Share of tuples whose error keeps to a bound, Prop. 2's when left out."""
        return float((self.error_m <= (self.bound_m if bound_m is None else bound_m)).mean())

    def looseness(self, bound_m: Float[ndarray, "M"] | None = None) -> float:
        """Median of bound over error."""
        return float(np.median((self.bound_m if bound_m is None else bound_m) / np.maximum(self.error_m, 1e-9)))


def model_errors(bundle: ModelBundle, data: Transitions) -> Float[ndarray, "M"]:
    """e(x, u) = ||f - f_theta||, root mean square over the markers [m], of one step from each row."""
    with torch.no_grad():
        found = bundle.dynamics(torch.from_numpy(data.x).float(), torch.from_numpy(data.u).float()).numpy()
    off = data.layout.markers(found.astype(float)) - data.layout.markers(data.x_next)
    return np.sqrt((off**2).sum(axis=-1).mean(axis=-1))


def lipschitz_estimate(slopes: Float[ndarray, "K"], seed: int = 0, seeds: int = 5) -> LipschitzEstimate:
    """Extreme-value estimate of the largest slope there can be.

    Args:
        slopes: |e_i - e_j| / ||z_i - z_j|| of pairs, at least one for each of the 50 batches.
        seed: of the first way to make batches.
        seeds: ways to make batches; their spread tells how sure the estimate is.

    Raises:
        InputError: too few slopes.
    """
    from scipy import stats  # here: it takes half a second, which every other command would have to wait for

    if len(slopes) < BATCHES:
        raise InputError(f"{len(slopes)} slopes between data are too few, {BATCHES} are needed; record more")
    largest, p_values, locations = float(slopes.max()), [], []
    for k in range(seed, seed + seeds):
        # Each slope in one batch only: drawn with repetition, the same maximum would come again and again.
        shuffled = np.random.default_rng(k).permutation(slopes)
        maxima = np.array([batch.max() for batch in np.array_split(shuffled, BATCHES)])
        fit = stats.weibull_max.fit(maxima / largest)
        p_values.append(float(stats.kstest(maxima / largest, "weibull_max", fit).pvalue))
        if p_values[-1] >= FIT_LEVEL and 1.0 <= fit[1] <= REACH:
            locations.append(float(fit[1]) * largest)
    fitted = 2 * len(locations) > seeds
    return LipschitzEstimate(
        constant=float(np.median(locations)) if fitted else largest,
        largest=largest,
        locations=tuple(locations),
        seeds=seeds,
        p_value=float(np.median(p_values)),
    )


def bound_between(
    z_known: Float[ndarray, "K n"],
    e_known: Float[ndarray, "K"],
    z: Float[ndarray, "M n"],
    e: Float[ndarray, "M"],
    group: ndarray,
    seed: int = 0,
) -> ErrorBound:
    """Estimate L_e from points of known error, and try the bound at others.

    Slopes count between points that are as far apart as those at which the bound is used: from the 5 % quantile of the
    distances of z to their nearest points, because from a thousandth of that a slope is measurement noise alone, to the
    largest of them, because the constant of Prop. 2 is a local one.

    Args:
        z_known: the data, normalised.
        e_known: the model's error there [m].
        z: where the bound is tried, normalised.
        e: the error there [m].
        group: demonstration of each z.
        seed: of batches and, where there are more than 2000 data, of the choice among them.
    """
    tree = cKDTree(z_known)
    distance, nearest = tree.query(z)
    low, high = max(float(np.quantile(distance, 0.05)), 1e-9), float(distance.max())
    chosen = np.random.default_rng(seed).permutation(len(z_known))[:PAIRED_AT_MOST]
    apart, rise = pdist(z_known[chosen]), pdist(e_known[chosen, None])
    used = (apart >= low) & (apart <= high)
    lipschitz = lipschitz_estimate(rise[used] / apart[used], seed)
    near, index = tree.query(z_known[nearest], k=min(NEIGHBOURS + 1, len(z_known)))
    local = (np.abs(e_known[index] - e_known[nearest, None]) / np.maximum(near, low)).max(axis=1)
    slope = np.maximum(e - e_known[nearest], 0.0) / np.maximum(distance, low)
    largest = {g: slope[group != g].max(initial=0.0) for g in np.unique(group)}
    base = e_known[nearest]
    return ErrorBound(
        error_m=e,
        bound_m=base + lipschitz.constant * distance,
        local_m=base + local * distance,
        unseen_m=base + np.array([largest[g] for g in group]) * distance,
        distance=distance,
        lipschitz=lipschitz,
        pairs=int(used.sum()),
    )


def error_bound(bundle: ModelBundle, known: Transitions, unknown: Transitions, seed: int = 0) -> ErrorBound:
    """The bound of a bundle: L_e from `known`, tried on `unknown`, which are other demonstrations."""
    z_known, z = (tuples_of(data, bundle.normalizer).double().numpy() for data in (known, unknown))
    errors = model_errors(bundle, known), model_errors(bundle, unknown)
    return bound_between(z_known, errors[0], z, errors[1], unknown.demonstration, seed)
