"""The picture of a study: how it went, what mattered, and the price over each setting."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from sgp_core.plots import BOX, DPI, GOAL, INK, MUTED, PUSHER, quiet
from sgp_core.tuning_space import Range

COLUMNS = 3
ENOUGH = 10  # completed trials for importances to mean something


def tuning_figure(study: Study, ranges: Sequence[Range], best: FrozenTrial, title: str) -> Figure:
    """One diagram for the history, one for importances, one for each number that was proposed.

    Args:
        study: with at least one completed trial.
        ranges: of what was proposed.
        best: the trial to point out.
        title: above them.
    """
    rows = -(-(2 + len(ranges)) // COLUMNS)
    figure = Figure(figsize=(3.7 * COLUMNS, 2.7 * rows + 0.4), facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(rows, COLUMNS, squeeze=False).ravel())
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    given_up = study.get_trials(deepcopy=False, states=[TrialState.PRUNED])
    _history(axes[0], done, given_up, best)
    _importances(axes[1], study, len(done))
    for one, diagram in zip(ranges, axes[2:], strict=False):
        _slice(diagram, one, done, best)
    for diagram in axes[2 + len(ranges) :]:
        diagram.set_axis_off()
    figure.suptitle(title, color=INK, fontsize=11)
    figure.tight_layout()
    return figure


def _history(axes: Axes, done: list[FrozenTrial], given_up: list[FrozenTrial], best: FrozenTrial) -> None:
    prices = [float(t.value or 0.0) for t in done]
    axes.plot([t.number for t in done], prices, "o", color=BOX, markersize=4, label="completed")
    axes.step([t.number for t in done], np.minimum.accumulate(prices), color=GOAL, where="post", label="best so far")
    seen = [t for t in given_up if t.intermediate_values]
    means = [float(np.mean(list(t.intermediate_values.values()))) for t in seen]
    axes.plot([t.number for t in seen], means, "x", color=MUTED, markersize=4, label="given up (mean so far)")
    axes.plot(best.number, float(best.value or 0.0), "o", color=PUSHER, markersize=7, fillstyle="none", label="best")
    axes.legend(frameon=False, fontsize=7, labelcolor=MUTED)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _by_price(axes, [*prices, *means])
    slow = len(given_up) - len(seen)
    quiet(axes, "trial", "price", f"history; {slow} more plan too slowly" if slow else "history")


def _importances(axes: Axes, study: Study, count: int) -> None:
    quiet(axes, "importance (PED-ANOVA)", "", "what mattered")
    if count < ENOUGH:
        axes.set_axis_off()
        axes.text(0.5, 0.5, f"importances need\n{ENOUGH} completed trials", color=MUTED, ha="center", fontsize=8)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        found = optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    names = sorted(found, key=lambda name: found[name])
    axes.barh(names, [found[name] for name in names], color=BOX, height=0.6)


def _slice(axes: Axes, one: Range, done: list[FrozenTrial], best: FrozenTrial) -> None:
    have = [t for t in done if one.name in t.params]
    prices = [float(t.value or 0.0) for t in have]
    axes.plot([t.params[one.name] for t in have], prices, "o", color=BOX, markersize=4, alpha=0.7)
    axes.plot(best.params[one.name], float(best.value or 0.0), "o", color=PUSHER, markersize=7, fillstyle="none")
    if one.by_ratio:
        axes.set_xscale("log")
        axes.set_xlim(0.9 * one.low, 1.1 * one.high)
        _plainly(axes.xaxis, one.high / one.low)
    else:
        margin = 0.05 * (one.high - one.low)
        axes.set_xlim(one.low - margin, one.high + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=one.whole))
    _by_price(axes, prices)
    quiet(axes, one.name, "price")


def _by_price(axes: Axes, prices: list[float]) -> None:
    """By ratio, unless a price is not above 0."""
    if min(prices, default=0.0) > 0.0:
        axes.set_yscale("log")
        _plainly(axes.yaxis, max(prices) / min(prices))


def _plainly(axis: Axis, ratio: float) -> None:
    """Numbers as they are on a logarithmic axis whose ends have this ratio."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if ratio < 1e3 else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(LogLocator(subs=(1.0,)))
    axis.set_minor_formatter("")
