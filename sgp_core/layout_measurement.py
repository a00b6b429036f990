"""The marker layout from a box at rest and then moved by hand: a rigid shape that all frames agree on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import yaml
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout, rotation, wrap_angle
from sgp_core.look_alike import look_alike
from sgp_core.marker_tracks import MarkerTracks
from sgp_core.procrustes import placed_at, refine, shape_of

RIGID_LIMIT_M = 0.003
LEAST_FRAMES = 30
DROPPED_LIMIT = 0.2  # fraction of frames that may be bad: a swap or a hand in the view
REST_M = 0.002
LEAST_REST_S = 0.3
LEAST_WAY_M = 0.05
LEAST_TURN_RAD = 0.2
LOOK_ALIKE_M = 0.010  # twice the estimator's rigid tolerance: labels could then be taken for each other
FARTHEST_M = 2.0
MEND = "fix it to the box, check that its name stays with it and that no reflection is taken for it, and record again"


@dataclass(frozen=True, kw_only=True, eq=False)
class LayoutMeasurement:
    """Result of `measure_layout`.

    Args:
        layout: names and places of the markers.
        rigidity_m: root mean square distance of each marker from the rigid layout (N,) [m].
        frames: frames used.
        dropped: frames left out because their markers did not fit.
        way_m: how far the box was moved [m].
        turned_rad: how far it was turned.
        warnings: what a person should look at, in words.
    """

    layout: MarkerLayout
    rigidity_m: Float[ndarray, "N"]
    frames: int
    dropped: int
    way_m: float
    turned_rad: float
    warnings: tuple[str, ...]


def measure_layout(
    tracks: MarkerTracks,
    *,
    box_size_m: tuple[float, float, float],
    pusher_radius_m: float,
    box_at: tuple[float, float, float] | None = None,
) -> LayoutMeasurement:
    """Fit one rigid layout to all frames.

    Args:
        tracks: the box at rest for a moment, then moved and turned by hand, flat on the table.
        box_size_m: length along x, y, z [m; box frame].
        pusher_radius_m: radius of the pusher [m].
        box_at: x [m], y [m], yaw [rad; table] of the box while at rest. Without it the origin of the box frame is the
            middle of the markers, its axes those of the table while at rest.

    Raises:
        InputError: fewer than three markers, too few frames, millimetres, a marker that is not rigid with the others
            (it is named), a box that does not rest at the beginning.
    """
    positions = tracks.positions_m
    _check_tracks(tracks)
    apart = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)  # (F, N, N)
    usual = _usual(apart, tracks.names)
    off = np.abs(apart - usual)
    fits = ~(off > 2.0 * RIGID_LIMIT_M).any(axis=(1, 2))
    seen = np.isfinite(positions[..., 0])
    used = fits & (seen.sum(axis=1) >= 3)
    dropped = int((~fits).sum())
    if dropped > DROPPED_LIMIT * len(fits):
        raise InputError(_not_rigid(off, tracks.names, dropped))
    shape = shape_of(usual, positions[used])
    shape, poses = refine(shape, positions[used])
    errors = np.linalg.norm(placed_at(shape, poses) - positions[used], axis=-1)
    worst_m = np.nanpercentile(errors, 95, axis=0)
    if worst_m.max() > RIGID_LIMIT_M:
        raise InputError(
            f"the markers are not rigid: {tracks.names[int(worst_m.argmax())]} is {worst_m.max() * 1e3:.1f} mm off the"
            f" others' layout, allowed are {RIGID_LIMIT_M * 1e3:.0f} mm; {MEND}"
        )
    rest = _rest(poses, tracks.stamp_s[used])
    places = _in_box(shape, poses[rest], box_at)
    layout = MarkerLayout(
        names=tracks.names,
        places_m=tuple((round(float(x), 5), round(float(y), 5)) for x, y in places),
        box_size_m=box_size_m,
        pusher_radius_m=pusher_radius_m,
    )
    way_m = float(np.linalg.norm(poses[:, :2] - poses[0, :2], axis=-1).max())
    turned_rad = float(np.abs([wrap_angle(yaw - poses[0, 2]) for yaw in poses[:, 2]]).max())
    return LayoutMeasurement(
        layout=layout,
        rigidity_m=np.sqrt(np.nanmean(errors**2, axis=0)),
        frames=int(used.sum()),
        dropped=dropped,
        way_m=way_m,
        turned_rad=turned_rad,
        warnings=_warnings(layout, way_m, turned_rad, box_at is not None),
    )


def _check_tracks(tracks: MarkerTracks) -> None:
    positions, count = tracks.positions_m, len(tracks.names)
    if count < 3:
        raise InputError(f"{count} markers cannot show that they are rigid; three at least, five are better")
    if len(positions) < LEAST_FRAMES:
        raise InputError(f"{len(positions)} frames are too few, {LEAST_FRAMES} are needed; record some seconds")
    share = np.isfinite(positions[..., 0]).mean(axis=0)
    if share.min() < 0.2:
        name = tracks.names[int(share.argmin())]
        raise InputError(f"marker {name} was seen in {share.min():.0%} of the frames only; turn it to the cameras")
    size = float(np.nanmax(np.ptp(positions, axis=1)))
    if size > FARTHEST_M:
        raise InputError(f"the markers are {size:.0f} m apart; is that millimetres? Set unit_m: 0.001")


def _usual(apart: Float[ndarray, "F N N"], names: tuple[str, ...]) -> Float[ndarray, "N N"]:
    """Median distance of each pair of markers: whatever the box does, and though some frames are wrong."""
    together = np.isfinite(apart).sum(axis=0)
    if together.min() < LEAST_FRAMES // 3:
        i, j = np.unravel_index(int(together.argmin()), together.shape)
        raise InputError(
            f"markers {names[i]} and {names[j]} were seen together {together.min()} times only; record again"
        )
    usual: Float[ndarray, "N N"] = np.nanmedian(apart, axis=0)
    return usual


def _not_rigid(off: Float[ndarray, "F N N"], names: tuple[str, ...], dropped: int) -> str:
    """Words for markers that move against each other; the one without which the others are rigid is named."""
    bad = off > 2.0 * RIGID_LIMIT_M  # false for NaN, that is, for hidden ones
    left = [np.delete(np.delete(bad, n, axis=1), n, axis=2).any(axis=(1, 2)).mean() for n in range(len(names))]
    suspect = int(np.argmin(left))
    moves_mm = float(np.nanpercentile(off[:, suspect], 95)) * 1e3
    limit_mm = 2.0 * RIGID_LIMIT_M * 1e3
    text = (
        f"the markers are not rigid: in {dropped} of {len(off)} frames a distance between two of them is off by more"
        f" than {limit_mm:.0f} mm"
    )
    if left[suspect] <= DROPPED_LIMIT:
        return f"{text}. {names[suspect]} moves by {moves_mm:.0f} mm against the others: {MEND}"
    return (
        f"{text}, and no single marker explains it; was the box tilted or lifted, do the names stay with the markers?"
    )


def _rest(poses: Float[ndarray, "F 3"], stamp_s: Float[ndarray, "F"]) -> slice:
    """The frames before the box is moved."""
    moved = np.linalg.norm(poses[:, :2] - np.median(poses[:10, :2], axis=0), axis=-1)
    turned = np.abs(np.sin(poses[:, 2] - poses[0, 2])) * LEAST_WAY_M
    away = np.flatnonzero(np.maximum(moved, turned) > REST_M)
    end = int(away[0]) if len(away) else len(poses)
    if end < 5 or stamp_s[end - 1] - stamp_s[0] < LEAST_REST_S:
        raise InputError(
            f"the box moves from the beginning; let it stand for {LEAST_REST_S:g} s and more, then move it"
        )
    return slice(0, end)


def _in_box(
    shape: Float[ndarray, "N 2"], rest: Float[ndarray, "R 3"], box_at: tuple[float, float, float] | None
) -> Float[ndarray, "N 2"]:
    """The shape in the box frame."""
    yaw = float(np.arctan2(np.sin(rest[:, 2]).mean(), np.cos(rest[:, 2]).mean()))
    at_rest = shape @ rotation(yaw).T + rest[:, :2].mean(axis=0)
    x, y, box_yaw = box_at or (*at_rest.mean(axis=0), 0.0)
    return (at_rest - np.array([x, y])) @ rotation(box_yaw)


def _warnings(layout: MarkerLayout, way_m: float, turned_rad: float, centred: bool) -> tuple[str, ...]:
    found = []
    if way_m < LEAST_WAY_M or turned_rad < LEAST_TURN_RAD:
        found.append(
            f"the box was moved by {way_m * 1e3:.0f} mm and {np.degrees(turned_rad):.0f} deg only: a loose marker may"
            " not show; move it by 100 mm and turn it by 45 deg"
        )
    if not centred:
        found.append(
            "origin and axes of the box are those of its markers and of the table at rest; give --box-at x,y,yaw for a"
            " pose of the box that means its middle"
        )
    outside = np.abs(layout.places) - np.asarray(layout.box_size_m[:2]) / 2.0
    if outside.max() > 0.01:
        name = layout.names[int(outside.max(axis=1).argmax())]
        found.append(f"{name} is {outside.max() * 1e3:.0f} mm outside the box; check --box-at and the size of the box")
    turn, worst_m = look_alike(layout)
    if worst_m < LOOK_ALIKE_M:
        found.append(
            f"turned by {np.degrees(turn):.0f} deg the markers look alike within {worst_m * 1e3:.1f} mm: swapped labels"
            " cannot be told from a turned box; move a marker by 20 mm"
        )
    return tuple(found)


def layout_yaml(layout: MarkerLayout, header: str) -> str:
    """The layout as a file for `layout:=` and `--layout`; the header without the #."""
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    return "\n".join(lines) + "\n" + yaml.safe_dump(layout.to_dict(), sort_keys=False, default_flow_style=None)
