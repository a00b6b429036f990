"""The picture of `sgp bench`."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sgp_core.plots import BOX, DPI, GOAL, GRID, INK, MUTED, PUSHER

LINES = (
    ("yardstick_ms", "plain PyTorch", MUTED),
    ("frozen_ms", "one rollout, frozen weights", PUSHER),
    ("plan_ms", "this planner", BOX),
)
NAMES = {"horizon": "horizon T", "hidden": "units per layer"}


def bench_figure(result: dict[str, Any]) -> Figure:
    """Time of a plan at one setting, and how it changes with each.

    Args:
        result: what `sgp bench --json` writes.
    """
    sweeps = result.get("sweeps", {})
    figure = Figure(figsize=(2.6 * (2 + len(sweeps)), 3.8), facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    widths = [2.0, *(1.0 for _ in sweeps)]
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    _bars(axes[0], result)
    shown = [row[key] for rows in sweeps.values() for row in rows for key, _, _ in LINES]
    limits = (0.7 * min(shown), 1.4 * max(shown)) if shown else (1.0, 10.0)  # the same for each, to compare
    for one, (name, rows) in zip(axes[1:], sweeps.items(), strict=True):
        _lines(one, name, rows)
        one.set_ylim(*limits)
    networks = f"{result['layers']}x{result['hidden']}"
    figure.suptitle(
        f"{result['ratio']:.1f} times as fast as plain PyTorch, {result['ratio_frozen']:.1f} times as fast as one"
        f" rollout, weights frozen (T {result['horizon']}, {result['iterations']} iterations, {networks})",
        color=INK,
        fontsize=11,
    )
    figure.tight_layout()
    return figure


def _bars(axes: Axes, result: dict[str, Any]) -> None:
    rows = [*LINES, ("roofline_ms", "roofline of this machine", GOAL)]
    for k, (key, name, colour) in enumerate(reversed(rows)):
        axes.barh(k, result[key], color=colour, height=0.6)
        axes.text(result[key], k, f" {result[key]:.0f} ms", va="center", color=INK, fontsize=9)
        axes.text(0.0, k + 0.36, name, va="bottom", color=MUTED, fontsize=8)
    axes.set_xlim(0.0, 1.25 * max(result[key] for key, _, _ in rows))
    axes.set_yticks([])
    axes.set_xlabel("time of a plan (ms)", color=MUTED, fontsize=9)
    _quiet(axes)


def _lines(axes: Axes, name: str, rows: list[dict[str, Any]]) -> None:
    values = [row[name] for row in rows]
    for key, _, colour in LINES:
        axes.plot(values, [row[key] for row in rows], "o-", color=colour, markersize=4, linewidth=1.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:.0f} ms")
    axes.set_xticks(values, [str(value) for value in values])
    axes.minorticks_off()
    axes.set_xlabel(NAMES.get(name, name), color=MUTED, fontsize=9)
    axes.grid(color=GRID, linewidth=0.8)
    _quiet(axes)


def _quiet(axes: Axes) -> None:
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=8)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
