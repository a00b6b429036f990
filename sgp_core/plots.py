"""The picture of one run, seen from above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, Polygon
from numpy import ndarray

from sgp_core.layout import MarkerLayout, rotation

INK, MUTED, GRID = "#1f2933", "#66727f", "#e6eaee"
BOX, GOAL, PUSHER = "#2463a8", "#2e8b57", "#d1570b"
OUTLINES = 9  # between start and end
MARGIN_M = 0.03
DPI = 160


def trajectory_figure(
    layout: MarkerLayout,
    *,
    box_poses: Float[ndarray, "M 3"],
    pusher_m: Float[ndarray, "K 2"],
    goal: tuple[float, float, float],
    title: str,
    subtitle: str,
) -> Figure:
    """Top view of a run: the box from start (pale) to end (filled), its markers' ways, the pusher's way, the goal.

    Args:
        layout: markers, box size and pusher radius.
        box_poses: x [m], y [m], yaw [rad; table] over time, evenly sampled, at least one.
        pusher_m: pusher positions over time [m; table], at least one.
        goal: x [m], y [m], yaw [rad; table] of the box.
        title: one line above the picture.
        subtitle: a second, quieter line.
    """
    corners = np.concatenate([outline(layout, pose) for pose in (*box_poses[:: max(1, len(box_poses) // 50)], goal)])
    reach = np.concatenate([corners, pusher_m - layout.pusher_radius_m, pusher_m + layout.pusher_radius_m])
    low, high = reach.min(axis=0) - MARGIN_M, reach.max(axis=0) + MARGIN_M
    width_in = 8.0
    height_in = width_in * 0.9 * (high[1] - low[1]) / (high[0] - low[0]) + 1.75
    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    # Title and legend take fixed heights; the picture takes the rest.
    bottom, top = 1.0 / height_in, 1.0 - 0.7 / height_in
    axes = figure.add_axes((0.09, bottom, 0.89, top - bottom))
    _style(axes, low, high)
    _draw_box(axes, layout, box_poses)
    _draw_goal(axes, layout, goal)
    _draw_pusher(axes, layout.pusher_radius_m, pusher_m)
    figure.text(0.09, 1.0 - 0.30 / height_in, title, color=INK, fontsize=13, fontweight="bold", va="center")
    figure.text(0.09, 1.0 - 0.53 / height_in, subtitle, color=MUTED, fontsize=9.5, va="center")
    figure.legend(
        handles=_legend(), loc="lower center", ncols=5, frameon=False, fontsize=9, labelcolor=INK, handlelength=1.8
    )
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG; needs no display and no global state."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI)


def draw_outline(
    axes: Axes,
    layout: MarkerLayout,
    pose: tuple[float, float, float],
    colour: str,
    *,
    alpha: float = 1.0,
    dashed: bool = False,
) -> None:
    """The box seen from above at a pose [m, rad; table]."""
    style = (0, (4, 2.5)) if dashed else "solid"
    axes.add_patch(
        Polygon(
            outline(layout, pose), fill=False, edgecolor=colour, alpha=alpha, linewidth=1.2, linestyle=style, zorder=4
        )
    )


def quiet(axes: Axes, x: str, y: str, title: str = "") -> None:
    """Labels, and as little else as can be, for one diagram of several."""
    axes.set_title(title, color=INK, fontsize=9)
    axes.set_xlabel(x, color=MUTED, fontsize=8)
    axes.set_ylabel(y, color=MUTED, fontsize=8)
    axes.tick_params(colors=MUTED, labelsize=7)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)


def _style(axes: Axes, low: Float[ndarray, "2"], high: Float[ndarray, "2"]) -> None:
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="x [m]", ylabel="y [m]")
    axes.set_aspect("equal", adjustable="box")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.locator_params(nbins=8)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_box(axes: Axes, layout: MarkerLayout, poses: Float[ndarray, "M 3"]) -> None:
    tracks = np.stack([layout.markers_at(*pose) for pose in poses])  # (M, N, 2)
    for n in range(layout.count):
        axes.plot(*tracks[:, n].T, color=BOX, linewidth=0.7, alpha=0.35, zorder=2)
    shown = _evenly_along_the_way(poses, OUTLINES)
    for age, index in zip(np.linspace(0.15, 0.7, len(shown)), shown, strict=True):
        axes.add_patch(
            Polygon(outline(layout, poses[index]), fill=False, edgecolor=BOX, alpha=age, linewidth=1.1, zorder=3)
        )
    axes.add_patch(Polygon(outline(layout, poses[-1]), facecolor=BOX, edgecolor="none", alpha=0.16, zorder=3))
    axes.add_patch(Polygon(outline(layout, poses[-1]), fill=False, edgecolor=BOX, linewidth=2.0, zorder=5))
    axes.scatter(tracks[0, :, 0], tracks[0, :, 1], s=9, color=BOX, alpha=0.3, linewidths=0, zorder=4)
    axes.scatter(tracks[-1, :, 0], tracks[-1, :, 1], s=24, color=BOX, edgecolors="white", linewidths=0.8, zorder=7)


def _draw_goal(axes: Axes, layout: MarkerLayout, goal: tuple[float, float, float]) -> None:
    axes.add_patch(
        Polygon(outline(layout, goal), fill=False, edgecolor=GOAL, linewidth=1.8, linestyle=(0, (4, 2.5)), zorder=6)
    )
    x_m, y_m = layout.markers_at(*goal).T
    axes.scatter(x_m, y_m, s=60, marker="o", facecolors="none", edgecolors=GOAL, linewidths=1.2, zorder=6)


def _draw_pusher(axes: Axes, radius_m: float, pusher_m: Float[ndarray, "K 2"]) -> None:
    parts = np.stack([pusher_m[:-1], pusher_m[1:]], axis=1)
    fade = np.linspace(0.35, 1.0, len(parts))
    colors = [(*_rgb(PUSHER), float(alpha)) for alpha in fade]
    axes.add_collection(LineCollection(list(parts), colors=colors, linewidths=2.0, capstyle="round", zorder=8))
    axes.add_patch(
        Circle(tuple(pusher_m[0]), radius_m, fill=False, edgecolor=PUSHER, alpha=0.4, linestyle=":", zorder=4)
    )
    axes.add_patch(Circle(tuple(pusher_m[-1]), radius_m, facecolor=PUSHER, edgecolor="none", alpha=0.15, zorder=4))
    axes.add_patch(Circle(tuple(pusher_m[-1]), radius_m, fill=False, edgecolor=PUSHER, linewidth=1.4, zorder=8))


def _legend() -> list[Line2D | Patch]:
    return [
        Patch(facecolor=(*_rgb(BOX), 0.16), edgecolor=BOX, linewidth=1.6, label="box, pale to dark over time"),
        Line2D([], [], color=BOX, marker="o", markersize=5, markeredgecolor="white", linestyle="none", label="markers"),
        Line2D([], [], color=GOAL, linewidth=1.8, linestyle=(0, (3, 1.5)), label="goal"),
        Line2D([], [], color=PUSHER, linewidth=2.0, label="pusher's way"),
        Line2D(
            [],
            [],
            color=PUSHER,
            marker="o",
            markersize=9,
            markeredgecolor=PUSHER,
            markerfacecolor=(*_rgb(PUSHER), 0.15),
            linestyle="none",
            label="pusher",
        ),
    ]


def outline(layout: MarkerLayout, pose: tuple[float, float, float] | ndarray) -> Float[ndarray, "4 2"]:
    """Corners of the box seen from above [m; table]."""
    half = np.asarray(layout.box_size_m[:2]) / 2.0
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    return corners @ rotation(float(pose[2])).T + np.asarray(pose[:2], dtype=float)


def _evenly_along_the_way(poses: Float[ndarray, "M 3"], count: int) -> list[int]:
    """Indices of poses equally far apart: those of a box at rest would only lie on top of each other."""
    # A turn by one radian counts like the 0.1 m that a corner moves with it.
    moved = np.linalg.norm(np.diff(poses * np.array([1.0, 1.0, 0.1]), axis=0), axis=-1)
    way = np.concatenate([[0.0], np.cumsum(moved)])
    wanted = np.linspace(0.0, way[-1], count + 1)[:-1]
    return sorted({int(np.searchsorted(way, w)) for w in wanted})


def _rgb(color: str) -> tuple[float, float, float]:
    return int(color[1:3], 16) / 255.0, int(color[3:5], 16) / 255.0, int(color[5:7], 16) / 255.0
