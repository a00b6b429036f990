"""The guided capture of matched points: Enter at each place, and a file that grows with each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rich.console import Console
from rich.markup import escape

from sgp_core.calibration import FrameCalibration
from sgp_core.errors import InputError
from sgp_core.matched_points import MatchedPoints
from sgp_core.rigid_fit import LEAST_POINTS
from sgp_core.stillness import still_mean
from sgp_ros.capture import NO_TURN, Capture, Watched, turned_by_rad

TURN_LIMIT_RAD = np.radians(5.0)
INTRODUCTION = """\
Bring the tool to at least four places on the table, at pushing height, with one orientation, spread over the workspace
and not on a line; stand still and press Enter at each. One more with the tool lifted by 50 mm guards against mirrored
axes. Each point is saved at once."""
PROMPT = "Enter captures, `d 3` deletes point 3, q finishes: "


@dataclass
class _Session:
    """What has been captured, and what the tool looked like at the first point of it."""

    path: Path
    points: MatchedPoints
    turn: Float[ndarray, "3 3"] = field(default_factory=lambda: NO_TURN)
    frame_id: str = ""


def capture_points(
    path: Path,
    fit: Callable[[MatchedPoints], FrameCalibration],
    *,
    mocap_topic: str,
    mocap_name: str,
    arm_topic: str,
    arm_tf: tuple[str, str] | None,
    namespace: str,
    seconds: float,
    unit_m: float,
    console: Console,
) -> str:
    """Capture points into a file until the user is done; a bad capture is told and can be repeated.

    Args:
        path: points file; points that it holds already count.
        fit: what the points are for; its words are shown from the fourth point on.
        mocap_topic, mocap_name: the pusher's marker, and its name in a list of bodies.
        arm_topic: the tool's pose in the base frame.
        arm_tf: instead of the topic, tf frames of base and tool.
        namespace: of relative topic names.
        seconds: how long one point is averaged.
        unit_m: unit of the mocap positions [m].
        console: where to talk.

    Returns:
        frame_id of the arm's poses; empty when they have none, or none was captured.

    Raises:
        InputError: a topic is missing or of an unknown type, or the points file cannot be read.
    """
    session = _Session(path, MatchedPoints.load(path) if path.exists() else MatchedPoints.empty())
    with Capture(namespace) as capture:
        mocap = capture.watch(mocap_topic, mocap_name)
        arm = capture.watch_tf(*arm_tf) if arm_tf else capture.watch(arm_topic)
        console.print(INTRODUCTION)
        if len(session.points):
            console.print(f"Going on with {len(session.points)} points from {path}.")
        while (answer := _ask(console, len(session.points))) != "q":
            try:
                if answer:
                    _delete(session, answer, console)
                else:
                    _add(session, capture, mocap, arm, seconds, unit_m, console)
            except InputError as error:
                console.print(f"[yellow]not captured:[/] {escape(str(error))}")
                continue
            _tell(session.points, fit, console)
    return session.frame_id


def _ask(console: Console, count: int) -> str:
    try:
        return console.input(f"[bold]{count} point{'' if count == 1 else 's'}.[/] {PROMPT}").strip().lower()
    except (EOFError, KeyboardInterrupt):
        console.print()
        return "q"


def _add(
    session: _Session,
    capture: Capture,
    mocap: Watched,
    arm: Watched,
    seconds: float,
    unit_m: float,
    console: Console,
) -> None:
    seen, reported = capture.collect([mocap, arm], seconds)
    mocap_m, mocap_noise_m = still_mean(seen, f"mocap {mocap.topic}", unit_m=unit_m, noisy=True)
    base_m, base_noise_m = still_mean(reported, f"arm {arm.topic}")
    if arm.frame_id == "table":
        raise InputError(f"{arm.topic} is in the frame 'table'; poses in the frame of the arm's base are needed")
    if session.frame_id and arm.frame_id != session.frame_id:
        raise InputError(f"{arm.topic} came in '{session.frame_id}' and now comes in '{arm.frame_id}'")
    turned_rad = turned_by_rad(session.turn, arm.turn)
    if turned_rad > TURN_LIMIT_RAD:
        raise InputError(
            f"the tool has turned by {np.degrees(turned_rad):.0f} deg since the first point, and the marker with it;"
            " turn it back"
        )
    if not np.isfinite(session.turn).all():
        session.turn = arm.turn
    session.frame_id = arm.frame_id
    session.points = session.points.with_point(mocap_m, base_m)
    session.points.save(session.path)
    console.print(
        f"point {len(session.points)}: mocap {_place(mocap_m)} ± {mocap_noise_m * 1e3:.2f} mm, {len(seen)} samples; arm"
        f" {_place(base_m)} ± {base_noise_m * 1e3:.2f} mm, {len(reported)} samples; saved in {session.path}"
    )


def _delete(session: _Session, answer: str, console: Console) -> None:
    word, _, number = answer.partition(" ")
    if word != "d" or not number.strip().isdigit() or not 1 <= int(number) <= len(session.points):
        raise InputError(f"'{answer}' is not known; press Enter, or d and the number of a point, or q")
    session.points = session.points.without(int(number) - 1)
    session.points.save(session.path)
    console.print(f"point {int(number)} deleted; the later ones have moved up by one")


def _tell(points: MatchedPoints, fit: Callable[[MatchedPoints], FrameCalibration], console: Console) -> None:
    if len(points) < LEAST_POINTS:
        return
    try:
        result = fit(points)
    except InputError as error:
        console.print(f"[yellow]does not fit yet:[/] {escape(str(error))}")
    else:
        console.print(f"fits: rms {result.rms_m * 1e3:.2f} mm, largest {result.residuals_m.max() * 1e3:.2f} mm")


def _place(position: Float[ndarray, "3"]) -> str:
    return "(" + ", ".join(f"{v:.4f}" for v in position) + ")"
