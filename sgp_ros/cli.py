"""`sgp`: from demonstrations to a model to a closed loop. Each command is a function of the module named beside it."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from sgp_core.errors import InputError

# By name: module, and the first line of the function's own help.
COMMANDS = {
    "demo": (
        "ros_commands",
        "Push the box to a goal: four ROS 2 nodes, the simulated rig, real DDS. Exit code 0 when the goal is reached.",
    ),
    "collect": (
        "collect",
        "Let the simulated demonstrator push the box about; its goals are drawn at random. About 7.5 transitions each.",
    ),
    "record": (
        "ros_commands",
        "Record a rig as `ros2 bag record` does, without a ROS installation; shows rates and gaps meanwhile.",
    ),
    "dataset": ("dataset", "Make data to train on."),
    "train": (
        "train",
        "Train dynamics and score, measure them on demonstrations held out, write a verified bundle.",
    ),
    "check": (
        "check",
        "Check a model before you trust it; exit code 0 when no check failed, 1 when one did, 2 for bad input.",
    ),
    "trust": (
        "trust",
        "Let a bundle that was trained elsewhere run on this machine: its models are programs. Nothing runs meanwhile.",
    ),
    "info": (
        "info",
        "Verify a bundle and tell what is in it: data, training, held-out figures; with --plans the time of a plan.",
    ),
    "evaluate": (
        "evaluate",
        "Closed loops without ROS, many times faster than real time, as a table like the paper's Table 3.",
    ),
    "tune": (
        "tune",
        "Search beta, sigmas, horizon, iterations, learning rate and restarts for this bundle; write a params file.",
    ),
    "bench": (
        "bench",
        "Time the planner against Algorithm 1 in plain PyTorch (benchmarks/yardstick.py), in turns, medians.",
    ),
    "calibrate": (
        "calibrate",
        "Measure a rig once: where the mocap system and the arm stand (`frames`), and where the markers sit on the box"
        " (`layout`). Both read files, or live topics.",
    ),
    "doctor": (
        "doctor",
        "Look at a running graph and say what is wrong with it, and how to mend it. Changes nothing and sends nothing.",
    ),
    "view": (
        "view",
        "Show box, markers, pusher, plan, cost and distance to the data in a browser, until Ctrl-C.",
    ),
    "replay": ("replay", "Plan each decision of a recorded run again, and compare it with what was done."),
    "play": (
        "ros_commands",
        "Say again what was measured, with its goals and /clock, to nodes that were started with use_sim_time.",
    ),
}


class Commands(TyperGroup):
    """Imports a command once it is called: torch takes seconds, and half of the commands do without."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[Any, Any, list[str]]:
        """The command itself in place of the one that is listed."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and command(str(name)), rest  # completion goes on without one


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Score-guided planning for pushing a box: from demonstrations to a model to a closed loop.",
    epilog="First steps: `sgp demo`. Your own model: `sgp collect`, `sgp train`, `sgp evaluate`.",
)


def _listed() -> None:
    """Stands for a command until it is called."""


for _name, (_, _words) in COMMANDS.items():
    app.command(_name, help=_words)(_listed)


def command(name: str) -> Any:
    """A command, or group of commands, with its options."""
    module = importlib.import_module(f"sgp_ros.{COMMANDS[name][0]}")
    if (group := getattr(module, "app", None)) is not None:
        return typer.main.get_group(group)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(getattr(module, name))
    return typer.main.get_command(alone)


def main() -> None:
    """Entry point: errors meant for people are one line on stderr and exit code 2."""
    try:
        app()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "rclpy":
            raise
        _end(f"this needs ROS 2 ({error}): source an installation, or `pip install '.[ros]'` for the wheels")
    except (InputError, OSError) as error:
        _end(str(error))


def _end(why: str) -> None:
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escape(why)}")
    sys.exit(2)
