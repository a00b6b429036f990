"""A rigid fit of points seen by two systems, and words for points that cannot give a good one."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.frames import Transform

LEAST_POINTS = 4
RESIDUAL_LIMIT_M = 0.003
LEAST_SPREAD_M = 0.10
LEAST_WIDTH_M = 0.05
SAME_PLACE_M = 0.01
MILLIMETRES = 1000.0
FARTHEST_M = 20.0


def fit_points(
    mocap_m: Float[ndarray, "K 3"], base_m: Float[ndarray, "K 3"]
) -> tuple[Transform, Float[ndarray, "K"], float]:
    """`base_from_mocap`, the residual of each point [m], and mocap distances over the arm's.

    Raises:
        InputError: too few points, too close together or on a line, other units, mirrored axes, a residual above
            3 mm (the suspect point is named).
    """
    scale = _check_points(mocap_m, base_m)
    base_from_mocap = fit_rigid(mocap_m, base_m)
    residuals = np.linalg.norm(base_from_mocap.apply(mocap_m) - base_m, axis=-1)
    if residuals.max() > RESIDUAL_LIMIT_M:
        raise InputError(_why_not(mocap_m, base_m, residuals, scale))
    return base_from_mocap, residuals, scale


def fit_rigid(a_m: Float[ndarray, "K 3"], b_m: Float[ndarray, "K 3"], *, mirrored: bool = False) -> Transform:
    """Least-squares `b_from_a` (Kabsch): a rotation, never a reflection, unless `mirrored` asks for one."""
    a_mean, b_mean = a_m.mean(axis=0), b_m.mean(axis=0)
    u, _, vt = np.linalg.svd((a_m - a_mean).T @ (b_m - b_mean))
    sign = np.sign(np.linalg.det(vt.T @ u.T)) * (-1.0 if mirrored else 1.0)
    rotation = vt.T @ np.diag([1.0, 1.0, sign]) @ u.T
    return Transform(rotation=rotation, translation_m=b_mean - rotation @ a_mean)


def _worst_m(a: Float[ndarray, "K 3"], b: Float[ndarray, "K 3"], mirrored: bool = False) -> float:
    return float(np.linalg.norm(fit_rigid(a, b, mirrored=mirrored).apply(a) - b, axis=-1).max())


def _check_points(mocap: Float[ndarray, "K 3"], base: Float[ndarray, "K 3"]) -> float:
    """Number, units and spread; returns mocap distances over the arm's."""
    if len(mocap) < LEAST_POINTS:
        raise InputError(f"{len(mocap)} points are too few; capture at least {LEAST_POINTS}, spread over the table")
    i, j = np.triu_indices(len(mocap), 1)
    apart = {"mocap": np.linalg.norm(mocap[i] - mocap[j], axis=-1), "arm": np.linalg.norm(base[i] - base[j], axis=-1)}
    # The median is not moved by one bad point. Points at rest in one system have no distance to compare.
    scale = float(np.median(apart["mocap"]) / max(float(np.median(apart["arm"])), 1e-9))
    if 0.3 * MILLIMETRES < scale < 3.0 * MILLIMETRES:
        raise InputError(
            f"the mocap points are {scale:.0f} times as far apart as the arm's: they are in millimetres; give --unit-m"
            " 0.001 here, and set unit_m: 0.001 in the parameters of mocap_node"
        )
    if 0.3 / MILLIMETRES < scale < 3.0 / MILLIMETRES:
        raise InputError(
            f"the arm's points are {1.0 / scale:.0f} times as far apart as the mocap's: they are in millimetres;"
            " base_x, base_y and base_z must be metres"
        )
    if max(a.max() for a in apart.values()) > FARTHEST_M:
        raise InputError(
            f"points are {max(a.max() for a in apart.values()):.0f} m apart; both systems seem to give millimetres,"
            " metres are needed"
        )
    for name, points in (("mocap", mocap), ("arm", base)):
        near = int(apart[name].argmin())
        if _places(points) < LEAST_POINTS:
            raise InputError(
                f"the {name} points are {_places(points)} different places, {LEAST_POINTS} are needed: points"
                f" {i[near] + 1} and {j[near] + 1} are {apart[name][near] * 1e3:.1f} mm apart; does its topic follow"
                " the tool?"
            )
        spread = points - points.mean(axis=0)
        along = np.ptp(spread @ np.linalg.svd(spread, full_matrices=False)[2].T, axis=0)
        if along[0] < LEAST_SPREAD_M:
            raise InputError(
                f"the {name} points spread over {along[0] * 1e3:.0f} mm only; at least {LEAST_SPREAD_M * 1e3:.0f} mm"
                " are needed, better the whole workspace"
            )
        if along[1] < LEAST_WIDTH_M:
            raise InputError(
                f"the {name} points lie on a line ({along[0] * 1e3:.0f} mm long, {along[1] * 1e3:.0f} mm wide); add"
                f" points at least {LEAST_WIDTH_M * 1e3:.0f} mm beside it"
            )
    return scale


def _places(points: Float[ndarray, "K 3"]) -> int:
    """Number of places at least 10 mm apart."""
    kept: list[ndarray] = []
    for point in points:
        if all(np.linalg.norm(point - other) >= SAME_PLACE_M for other in kept):
            kept.append(point)
    return len(kept)


def _why_not(
    mocap: Float[ndarray, "K 3"], base: Float[ndarray, "K 3"], residuals: Float[ndarray, "K"], scale: float
) -> str:
    """Words for a fit above the limit: mirrored, one bad point, wrong scale, or none of these."""
    limit_mm, worst = RESIDUAL_LIMIT_M * 1e3, int(residuals.argmax())
    text = f"the largest residual is {residuals[worst] * 1e3:.1f} mm (point {worst + 1}), allowed are {limit_mm:.0f} mm"
    if _worst_m(mocap, base, mirrored=True) <= RESIDUAL_LIMIT_M:
        return (
            f"{text}; the mocap axes are mirrored: they fit after a reflection. Choose right-handed axes (x, y, z) in"
            " the mocap software, or check the order of its axes"
        )
    others = [np.delete(np.arange(len(mocap)), k) for k in range(len(mocap))]
    left_m = np.array([_worst_m(mocap[rest], base[rest]) for rest in others])
    suspect = int(left_m.argmin())
    clear = np.sort(left_m)[1] > max(2.0 * left_m[suspect], RESIDUAL_LIMIT_M / 2)
    if left_m[suspect] <= RESIDUAL_LIMIT_M and clear:
        fit = fit_rigid(mocap[others[suspect]], base[others[suspect]])
        off_mm = np.linalg.norm(fit.apply(mocap[suspect]) - base[suspect]) * 1e3
        return (
            f"{text}. Suspect is point {suspect + 1}: without it the largest is {left_m[suspect] * 1e3:.1f} mm, and it"
            f" is {off_mm:.1f} mm away from where the others put it. Take its line out of the points file and capture"
            " it again"
        )
    if _worst_m(mocap / scale, base) <= RESIDUAL_LIMIT_M:
        return (
            f"{text}; mocap distances are {scale:.3f} times the arm's. Calibrate the mocap system anew, or check its"
            " scale and the arm's tool"
        )
    return (
        f"{text}, and no single point explains it. Did both topics follow the same tool, did the tool keep its"
        " orientation, does the marker sit tight? Capture the points again, standing still at each"
    )
