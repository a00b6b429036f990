"""Where the mocap system and the arm's base stand, seen from the table: a rigid fit of matched points.

The arm slides its tool over the table at pushing height; the mocap system sees the pusher's marker at the same places.
The fit gives `base_from_mocap`, the plane of the arm's points gives the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_core.matched_points import MatchedPoints
from sgp_core.rigid_fit import LEAST_WIDTH_M, RESIDUAL_LIMIT_M, fit_points

PLANE_TOLERANCE_M = 0.005  # a tool put down by hand is not at the same height everywhere
LIFTED_M = 0.02  # above the plane: lifted on purpose
STEEP_RAD = np.radians(60.0)
SLANT_RAD = np.radians(3.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameCalibration:
    """Result of `calibrate`.

    Args:
        table_from_mocap: place of the mocap frame in the table frame.
        table_from_base: place of the arm's base in the table frame.
        residuals_m: distance of each mocap point from the arm's, after the fit (K,) [m].
        lifted: (K,) true for points above the pushing plane, which tell up from down and a mirrored system.
        flatness_m: largest distance of a point that is not lifted from the plane [m].
        scale: distances of the mocap system over those of the arm; 1 when both measure well.
        warnings: what a person should look at, in words.
    """

    table_from_mocap: Transform
    table_from_base: Transform
    residuals_m: Float[ndarray, "K"]
    lifted: Bool[ndarray, "K"]
    flatness_m: float
    scale: float
    warnings: tuple[str, ...]

    @property
    def rms_m(self) -> float:
        """Root mean square of the residuals [m]."""
        return float(np.sqrt(np.mean(self.residuals_m**2)))


def calibrate(
    points: MatchedPoints,
    *,
    tool_height_m: float,
    origin_m: tuple[float, float] = (0.0, 0.0),
    yaw_rad: float = 0.0,
    marker_offset_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> FrameCalibration:
    """Fit the frames to matched points.

    The table frame has z upright on the plane of the points, its surface `tool_height_m` below them; x along the
    base's x, origin below the base's, unless `origin_m` and `yaw_rad` move it.

    Args:
        points: at least four places, not on a line, 0.1 m apart.
        tool_height_m: height of the arm's reported point above the table when the points were taken [m].
        origin_m: x, y of the table's origin, from the place below the base's origin, along the base's x and y [m].
        yaw_rad: heading of the table's x axis from the base's.
        marker_offset_m: from the point that the arm reports to the marker [m; axes of the base, at the tool's
            orientation while pushing].

    Raises:
        InputError: too few points, too close together or on a line, other units, mirrored axes, a residual above
            3 mm (the suspect point is named), points that lie in no plane.
    """
    base = points.base_m + np.asarray(marker_offset_m, dtype=float)
    base_from_mocap, residuals, scale = fit_points(points.mocap_m, base)
    normal, height_m, lifted = _plane(points.base_m)
    table_from_base = _table_frame(normal, height_m, tool_height_m, origin_m, yaw_rad).inverse()
    table_from_mocap = table_from_base @ base_from_mocap
    if not lifted.any():
        _check_up(table_from_mocap)
    return FrameCalibration(
        table_from_mocap=table_from_mocap,
        table_from_base=table_from_base,
        residuals_m=residuals,
        lifted=lifted,
        flatness_m=float(np.abs(points.base_m @ normal - height_m)[~lifted].max()),
        scale=scale,
        warnings=_warnings(residuals, scale, normal),
    )


def _plane(points: Float[ndarray, "K 3"]) -> tuple[Float[ndarray, "3"], float, Bool[ndarray, "K"]]:
    """Pushing plane: upward normal, height along it [m], and which points are lifted above it.

    Most points share the plane, and no point is below it; of several such planes the one most nearly level counts.
    """
    triples = np.array(list(combinations(range(len(points)), 3)))
    a, b, c = (points[triples[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    size = np.linalg.norm(normals, axis=-1)
    wide = size > LEAST_WIDTH_M**2 / 2
    normals, a = normals[wide] / size[wide, None], a[wide]
    above = normals @ points.T - (normals * a).sum(axis=-1, keepdims=True)  # (hypotheses, K)
    on = np.abs(above) <= PLANE_TOLERANCE_M
    one_side = (above >= -PLANE_TOLERANCE_M).all(axis=1) | (above <= PLANE_TOLERANCE_M).all(axis=1)
    score = on.sum(axis=1) + 0.5 * np.abs(normals[:, 2])
    score[~one_side] = -1.0
    if not len(score) or score.max() < 0.0:
        raise InputError("the arm's points lie in no plane; take them with the tool at pushing height on the table")
    table = on[int(score.argmax())]
    centre = points[table].mean(axis=0)
    normal = np.linalg.svd(points[table] - centre)[2][2]
    above_m = (points - centre) @ normal
    lifted = np.abs(above_m) > LIFTED_M
    halfway = np.flatnonzero(~lifted & (np.abs(above_m) > PLANE_TOLERANCE_M))
    if len(halfway):
        raise InputError(
            f"point {halfway[0] + 1} is {abs(above_m[halfway[0]]) * 1e3:.0f} mm off the plane of the others; take"
            f" points at pushing height, or lifted by more than {LIFTED_M * 1e3:.0f} mm"
        )
    level = abs(float(normal[2]))
    if not lifted.any() and level < np.cos(STEEP_RAD):
        raise InputError(
            f"the base's z axis leans {np.degrees(np.arccos(level)):.0f} deg from upright: which side of the table is"
            " up cannot be told; add a point with the tool lifted by 50 mm or more"
        )
    up = above_m[lifted].sum() if lifted.any() else normal[2]
    normal = normal * np.sign(up)
    return normal, float(centre @ normal), lifted


def _table_frame(
    normal: Float[ndarray, "3"], height_m: float, tool_height_m: float, origin_m: tuple[float, float], yaw_rad: float
) -> Transform:
    """`base_from_table`."""
    ahead = np.eye(3)[0 if abs(normal[0]) < 0.9 else 1]  # a base whose x stands upright lends its y
    x = ahead - normal * (ahead @ normal)
    x /= np.linalg.norm(x)
    below = Transform(
        rotation=np.stack([x, np.cross(normal, x), normal], axis=1), translation_m=normal * (height_m - tool_height_m)
    )
    return below @ Transform.from_numbers((*origin_m, 0.0, 0.0, 0.0, yaw_rad))


def _check_up(table_from_mocap: Transform) -> None:
    """Points in one plane fit mirrored axes just as well: these show by a mocap system that stands on its head."""
    upward = table_from_mocap.rotation[2]
    axis = int(np.abs(upward).argmax())
    if upward[axis] < 0.0:
        raise InputError(
            f"the mocap's {'xyz'[axis]} axis would point down, as with mirrored axes, which points in one plane cannot"
            " tell apart; add a point with the tool lifted by 50 mm or more"
        )


def _warnings(residuals: Float[ndarray, "K"], scale: float, normal: Float[ndarray, "3"]) -> tuple[str, ...]:
    found = []
    if residuals.max() > RESIDUAL_LIMIT_M / 2:
        found.append(f"a residual of {residuals.max() * 1e3:.1f} mm: good rigs stay below 1 mm")
    if abs(scale - 1.0) > 0.01:
        found.append(f"mocap distances are {scale:.3f} times the arm's")
    lean = float(np.arccos(np.clip(abs(normal[2]), 0.0, 1.0)))
    if lean > SLANT_RAD:
        found.append(f"the table leans {np.degrees(lean):.1f} deg against the arm's base")
    if normal[2] < 0.0:
        found.append("the arm's base hangs upside down above the table")
    return tuple(found)


def calibration_yaml(calibration: FrameCalibration, header: str, base_frame: str = "") -> str:
    """Parameters for mocap_node and pusher_node, as rig.launch.py takes them with `table:=`.

    Args:
        calibration: what to write.
        header: comment lines for the top, without the #.
        base_frame: frame_id of the arm's poses; left out when empty.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for node in ("mocap_node", "pusher_node"):
        lines += ["", f"/**/{node}:", "  ros__parameters:"]
        if base_frame:
            lines += [f'    base_frame: "{base_frame}"']
        lines += [
            f"    table_from_mocap: {_numbers(calibration.table_from_mocap)}",
            f"    table_from_base: {_numbers(calibration.table_from_base)}",
        ]
    return "\n".join(lines) + "\n"


def _numbers(transform: Transform) -> str:
    # + 0.0 turns -0.0 into 0.0; a tenth of a micrometre is enough.
    return "[" + ", ".join(f"{round(number, 7) + 0.0:.7f}" for number in transform.to_numbers()) + "]"
