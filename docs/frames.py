"""Draws docs/frames.png, the frames of a rig: `python docs/frames.py`.

An oblique view, painted from back to front; lengths in metres, the table frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon
from numpy import ndarray
from scipy.spatial import ConvexHull

from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout
from sgp_core.plots import INK, MUTED, PUSHER
from sgp_core.share import share_path

OUT = Path(__file__).with_name("frames.png")
AXES = ("#c0392b", "#2e8b57", "#2463a8")  # x, y, z
TABLE_TOP = "#f1ece3"
CARTON, MARKER = "#d8b384", "#e8edf2"
ARM, ARM_DARK, STEEL = "#c9d1d9", "#8b97a3", "#5b6670"
LIGHT = np.array([-0.35, -0.45, 0.82])

TABLE = (-0.20, 1.04, -0.47, 0.47)  # x and y of its edges
WORKSPACE = (0.30, 0.95, -0.35, 0.35)
SCALE = 1.75  # of the box, so that its markers can be told apart
BOX_AT = (0.80, 0.045, 0.35)
PUSHER_AT = np.array([0.50, -0.055])
TOOL_M, COLLAR_M, WRIST_M = 0.04, 0.29, 0.45  # heights along the tool
BASE = Transform.from_numbers((-0.02, 0.31, 0.07, 0.0, 0.0, -0.25))
MOCAP = Transform.from_numbers((0.93, -0.40, 0.0, 0.0, 0.0, 1.65))
CAMERAS = ((0.10, 0.62, 0.60), (1.10, 0.40, 0.62))
EYE = np.radians((-62.0, 27.0))  # where the viewer stands: azimuth, height


class View:
    """Orthographic projection."""

    def __init__(self, azimuth: float, elevation: float) -> None:
        ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
        self.right = np.array([-sa, ca, 0.0])
        self.up = np.array([-se * ca, -se * sa, ce])
        self.towards = np.array([ce * ca, ce * sa, se])

    def __call__(self, points: Sequence[Sequence[float]] | ndarray) -> ndarray:
        """Points (..., 3) on the paper (..., 2)."""
        p = np.asarray(points, dtype=float)
        return np.stack([p @ self.right, p @ self.up], axis=-1)


VIEW = View(*EYE)


def shade(color: str, normal: ndarray) -> tuple[float, float, float]:
    """A colour in the light that falls from above."""
    rgb = np.array([int(color[k : k + 2], 16) / 255.0 for k in (1, 3, 5)])
    return tuple(np.clip(rgb * (0.80 + 0.20 * max(0.0, float(normal @ LIGHT))), 0.0, 1.0))


def face(axes: Axes, corners: ndarray, color: object, z: float, edge: str = "none", alpha: float = 1.0) -> None:
    """A flat polygon in space."""
    axes.add_patch(
        Polygon(VIEW(corners), closed=True, facecolor=color, edgecolor=edge, linewidth=0.8, zorder=z, alpha=alpha)
    )


def block(
    axes: Axes, low: Sequence[float], high: Sequence[float], color: str, z: float, place: Transform | None = None
) -> None:
    """A cuboid; only the faces that look at the viewer."""
    place = place or Transform.from_numbers((0.0,) * 6)
    low_high = np.array([low, high], dtype=float)
    for axis in range(3):
        for side in (0, 1):
            normal = np.zeros(3)
            normal[axis] = 2.0 * side - 1.0
            normal = place.rotation @ normal
            if normal @ VIEW.towards <= 0.0:
                continue
            a, b = [k for k in range(3) if k != axis]
            corners = np.zeros((4, 3))
            corners[:, axis] = low_high[side, axis]
            corners[:, a] = low_high[[0, 1, 1, 0], a]
            corners[:, b] = low_high[[0, 0, 1, 1], b]
            face(axes, place.apply(corners), shade(color, normal), z, edge="white")


def tube(axes: Axes, start: Sequence[float], end: Sequence[float], radius: float, color: str, z: float) -> None:
    """A cylinder in space, as strips that get darker round its side, and its end towards the viewer."""
    a, b = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = (b - a) / np.linalg.norm(b - a)
    u = np.cross(along, [0.0, 0.0, 1.0] if abs(along[2]) < 0.9 else [1.0, 0.0, 0.0])
    u /= np.linalg.norm(u)
    v = np.cross(along, u)
    turns = np.linspace(0.0, 2.0 * np.pi, 49)
    ring = np.outer(np.cos(turns), u) + np.outer(np.sin(turns), v)
    for first, second in pairwise(ring):
        normal = (first + second) / 2.0
        if normal @ VIEW.towards > -0.05:
            strip = np.array([a + radius * first, a + radius * second, b + radius * second, b + radius * first])
            color_here = shade(color, normal)
            axes.add_patch(Polygon(VIEW(strip), facecolor=color_here, edgecolor=color_here, linewidth=0.6, zorder=z))
    tip, normal = (b, along) if along @ VIEW.towards > 0.0 else (a, -along)
    face(axes, tip + radius * ring, shade(color, normal), z + 0.01, edge="white")


def ball(axes: Axes, centre: ndarray, radius_pt: float, z: float) -> None:
    """A marker: a small reflecting ball."""
    x, y = VIEW(centre)
    axes.scatter([x], [y], s=radius_pt**2, color=MARKER, edgecolors=INK, linewidths=0.7, zorder=z)
    axes.scatter([x - 0.0015], [y + 0.002], s=radius_pt**2 * 0.12, color="white", linewidths=0, zorder=z + 0.01)


def triad(axes: Axes, place: Transform, length: float, name: str, shift: tuple[float, float], z: float = 60.0) -> None:
    """Axes of a frame, x red, y green, z blue, and its name."""
    origin = VIEW(place.translation_m)
    for axis, color in enumerate(AXES):
        tip = VIEW(place.translation_m + length * place.rotation[:, axis])
        axes.annotate(
            "",
            xy=tip,
            xytext=origin,
            zorder=z,
            arrowprops={
                "arrowstyle": "-|>,head_length=0.5,head_width=0.22",
                "color": color,
                "linewidth": 2.4,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
        along = (tip - origin) / max(float(np.linalg.norm(tip - origin)), 1e-6)
        axes.text(
            *(tip + 0.022 * along),
            "xyz"[axis],
            color=color,
            fontsize=10,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=z + 2,
        )
    axes.scatter(*origin, s=16, color=INK, zorder=z + 1, linewidths=0)
    axes.text(
        *(origin + np.array(shift)),
        name,
        color=INK,
        fontsize=11.5,
        fontweight="bold",
        family="monospace",
        ha="center",
        va="center",
        zorder=z + 3,
        bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "#d5dbe1", "alpha": 0.92},
    )


def note(axes: Axes, text: str, at: Sequence[float], shift: tuple[float, float], ha: str = "left") -> None:
    """Words with a thin line to what they mean."""
    point = VIEW(at)
    axes.annotate(
        text,
        xy=point,
        xytext=point + np.array(shift),
        color=MUTED,
        fontsize=9.5,
        ha=ha,
        va="center",
        zorder=80,
        linespacing=1.25,
        arrowprops={"arrowstyle": "-", "color": "#9aa5b1", "linewidth": 0.9, "shrinkB": 3, "shrinkA": 2},
    )


def camera(axes: Axes, at: Sequence[float], z: float) -> None:
    """A camera that looks at the box, on a stand, with its field of view."""
    at_m, target = np.asarray(at, dtype=float), np.array([0.66, 0.0, 0.05])
    ahead = (target - at_m) / np.linalg.norm(target - at_m)
    side = np.cross(ahead, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    place = Transform(rotation=np.stack([ahead, -side, np.cross(side, ahead)], axis=1), translation_m=at_m)
    spot = target + 0.26 * np.stack([np.array([np.cos(t), np.sin(t), 0.0]) for t in np.linspace(0, 2 * np.pi, 60)])
    cone = np.vstack([at_m, spot])
    flat = VIEW(cone)
    axes.add_patch(
        Polygon(flat[ConvexHull(flat).vertices], facecolor="#e9c46a", alpha=0.10, edgecolor="none", zorder=z - 0.5)
    )
    block(axes, (-0.05, -0.03, -0.03), (0.03, 0.03, 0.03), STEEL, z, place)
    tube(axes, at_m + 0.03 * ahead, at_m + 0.055 * ahead, 0.022, INK, z + 0.02)


def draw() -> Figure:
    """The whole picture."""
    figure = Figure(figsize=(10.0, 7.1), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set(aspect="equal", xlim=(-0.56, 1.31), ylim=(-0.485, 0.84))
    axes.axis("off")
    x0, x1, y0, y1 = TABLE
    block(axes, (x0, y0, -0.045), (x1, y1, 0.0), TABLE_TOP, 1.0)
    x0, x1, y0, y1 = WORKSPACE
    edge = VIEW([[x0, y0, 0.0], [x1, y0, 0.0], [x1, y1, 0.0], [x0, y1, 0.0]])
    axes.add_patch(Polygon(edge, fill=False, edgecolor="#a79c89", linewidth=1.1, linestyle=(0, (4, 3)), zorder=2))
    for at in CAMERAS:
        camera(axes, at, 3.0)
    arm(axes)
    tool = Transform.from_numbers((*PUSHER_AT, COLLAR_M, np.pi, 0.0, 0.0))
    table = Transform.from_numbers((0.0,) * 6)
    on_box = box(axes)
    way(axes, table, MOCAP, "table_from_mocap", (-0.12, -0.055))
    way(axes, table, BASE, "table_from_base", (-0.22, 0.02))
    triad(axes, table, 0.15, "table", (-0.015, -0.05))
    triad(axes, BASE, 0.15, "base", (-0.19, 0.04))
    triad(axes, MOCAP, 0.15, "mocap", (0.02, -0.05))
    triad(axes, tool, 0.11, "tool", (-0.085, 0.035))
    triad(axes, on_box, 0.13, "box", (0.165, -0.06))
    words(axes, on_box)
    return figure


def box(axes: Axes) -> Transform:
    """The box with its markers; returns the place of the frame drawn on its top."""
    layout = MarkerLayout.load(share_path("config", "layout.yaml"))
    place = Transform.from_numbers((*BOX_AT[:2], 0.0, 0.0, 0.0, BOX_AT[2]))
    x, y, z = SCALE * np.asarray(layout.box_size_m) * np.array([0.5, 0.5, 1.0])
    outline = np.array([[-x, -y, 0.0], [x, -y, 0.0], [x, y, 0.0], [-x, y, 0.0]])
    face(axes, place.apply(outline + np.array([0.02, 0.012, 0.0])), "#000000", 4.0, alpha=0.12)
    block(axes, (-x, -y, 0.0), (x, y, z), CARTON, 20.0, place)
    top = place @ Transform.from_numbers((0.0, 0.0, z, 0.0, 0.0, 0.0))
    for marker in layout.places:
        ball(axes, top.apply(np.array([*(SCALE * marker), 0.006])), 7.5, 24.0)
    return top


def arm(axes: Axes) -> None:
    """A base on its plinth, two links, a wrist, and the pusher with its marker."""
    foot, shoulder = BASE.translation_m, BASE.translation_m + np.array([0.0, 0.0, 0.17])
    over = np.array([*PUSHER_AT, 0.0])
    wrist, collar, tip = (over + np.array([0.0, 0.0, z]) for z in (WRIST_M, COLLAR_M, TOOL_M))
    elbow = shoulder + 0.42 * (wrist - shoulder) + np.array([0.0, 0.0, 0.20])
    sideways = VIEW.towards * np.array([1.0, 1.0, 0.0]) / np.hypot(*VIEW.towards[:2])
    disc(axes, foot * np.array([1.0, 1.0, 0.0]) + np.array([0.01, 0.005, 0.0]), 0.135, 4.0)
    tube(axes, foot * np.array([1.0, 1.0, 0.0]), foot, 0.115, "#b9c2cb", 9.0)
    tube(axes, foot, foot + np.array([0.0, 0.0, 0.03]), 0.085, ARM_DARK, 10.0)
    tube(axes, foot + np.array([0.0, 0.0, 0.03]), shoulder, 0.050, ARM, 11.0)
    tube(axes, shoulder, elbow, 0.038, ARM, 12.5)
    tube(axes, elbow, wrist, 0.031, ARM, 13.0)
    for joint, radius, z in ((shoulder, 0.055, 12.0), (elbow, 0.043, 13.2), (wrist, 0.036, 14.2)):
        tube(axes, joint - 0.05 * sideways, joint + 0.05 * sideways, radius, ARM_DARK, z)
    disc(axes, over + np.array([0.008, 0.005, 0.0]), 0.042, 4.1)
    tube(axes, tip, tip + np.array([0.0, 0.0, 0.10]), 0.035, PUSHER, 15.0)
    tube(axes, tip + np.array([0.0, 0.0, 0.10]), collar, 0.013, STEEL, 15.5)
    tube(axes, wrist - np.array([0.0, 0.0, 0.03]), collar, 0.025, ARM, 14.0)
    ball(axes, marker_of_pusher(), 8.0, 26.0)


def marker_of_pusher() -> ndarray:
    """Where the pusher carries its marker."""
    sideways = VIEW.right * np.array([1.0, 1.0, 0.0])
    return np.array([*PUSHER_AT, TOOL_M + 0.125]) + 0.012 * sideways + 0.02 * VIEW.towards


def disc(axes: Axes, centre: ndarray, radius: float, z: float) -> None:
    """A round shadow."""
    ring = np.stack([np.array([np.cos(t), np.sin(t), 0.0]) for t in np.linspace(0.0, 2.0 * np.pi, 60)])
    face(axes, centre + radius * ring, "#000000", z, alpha=0.12)


def way(axes: Axes, start: Transform, end: Transform, name: str, shift: tuple[float, float]) -> None:
    """A dashed arrow from one frame to another: the transform that calibration writes."""
    a, b = VIEW(start.translation_m), VIEW(end.translation_m)
    style = {"arrowstyle": "-|>,head_length=0.5,head_width=0.2", "linestyle": (0, (3, 2)), "linewidth": 1.5}
    style |= {"color": INK, "shrinkA": 4, "shrinkB": 6}
    axes.annotate("", xy=b, xytext=a, zorder=50, arrowprops=style)
    middle = (a + b) / 2.0 + np.array(shift)
    axes.text(*middle, name, color=INK, fontsize=10, family="monospace", ha="center", va="center", zorder=70)


def words(axes: Axes, on_box: Transform) -> None:
    """What is what."""
    layout = MarkerLayout.load(share_path("config", "layout.yaml"))
    corner = on_box.apply(np.array([*(SCALE * layout.places[0]), 0.006]))
    note(axes, "markers on the box\n(layout.yaml)", corner, (0.09, 0.13))
    note(axes, "marker on the pusher", marker_of_pusher(), (0.08, 0.125))
    note(axes, "cameras", CAMERAS[0], (-0.13, 0.02), ha="right")
    note(axes, "pusher at\ntool_height_m", [*PUSHER_AT, 0.055], (0.025, -0.085))
    note(axes, "workspace_m", [WORKSPACE[1], -0.20, 0.0], (0.13, -0.10))


if __name__ == "__main__":
    made = draw()
    FigureCanvasAgg(made)
    made.savefig(OUT, dpi=130)
