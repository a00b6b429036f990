"""The picture of a data set: where box and pusher went, and what of states and steps is covered."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

from sgp_core.data import Transitions
from sgp_core.plots import BOX, DPI, INK, MUTED, PUSHER, quiet


def data_figure(data: Transitions, title: str) -> Figure:
    """Paths on the table, steps, step lengths, and the box's yaw along its way.

    Args:
        data: a data set.
        title: above it.
    """
    figure = Figure(figsize=(13.0, 4.4), facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    paths, steps, lengths, poses = figure.subplots(1, 4, width_ratios=[1.7, 1.0, 1.0, 1.0])
    _paths(paths, data)
    _steps(steps, data)
    _lengths(lengths, data)
    _poses(poses, data)
    figure.suptitle(title, color=INK, fontsize=11)
    figure.tight_layout()
    return figure


def _paths(axes: Axes, data: Transitions) -> None:
    """Lines of single demonstrations; a transition that does not follow the one before begins a new line."""
    for colour, name, before, after in (
        (PUSHER, "pusher", data.x[:, -2:], data.x_next[:, -2:]),
        (BOX, "box", _centre(data, data.x), _centre(data, data.x_next)),
    ):
        lines = np.stack([before, after, np.full_like(before, np.nan)], axis=1).reshape(-1, 2)
        axes.plot(*lines.T, color=colour, linewidth=0.7, alpha=0.6, label=name)
        axes.plot(*before.T, ".", color=colour, markersize=2)
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize=8, labelcolor=MUTED, loc="upper left")
    quiet(axes, "x (m)", "y (m)", "paths on the table")


def _steps(axes: Axes, data: Transitions) -> None:
    axes.plot(*(data.u.T * 1e3), ".", color=PUSHER, markersize=3, alpha=0.6)
    axes.set_aspect("equal", adjustable="datalim")
    quiet(axes, "along x (mm)", "along y (mm)", "steps u")


def _lengths(axes: Axes, data: Transitions) -> None:
    axes.hist(np.linalg.norm(data.u, axis=1) * 1e3, bins=30, color=PUSHER)
    quiet(axes, "length (mm)", "transitions", "step lengths")


def _poses(axes: Axes, data: Transitions) -> None:
    yaw = np.degrees([data.layout.pose_of(markers)[2] for markers in data.layout.markers(data.x)])
    axes.plot(_centre(data, data.x)[:, 0], yaw, ".", color=BOX, markersize=3, alpha=0.6)
    quiet(axes, "x (m)", "yaw (degrees)", "the box before each step")


def _centre(data: Transitions, x: Float[ndarray, "M nx"]) -> Float[ndarray, "M 2"]:
    return data.layout.markers(x).mean(axis=1)
