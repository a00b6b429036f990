"""The picture of a training: losses over steps."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sgp_core.fitting import Check
from sgp_core.plots import BOX, DPI, GOAL, INK, MUTED, PUSHER, quiet

LOSS = {"dynamics": "mean square error (normalised)", "score": "denoising loss (1: knows nothing)"}


def training_figure(checks: Sequence[Check], title: str) -> Figure:
    """One diagram for each network.

    Args:
        checks: of both networks.
        title: above them.
    """
    names = list(dict.fromkeys(check.network for check in checks))
    figure = Figure(figsize=(4.6 * len(names), 3.6), facecolor="white", dpi=DPI)
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        of_network = [check for check in checks if check.network == name]
        steps = [check.step for check in of_network]
        best = min(of_network, key=lambda check: check.held_out_loss)
        axes.plot(steps, [check.train_loss for check in of_network], color=BOX, linewidth=1.2, label="training")
        axes.plot(steps, [check.held_out_loss for check in of_network], color=PUSHER, linewidth=1.2, label="held out")
        axes.plot(best.step, best.held_out_loss, "o", color=GOAL, label=f"kept: step {best.step}")
        axes.set_yscale("log")
        axes.legend(frameon=False, fontsize=8, labelcolor=MUTED)
        quiet(axes, "optimiser step", LOSS.get(name, "loss"), name)
    figure.suptitle(title, color=INK, fontsize=10)
    figure.tight_layout()
    return figure
