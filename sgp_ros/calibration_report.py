"""What `sgp calibrate` tells: on the screen, and in the first lines of the files it writes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sgp_core.calibration import FrameCalibration
from sgp_core.layout_measurement import LayoutMeasurement


def show_frames(result: FrameCalibration, console: Console) -> None:
    """Residuals and what deserves a look."""
    shown = Table(title="residuals")
    for column in ("point", "mm", ""):
        shown.add_column(column, justify="right" if column else "left")
    for n, (residual, lifted) in enumerate(zip(result.residuals_m, result.lifted, strict=True), 1):
        shown.add_row(str(n), f"{residual * 1e3:.2f}", "lifted" if lifted else "")
    console.print(shown)
    console.print(
        f"rms {result.rms_m * 1e3:.2f} mm, largest {result.residuals_m.max() * 1e3:.2f} mm; plane within"
        f" {result.flatness_m * 1e3:.2f} mm; mocap distances {result.scale:.4f} times the arm's"
    )
    _warn(result.warnings, console)


def show_layout(result: LayoutMeasurement, console: Console) -> None:
    """Places, rigidity and what deserves a look."""
    shown = Table(title="markers in the box frame")
    for column in ("name", "x (mm)", "y (mm)", "rigid within (mm, rms)"):
        shown.add_column(column, justify="left" if column == "name" else "right")
    for name, (x, y), rigid in zip(result.layout.names, result.layout.places_m, result.rigidity_m, strict=True):
        shown.add_row(escape(name), f"{x * 1e3:.2f}", f"{y * 1e3:.2f}", f"{rigid * 1e3:.2f}")
    console.print(shown)
    console.print(
        f"{result.frames} frames, {result.dropped} left out; moved by {result.way_m * 1e3:.0f} mm and"
        f" {result.turned_rad:.2f} rad"
    )
    _warn(result.warnings, console)


def frames_header(result: FrameCalibration, points: Path, tool_height_m: float) -> str:
    """Comment lines for calibration.yaml."""
    each = ", ".join(f"{residual * 1e3:.2f}" for residual in result.residuals_m)
    return (
        f"Frames of the rig, written by `sgp calibrate frames` on {_today()} from {points}.\n"
        f"Residuals in mm: {each}; rms {result.rms_m * 1e3:.2f}. Tool {tool_height_m * 1e3:g} mm above the table.\n"
        "For rig.launch.py: table:=<this file>. Places as x, y, z in m, roll, pitch, yaw in rad."
    )


def layout_header(result: LayoutMeasurement, recording: Path) -> str:
    """Comment line for a layout file."""
    return (
        f"Markers measured by `sgp calibrate layout` on {_today()} from {recording}: {result.frames} frames, rigid"
        f" within {result.rigidity_m.max() * 1e3:.2f} mm (rms)."
    )


def _today() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")


def _warn(warnings: tuple[str, ...], console: Console) -> None:
    for text in warnings:
        console.print(f"[yellow]note:[/] {escape(text)}")
