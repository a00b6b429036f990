"""What the demo tells: progress while it runs, and at the end summary.json, the picture and a verdict."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape

from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout
from sgp_core.plots import save_figure, trajectory_figure
from sgp_core.run_cost import MAX_STEPS, SUCCESS_COST_CM2

if TYPE_CHECKING:
    from sgp_ros.observer import Observer


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What is to be shown."""

    goal_name: str
    goal: Pose
    out: Path
    seed: int
    bundle: Path
    bundle_sha256: str
    layout: MarkerLayout
    step_duration_s: float
    params_file: Path


class Progress:
    """One line per step as it happens, and below it, in a terminal, what the controller is doing now."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("goal sent")
        self._steps, self._reason = 0, "NO_GOAL"  # as it stands before the goal has arrived

    def tell(self, observer: Observer) -> None:
        """Show what is new."""
        error_mm, plan_ms = observer.number("marker_error_mm"), observer.number("plan_ms")
        if self._steps != observer.steps <= MAX_STEPS:
            self._steps = observer.steps
            self._console.print(
                f"  step {self._steps:2d}   markers {error_mm:6.1f} mm from the goal   plan {plan_ms:5.0f} ms"
            )
        elif observer.reason not in (self._reason, "RUNNING"):
            self._console.print(f"  {observer.reason}: {escape(observer.words)}")
        self._reason = observer.reason
        self._status.update(f"{observer.reason}, {observer.steps} of at most {MAX_STEPS} steps")

    def __enter__(self) -> Progress:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()


def conclude(
    demo: Demo, observer: Observer, console: Console, *, initial_cm2: float, final_cm2: float, duration_s: float
) -> bool:
    """Write summary.json and trajectory.png, print the verdict; whether the demo was a success."""
    summary = _summary(demo, observer, initial_cm2, final_cm2, duration_s)
    (demo.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    save_figure(_picture(demo, observer, summary), demo.out / "trajectory.png")
    words = escape(f"{observer.reason}: {observer.words}")
    console.print(
        "[bold green]success[/]:" if summary["success"] else f"[bold red]failed[/] ({words}):",
        f"{_cost(final_cm2)} (at most {SUCCESS_COST_CM2:g}) after {summary['steps']} steps,",
        f"{duration_s:.1f} s in all; {_plan_times(summary)}",
        soft_wrap=True,
    )
    console.print(f"see {escape(str(demo.out))}: summary.json, trajectory.png, bag/, log/", soft_wrap=True)
    return bool(summary["success"])


def _summary(demo: Demo, observer: Observer, initial_cm2: float, final_cm2: float, duration_s: float) -> dict[str, Any]:
    """Plain values; null where there was no plan to measure."""
    times = {"p50": 50.0, "p95": 95.0, "max": 100.0}
    plan_ms = observer.plan_ms
    arrived = observer.reached and observer.steps <= MAX_STEPS
    return {
        "success": arrived and final_cm2 <= SUCCESS_COST_CM2,
        "reason": observer.reason,
        "goal": demo.goal_name,
        "goal_pose": list(demo.goal),
        "initial_cost_cm2": round(initial_cm2, 3),
        "final_cost_cm2": round(final_cm2, 3),
        "steps": min(observer.steps, MAX_STEPS),
        "plan_ms": {name: round(float(np.percentile(plan_ms, q)), 2) if plan_ms else None for name, q in times.items()},
        "plans": len(plan_ms),
        "duration_s": round(duration_s, 2),
        "seed": demo.seed,
        "bundle_sha256": demo.bundle_sha256,
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("torch", "mujoco", "rclpy", "sgp_ros")},
        },
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # on the PYTHONPATH only, as in a checkout that nobody installed


def _picture(demo: Demo, observer: Observer, summary: dict[str, Any]) -> Figure:
    outcome = "reached" if summary["success"] else "not reached"
    costs = f"{_cost(summary['final_cost_cm2'])}, at the start {summary['initial_cost_cm2']:.0f} cm²"
    return trajectory_figure(
        demo.layout,
        box_poses=observer.box_poses,
        pusher_m=observer.pusher_m,
        goal=demo.goal,
        title=f"Goal {demo.goal_name} {outcome} in {summary['steps']} steps",
        subtitle=f"{costs}; {_plan_times(summary)}",
    )


def _cost(cost_cm2: float) -> str:
    return f"cost {cost_cm2:.2f} cm²"


def _plan_times(summary: dict[str, Any]) -> str:
    if not summary["plans"]:
        return "no plan was made"
    return f"plans took {summary['plan_ms']['p50']:.0f} ms (median), at most {summary['plan_ms']['max']:.0f} ms"
