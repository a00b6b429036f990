"""What `sgp calibrate` makes of noise and of bad points, as Markdown tables: `python benchmarks/calibration.py`."""

from __future__ import annotations

import numpy as np

from sgp_core.calibration import calibrate
from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout
from sgp_core.layout_measurement import measure_layout
from sgp_core.marker_tracks import Sample, tracks_of
from sgp_core.matched_points import MatchedPoints
from sgp_core.share import share_path

SEEDS = 200
TOOL_M = 0.02
TABLE_FROM_BASE = Transform.from_numbers((0.0, 0.0, 0.3, 0.0, 0.0, 0.0))
TABLE_FROM_MOCAP = Transform.from_numbers((1.0, -2.0, 0.4, np.pi / 2, 0.02, 0.7))
LIFTED = (0.6, 0.05, 0.12)
PLACES = {
    "4": [(0.35, -0.25), (0.9, -0.25), (0.9, 0.25), (0.35, 0.25)],
    "5 + 1 lifted": [(0.35, -0.25), (0.9, -0.25), (0.9, 0.25), (0.35, 0.25), (0.6, 0.0), LIFTED],
    "9 + 1 lifted": [(x, y) for x in (0.35, 0.62, 0.9) for y in (-0.25, 0.0, 0.25)] + [LIFTED],
}
# Where the box is pushed about, at the height of its markers.
BOX = np.array([(x, y, 0.04) for x in (0.35, 0.9) for y in (-0.3, 0.3)] + [(0.6, 0.0, 0.04)])
BOX_AT = (0.6, 0.0, 0.0)


def matched(name: str, noise_m: float, draw: np.random.Generator) -> MatchedPoints:
    table = np.array([(*place, TOOL_M)[:3] for place in PLACES[name]])
    mocap = TABLE_FROM_MOCAP.inverse().apply(table) + draw.normal(0.0, noise_m, table.shape)
    return MatchedPoints(mocap_m=mocap, base_m=TABLE_FROM_BASE.inverse().apply(table))


def head(*columns: str) -> None:
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")


def row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |")


def noise_table() -> None:
    errors_at = "error at the box, mean; max (mm)"
    head("points", "noise (mm)", "residual rms (mm)", "largest (mm)", errors_at, f"refused of {SEEDS}")
    for name in PLACES:
        for noise_mm in (0.1, 0.3, 1.0, 3.0):
            rms, largest, errors, refused = [], [], [], 0
            for seed in range(SEEDS):
                points = matched(name, noise_mm * 1e-3, np.random.default_rng(seed))
                try:
                    found = calibrate(points, tool_height_m=TOOL_M)
                except InputError:
                    refused += 1
                    continue
                rms.append(found.rms_m * 1e3)
                largest.append(found.residuals_m.max() * 1e3)
                made = found.table_from_mocap.apply(TABLE_FROM_MOCAP.inverse().apply(BOX))
                errors.append(np.linalg.norm((made - BOX)[:, :2], axis=-1).max() * 1e3)
            shown = (np.mean(rms), np.mean(largest), np.mean(errors), np.max(errors)) if rms else (np.nan,) * 4
            row(name, f"{noise_mm:g}", *(f"{v:.2f}" for v in shown[:2]), f"{shown[2]:.2f}; {shown[3]:.2f}", refused)


def bad_point_table() -> None:
    let_pass = "error at the box if let pass, max (mm)"
    head("points", "one point off by (mm)", "refused", "of these named rightly", "named wrongly", let_pass)
    for name in PLACES:
        for off_mm in (3.0, 5.0, 10.0, 30.0):
            refused, right, wrong, errors = 0, 0, 0, [0.0]
            for seed in range(SEEDS):
                draw = np.random.default_rng(seed)
                points = matched(name, 3e-4, draw)
                bad, way = int(draw.integers(len(points))), draw.normal(size=3)
                points.mocap_m[bad] += off_mm * 1e-3 * way / np.linalg.norm(way)
                try:
                    found = calibrate(points, tool_height_m=TOOL_M).table_from_mocap
                except InputError as error:
                    refused += 1
                    right += f"Suspect is point {bad + 1}:" in str(error)
                    wrong += "Suspect is" in str(error) and f"Suspect is point {bad + 1}:" not in str(error)
                else:
                    made = found.apply(TABLE_FROM_MOCAP.inverse().apply(BOX))
                    errors.append(np.linalg.norm((made - BOX)[:, :2], axis=-1).max() * 1e3)
            named = (f"{count / max(refused, 1):.0%}" for count in (right, wrong))
            row(name, f"{off_mm:g}", f"{refused / SEEDS:.0%}", *named, f"{max(errors):.1f}")


def recorded(layout: MarkerLayout, noise_m: float, hidden: float, swapped: float, seed: int) -> list[Sample]:
    """Two seconds at rest, six moved about, 100 Hz."""
    draw, samples = np.random.default_rng(seed), []
    for frame in range(800):
        phase = max(0.0, frame / 100.0 - 2.0)
        pose = BOX_AT + np.array([0.1, 0.1, 0.8]) * np.sin(np.array([1.0, 0.7, 0.9]) * phase)
        markers = layout.markers_at(*pose) + draw.normal(0.0, noise_m, (layout.count, 2))
        if draw.random() < swapped:
            markers[[0, 3]] = markers[[3, 0]]
        for name, (x, y) in zip(layout.names, markers, strict=True):
            if draw.random() >= hidden:
                samples.append(Sample(stamp_s=frame / 100.0, name=name, position_m=(float(x), float(y), 0.0)))
    return samples


def layout_table() -> None:
    layout = MarkerLayout.load(share_path("config", "layout.yaml"))
    sizes = {"box_size_m": layout.box_size_m, "pusher_radius_m": layout.pusher_radius_m}
    error = "place error, mean; max (mm)"
    head("noise (mm)", "hidden", "swapped frames", error, "rigid within (mm, rms)", "refused of 10")
    for noise_mm in (0.1, 0.3, 1.0, 3.0):
        for hidden, swapped in ((0.0, 0.0), (0.2, 0.05)):
            errors, rigid, refused = [], [], 0
            for seed in range(10):
                try:
                    tracks = tracks_of(recorded(layout, noise_mm * 1e-3, hidden, swapped, seed))
                    found = measure_layout(tracks, box_at=BOX_AT, **sizes)
                except InputError:
                    refused += 1
                    continue
                errors.append(np.linalg.norm(found.layout.places - layout.places, axis=-1) * 1e3)
                rigid.append(found.rigidity_m.mean() * 1e3)
            shown = (np.mean(errors), np.max(errors), np.mean(rigid)) if errors else (np.nan,) * 3
            cells = (f"{noise_mm:g}", f"{hidden:.0%}", f"{swapped:.0%}", f"{shown[0]:.3f}; {shown[1]:.3f}")
            row(*cells, f"{shown[2]:.2f}", refused)


if __name__ == "__main__":
    for table in (noise_table, bad_point_table, layout_table):
        table()
        print()
