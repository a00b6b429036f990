"""The pictures of `sgp check`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy import ndarray

from sgp_core.error_bound import ErrorBound
from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout
from sgp_core.model_check import Findings
from sgp_core.plots import BOX, GOAL, INK, MUTED, PUSHER, draw_outline, quiet

DPI = 110  # four pictures in one page of about half a megabyte
SHOWN = 3  # rows of descents, columns of plans
BAD = "#b3261e"


def figures(found: Findings) -> dict[str, Figure]:
    """All pictures, by the names of their files."""
    return {
        "descent": descent_figure(found),
        "plans": plans_figure(found),
        "bound": bound_figure(found.bound),
        "coverage": coverage_figure(found),
    }


def descent_figure(found: Findings) -> Figure:
    """Fig. 4B: markers disturbed at three noise levels, halfway down and landed; right, all levels in figures."""
    figure = _figure(11.0, 6.6)
    grid = figure.add_gridspec(SHOWN, 4, width_ratios=[1.0, 1.0, 1.0, 1.25])
    layout, shown = found.bundle.layout, np.linspace(0, len(found.landings) - 1, SHOWN + 1).astype(int)[:SHOWN]
    for row, level in enumerate(shown):
        landing = found.landings[level]
        middle = int(np.argsort(landing.rigid_before_mm)[len(landing.rigid_before_mm) // 2])  # neither luck nor spite
        stages = (("disturbed", landing.before_x), ("halfway", landing.halfway_x), ("landed", landing.after_x))
        reach = [layout.markers(x[middle]) for _, x in stages]
        centre, half = (
            reach[-1].mean(axis=0),
            max(float(np.abs(r - reach[-1].mean(axis=0)).max()) for r in reach) + 0.02,
        )
        for column, (name, x) in enumerate(stages):
            axes = figure.add_subplot(grid[row, column])
            _constellation(axes, layout, x[middle], BOX)
            torn = landing.rigid_before_mm[middle] if column == 0 else landing.rigid_mm[middle]
            mm = f", {torn:.3g} mm off a rigid box" if column != 1 else ""
            quiet(axes, "", "", f"{name}{mm}" if column else f"sigma {landing.sigma:.2g}: {name}{mm}")
            axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
            axes.set_aspect("equal", adjustable="box")
    _levels(figure.add_subplot(grid[:2, 3]), found)
    _landed(figure.add_subplot(grid[2, 3]), found)
    figure.tight_layout()
    return figure


def plans_figure(found: Findings) -> Figure:
    """Figs. 4C and 4D: what plans without (above) and with the penalty (below) predict, the worst of them."""
    worst = sorted(found.tears, key=lambda pair: -max(pair.torn_mm))[:SHOWN]
    figure = _figure(11.0, 7.2)
    axes = figure.subplots(2, len(worst), squeeze=False, sharex="col", sharey="col")
    for column, pair in enumerate(worst):
        for row, (plan, mm, beta) in enumerate(zip(pair.plans, pair.torn_mm, (0.0, found.config.beta), strict=True)):
            panel, layout = axes[row, column], found.bundle.layout
            draw_outline(panel, layout, layout.pose_of(pair.goal.markers_m), GOAL, dashed=True)
            panel.plot(*plan.x[:, -2:].T, color=PUSHER, linewidth=1.2, marker=".", markersize=4)
            for age, x in zip(np.linspace(0.25, 1.0, len(plan.x)), plan.x, strict=True):
                _constellation(panel, layout, x, BOX, alpha=float(age))
            quiet(
                panel,
                "x (m)" if row else "",
                "y (m)" if column == 0 else "",
                f"beta {beta:g}: up to {mm:.2f} mm off a rigid box",
            )
            panel.set_aspect("equal", adjustable="box")
    figure.tight_layout()
    return figure


def bound_figure(bound: ErrorBound) -> Figure:
    """Held-out errors and their bounds as histograms, and one against the other."""
    figure = _figure(11.0, 4.2)
    left, right = figure.subplots(1, 2)
    errors_mm, bounds_mm = np.maximum(bound.error_m * 1e3, 1e-2), np.maximum(bound.bound_m * 1e3, 1e-2)
    ends = min(errors_mm.min(), bounds_mm.min()) * 0.8, max(errors_mm.max(), bounds_mm.max()) * 1.25
    bins = np.geomspace(*ends, 32)
    left.hist(errors_mm, bins=bins, color=BOX, alpha=0.75, label="real error")
    left.hist(bounds_mm, bins=bins, histtype="step", color=PUSHER, linewidth=1.6, label="bound (Prop. 2)")
    left.set_xscale("log")
    left.legend(frameon=False, fontsize=8, labelcolor=MUTED)
    quiet(left, "mm, root mean square over the markers", "held-out tuples", "one-step error and its bound")
    over = bound.error_m > bound.bound_m
    right.plot(
        bounds_mm[~over],
        errors_mm[~over],
        ".",
        color=BOX,
        markersize=5,
        label=f"within the bound ({(~over).mean():.0%})",
    )
    right.plot(bounds_mm[over], errors_mm[over], "x", color=BAD, markersize=5, label=f"beyond it ({over.mean():.0%})")
    right.plot(ends, ends, color=MUTED, linewidth=0.8)
    right.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    right.legend(frameon=False, fontsize=8, labelcolor=MUTED, loc="upper left")
    quiet(right, "bound (mm)", "real error (mm)", f"median bound is {bound.looseness():.1f} times the error")
    figure.tight_layout()
    return figure


def coverage_figure(found: Findings) -> Figure:
    """Where the box of the training data was, its yaw as colour, with start, goals and what is nearest to each."""
    figure = _figure(8.4, 6.0)
    axes, layout = figure.add_subplot(), found.bundle.layout
    poses = np.array([layout.pose_of(markers) for markers in layout.markers(found.bundle.reference_x)])
    yaw = np.degrees(poses[:, 2])
    dots = axes.scatter(poses[:, 0], poses[:, 1], c=yaw, cmap="twilight_shifted", s=14, linewidths=0, zorder=3)
    axes.quiver(
        *(poses[:, 0], poses[:, 1], np.cos(poses[:, 2]), np.sin(poses[:, 2]), yaw),
        cmap="twilight_shifted",
        scale=55,
        width=0.0015,
        headwidth=1,  # a line, not an arrow
        headlength=0,
        headaxislength=0,
    )
    for place in found.places:
        colour = INK if place.name == "start" else GOAL
        draw_outline(axes, layout, place.pose, colour, dashed=True)
        axes.plot(*zip(place.pose[:2], place.nearest[:2], strict=True), color=BAD, linewidth=1.6, zorder=6)
        axes.annotate(
            f"{place.name.removeprefix('goal ')}: {place.distance_m * 1e3:.0f} mm",
            place.pose[:2],
            xytext=(0, 12),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=colour,
            fontweight="bold",
            zorder=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.0},
        )
    figure.colorbar(dots, ax=axes, shrink=0.8, label="yaw (degrees)")
    axes.set_aspect("equal", adjustable="box")
    quiet(axes, "x (m)", "y (m)", "boxes of the training data, and how far from them start and goals (dashed) are")
    figure.tight_layout()
    return figure


def _figure(width_in: float, height_in: float) -> Figure:
    figure = Figure(figsize=(width_in, height_in), facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _constellation(axes: Axes, layout: MarkerLayout, x: Float[ndarray, "nx"], colour: str, alpha: float = 1.0) -> None:
    """Measured markers (dots) tied to where the best-fitting box has them (its outline)."""
    markers = layout.markers(x)
    pose: Pose = layout.pose_of(markers)
    draw_outline(axes, layout, pose, colour, alpha=0.5 * alpha)
    for seen, fitted in zip(markers, layout.markers_at(*pose), strict=True):
        axes.plot(*zip(seen, fitted, strict=True), color=BAD, linewidth=1.2, alpha=alpha, zorder=4)
    axes.plot(*markers.T, ".", color=colour, markersize=6, alpha=alpha, zorder=5)


def _levels(axes: Axes, found: Findings) -> None:
    sigmas = [landing.sigma for landing in found.landings]
    for name, colour, values in (
        ("disturbed", MUTED, [landing.rigid_before_mm for landing in found.landings]),
        ("landed", BOX, [landing.rigid_mm for landing in found.landings]),
    ):
        low, middle, high = (np.array([np.quantile(v, q) for v in values]) for q in (0.1, 0.5, 0.9))
        axes.fill_between(sigmas, low, high, color=colour, alpha=0.2, linewidth=0)
        axes.plot(sigmas, middle, color=colour, marker=".", label=f"{name} (median, 10 to 90 %)")
    axes.axhline(found.config.rigid_most_m * 1e3, color=BAD, linewidth=1.0, linestyle="--", label="threshold")
    axes.set(xscale="log", yscale="log")
    axes.legend(frameon=False, fontsize=7, labelcolor=MUTED)
    quiet(axes, "", "mm", "worst marker off a rigid box, by noise level")


def _landed(axes: Axes, found: Findings) -> None:
    sigmas = [landing.sigma for landing in found.landings]
    axes.plot(sigmas, [np.median(v.distance_before) for v in found.landings], color=MUTED, marker=".")
    axes.plot(sigmas, [np.median(v.distance) for v in found.landings], color=BOX, marker=".")
    axes.set_xscale("log")
    quiet(axes, "noise level sigma", "", "distance to the nearest tuple, median")
