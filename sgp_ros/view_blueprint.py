"""How the page of `sgp view` is arranged."""

from __future__ import annotations

import rerun as rr
import rerun.blueprint as rrb

from sgp_core.plots import BOX, GOAL, INK, MUTED, PUSHER
from sgp_core.workspace import Region

MARGIN_M = 0.1  # around the workspace: the box reaches beyond it
WAY_S = 30.0  # so much of the pusher's way is shown
FIGURES = {  # value of `status`: name and colour
    "marker_error_mm": ("markers from the goal", BOX),
    "objective": ("J", PUSHER),
    "data_distance": ("distance", GOAL),
    "plan_ms": ("plan", INK),
    "latency_ms": ("markers to step", MUTED),
}
DIAGRAMS = {  # from top to bottom
    "markers from the goal (mm)": ["marker_error_mm"],
    "cost J of the plan": ["objective"],
    "distance of the plan to the data": ["data_distance"],
    "times (ms)": ["plan_ms", "latency_ms"],
}


def rgba(colour: str) -> int:
    """A colour like #2463a8 as the number 0xRRGGBBAA that rerun takes."""
    return int(f"{colour[1:]}ff", 16)


def blueprint(region: Region, *, live: bool) -> rrb.Blueprint:
    """The table and the words on the left, diagrams on the right.

    Args:
        region: what the table shows at first; one may zoom and move.
        live: follow the newest data, rather than play from the start.
    """
    low, high = region.box[0] - MARGIN_M, region.box[1] + MARGIN_M
    recent = rr.VisibleTimeRange(
        "stamp",
        start=rr.TimeRangeBoundary.cursor_relative(seconds=-WAY_S),
        end=rr.TimeRangeBoundary.cursor_relative(seconds=0.0),
    )
    table = rrb.Spatial2DView(
        origin="/table",
        name="table, from above",
        background=rgba("#ffffff"),
        visual_bounds=rrb.VisualBounds2D(x_range=(low[0], high[0]), y_range=(-high[1], -low[1])),
        overrides={"/table/way": rrb.VisibleTimeRanges([recent])},
    )
    words = rrb.TextLogView(
        origin="/words", name="what the controller says", columns=rrb.TextLogColumns(text_log_columns=["body"])
    )
    diagrams = [
        rrb.TimeSeriesView(
            origin="/figures",
            contents=[f"$origin/{name}" for name in names],
            name=title,
            plot_legend=rrb.PlotLegend(visible=len(names) > 1),
        )
        for title, names in DIAGRAMS.items()
    ]
    return rrb.Blueprint(
        rrb.Horizontal(rrb.Vertical(table, words, row_shares=[3, 1]), rrb.Vertical(*diagrams), column_shares=[3, 2]),
        rrb.TimePanel(timeline="stamp", state="collapsed", play_state="following" if live else "playing"),
        rrb.BlueprintPanel(state="hidden"),
        rrb.SelectionPanel(state="hidden"),
        auto_views=False,
    )
