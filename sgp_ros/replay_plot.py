"""The picture of `sgp replay`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sgp_core.plots import BOX, DPI, GOAL, GRID, INK, MUTED, PUSHER, quiet
from sgp_core.types import State
from sgp_ros.replanning import Compared


def replay_figure(compared: Sequence[Compared], states: Sequence[State], title: str) -> Figure:
    """Where the pusher went and which steps were and would have been planned, and how that changed over time.

    Args:
        compared: at least one decision.
        states: of the whole run.
        title: above it.
    """
    figure = Figure(figsize=(12.0, 5.0), facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(3, 2, width_ratios=[1.2, 1.0])
    _paths(figure.add_subplot(grid[:, 0]), compared, states)
    began_s = compared[0].state.stamp_s
    times = np.array([one.state.stamp_s - began_s for one in compared])
    plans = [one.decision.plan for one in compared]
    nan = float("nan")
    for row, (name, values) in enumerate(
        {
            "apart (mm)": [one.off_m * 1e3 for one in compared],
            "objective J": [nan if plan is None else plan.objective for plan in plans],
            "data distance": [nan if plan is None else plan.data_distance for plan in plans],
        }.items()
    ):
        axes = figure.add_subplot(grid[row, 1])
        axes.plot(times, values, ".-", color=BOX, markersize=4, linewidth=1.0)
        quiet(axes, "time (s)" if row == 2 else "", name)
    figure.suptitle(title, color=INK, fontsize=11)
    figure.tight_layout()
    return figure


def _paths(axes: Axes, compared: Sequence[Compared], states: Sequence[State]) -> None:
    ordered = np.array([state.x for state in sorted(states, key=lambda state: state.stamp_s)])
    axes.plot(*ordered[:, -2:].T, color=GRID, linewidth=3.0, label="the pusher's way", zorder=1)
    for track in np.swapaxes(ordered[:, :-2].reshape(len(ordered), -1, 2), 0, 1):
        axes.plot(*track.T, color=BOX, linewidth=0.6, alpha=0.5, zorder=1)
    axes.plot(*compared[-1].goal.markers_m.T, "o", color=GOAL, markersize=5, label="goal of the markers")
    for colour, width, name, of in (
        (PUSHER, 0.006, "step recorded", lambda one: one.recorded.u),
        (BOX, 0.003, "step planned now", lambda one: None if one.decision.plan is None else one.decision.plan.u[0]),
    ):
        pairs = [(one.state.x[-2:], of(one)) for one in compared if of(one) is not None]
        if pairs:
            at, u = (np.array(values) for values in zip(*pairs, strict=True))
            axes.quiver(
                *at.T, *u.T, angles="xy", scale_units="xy", scale=1.0, width=width, color=colour, label=name, zorder=3
            )
    axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize=8, labelcolor=MUTED)
    quiet(axes, "x (m)", "y (m)")
