"""Held-out figures of a bundle, for a terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table


def metrics_table(metrics: dict[str, Any]) -> Table:
    """What `sgp train` measured on demonstrations that were held out."""
    table = Table(title=f"held out: {metrics['held_out_demonstrations']} demonstrations")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in rows(metrics):
        table.add_row(name, value)
    return table


def rows(metrics: dict[str, Any]) -> list[tuple[str, str]]:
    """What was measured, and what came of it."""
    one, four, descent = metrics["one_step"], metrics["rollout_4"], metrics["score_descent"]
    return [
        ("one step, mm per marker", " ".join(f"{v:.2f}" for v in one["mm_per_marker"])),
        ("one step, mean; pushes only", f"{one['mm']:.2f}; {_mm(one['mm_pushes'])} mm"),
        ("four steps, mm per marker", " ".join(f"{v:.2f}" for v in four["mm_per_marker"] or [])),
        ("four steps, mean; not rigid by", f"{_mm(four['mm'])}; {_mm(four['rigid_mm'])} mm"),
        (
            "distance to data, disturbed, then score descended",
            f"{descent['distance_before']:.3f} -> {descent['distance_after']:.3f}",
        ),
        (
            "markers not rigid by, before and after",
            f"{descent['rigid_mm_before']:.1f} -> {descent['rigid_mm_after']:.2f} mm",
        ),
    ]


def _mm(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
