"""`sgp replay`: yesterday's run at a desk, planned again from its bag. Needs no ROS installation."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sgp_core.bundle import load_bundle
from sgp_core.config import Config, MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.goals import find_goal
from sgp_core.share import share_path
from sgp_ros.bag_states import Reading, Recorded, read, usual_fault, why_none
from sgp_ros.bags import Bag
from sgp_ros.mpc_settings import MpcNodeConfig
from sgp_ros.options import (
    ArmOption,
    MocapOption,
    NamespaceOption,
    ParamsOption,
    PusherOption,
    RecordedLayoutOption,
    TableOption,
    check_free,
    pairs,
)
from sgp_ros.replanning import Compared, Log, agreement, replan, states_agreement
from sgp_ros.replay_plot import replay_figure
from sgp_ros.rig_files import values_of

TOLERANCE_M = 1e-3
SHOWN = 8
FILES = ("replay.json", "replay.png", "report.md")
# Settings that ask for another schedule and search than the recorded ones.
SCHEDULING = {
    "iterations", "sigmas", "budget_ms", "device", "contacts_per_side", "sequences", "search_parts", "rate_hz",
}  # fmt: skip
console = Console(highlight=False)


def replay(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder, or .mcap or .db3 file, with markers, plan and status")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder for replay.json, .png and report.md")] = None,
    bundle: Annotated[str, typer.Option(help="folder of a bundle; the default bundle when left out")] = "",
    goal: Annotated[
        str, typer.Option(help="of a run whose goal was a parameter: a name, or x,y,yaw in m and rad")
    ] = "",
    seed: Annotated[int | None, typer.Option(min=0, help="mpc_node's parameter `seed`, if it had one")] = None,
    sets: Annotated[list[str] | None, typer.Option("--set", help="a setting to try, such as beta=0.1")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files in --out that are there")] = False,
    namespace: NamespaceOption = "sgp",
    mocap: MocapOption = "",
    arm: ArmOption = "",
    table: TableOption = "",
    pusher: PusherOption = "",
    layout: RecordedLayoutOption = "",
    params_file: ParamsOption = "",
) -> None:
    """Plan each decision of a recorded run again, and compare it with what was done.

    The same estimation and the same planner as in the nodes, without clock and without ROS: the same bag gives the same
    result. With --set one sees where another setting would have decided otherwise. Give --mocap, --arm, --table,
    --pusher and --params-file as they were given to the launch file.
    """
    if out:
        check_free(out, FILES, overwrite)
    torch.set_num_threads(1)
    given = {"mocap": mocap, "arm": arm, "table": table, "pusher": pusher, "layout": layout, "params_file": params_file}
    given |= {"namespace": namespace, "bundle": bundle, "goal": goal}
    reading = Reading.of("sim.yaml", given)
    planner, mpc, own = node_settings(given, pairs(sets))
    models = load_bundle(Path(own.bundle) if own.bundle else share_path("models", "default"))
    if models.layout.names != reading.layout.names:
        known, given_names = (", ".join(layout.names) for layout in (models.layout, reading.layout))
        raise InputError(
            f"the bundle has the markers {known}, the layout {given_names}; give the --bundle that was trained for this"
            " --layout"
        )
    log = Log(models)
    began_s = time.perf_counter()
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Bag(bag) as opened, Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("messages", total=None)
        recorded = read(opened, reading, lambda count: bar.update(task, completed=count), log.takers)
        task = bar.add_task("decisions", total=len(log.decisions))
        compared = replan(
            *(log, recorded, models, planner, mpc),
            seed=own.seed if seed is None else seed,
            as_scheduled=not SCHEDULING & pairs(sets).keys(),
            goal=find_goal(goal).goal(models.layout) if goal else None,
            tell=lambda count: bar.update(task, completed=count),
        )
    if not compared:
        raise InputError(
            f"bag {bag}: none of its {len(log.decisions)} decisions has its state and its goal in the bag;"
            f" {why_none(recorded)}"
        )
    stamps_s = [state.stamp_s for state in recorded.states]
    took_s, lasted_s = time.perf_counter() - began_s, max(stamps_s) - min(stamps_s)
    found = {
        "bag": bag.name,
        "changed": pairs(sets),
        "bundle_sha256": models.sha256,
        **states_agreement(log, recorded),
        "decisions": len(log.decisions),
        **agreement(compared, TOLERANCE_M),
        "bag_s": lasted_s,
        "replay_s": took_s,
        "times_real_time": lasted_s / took_s,
    }
    remarks = [*recorded.remarks, *dict.fromkeys(log.refused)]
    if recorded.faults:
        remarks.append(f"{len(recorded.faults)} frames gave no state, most of them because {usual_fault(recorded)}")
    _print(found, compared, remarks)
    if out:
        _write(out, found, compared, recorded)


def node_settings(
    given: Mapping[str, str], changed: Mapping[str, str]
) -> tuple[PlannerConfig, MpcConfig, MpcNodeConfig]:
    """What mpc_node had, from the files, and what is to be tried instead. Raises InputError."""
    values = values_of("sim.yaml", given, "mpc_node")
    configs: list[Config] = [PlannerConfig(), MpcConfig(), MpcNodeConfig()]
    known = {name for config in configs for name in config.to_dict()}
    unknown = sorted(set(changed) - known)
    if unknown:
        raise InputError(f"--set {unknown[0]}: no such setting; known are {', '.join(sorted(known))}")
    made = []
    for config in configs:
        own = {name: value for name, value in {**values, **changed}.items() if name in config.to_dict()}
        made.append(config.replaced(**own))
    planner, mpc, node = made
    assert isinstance(planner, PlannerConfig)
    assert isinstance(mpc, MpcConfig)
    assert isinstance(node, MpcNodeConfig)
    return planner, mpc, node


def _print(found: Mapping[str, Any], compared: list[Compared], remarks: list[str]) -> None:
    for remark in remarks:
        console.print(f"[yellow]note:[/] {escape(remark)}")
    console.print(_summary(found))
    worst = sorted((one for one in compared if np.isfinite(one.off_m)), key=lambda one: -one.off_m)[:SHOWN]
    began_s = compared[0].state.stamp_s
    table = Table(title="where it differs most", title_justify="left")
    for column in ("at (s)", "recorded u (mm)", "J", "planned now (mm)", "J", "apart (mm)"):
        table.add_column(column, justify="right")
    for one in worst:
        if one.off_m > TOLERANCE_M and one.recorded.u is not None and one.decision.plan is not None:
            was, now = one.recorded.u * 1e3, one.decision.plan.u[0] * 1e3
            table.add_row(
                *(
                    f"{one.state.stamp_s - began_s:.2f}",
                    f"{was[0]:+.1f}, {was[1]:+.1f}",
                    f"{one.recorded.objective:.4g}",
                ),
                *(f"{now[0]:+.1f}, {now[1]:+.1f}", f"{one.decision.plan.objective:.4g}", f"{one.off_m * 1e3:.2f}"),
            )
    if table.row_count:
        console.print(table)


def _summary(found: Mapping[str, Any]) -> str:
    left = found["decisions"] - found["decisions_compared"]
    before = found["states_before_first"]
    changed = ", ".join(f"{name} = {value}" for name, value in found["changed"].items())
    return (
        f"{found['bag']}: {found['bag_s']:.1f} s, replayed in {found['replay_s']:.1f} s"
        f" ({found['times_real_time']:.1f} times real time){f', with {changed}' if changed else ''}\n"
        f"states: {found['states_matched']:.2%} of {found['states_recorded']} come out again,"
        f" {found['states_identical']:.2%} to the last bit, at most {found['states_off_mm_max']:.2g} mm apart"
        f"{f'; {before} more were published before all inputs were recorded' if before else ''}\n"
        f"steps: {found['steps_within_tolerance']:.1%} of {found['steps']} within {found['tolerance_mm']:g} mm of the"
        f" recorded ones, median {found['off_mm_median']:.3g} mm, at most {found['off_mm_max']:.3g} mm\n"
        f"verdicts (pushing, or at the goal): {found['same_verdict']:.1%} of {found['decisions_compared']} the same"
        f"{f'; {left} decisions without their state or goal in the bag' if left else ''}"
    )


def _write(out: Path, found: dict[str, Any], compared: list[Compared], recorded: Recorded) -> None:
    out.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "state_stamp_s": one.state.stamp_s,
            "recorded_reason": one.recorded.reason,
            "recorded_u_m": None if one.recorded.u is None else one.recorded.u.tolist(),
            "u_m": None if one.decision.plan is None else one.decision.plan.u[0].tolist(),
            "off_m": None if np.isnan(one.off_m) else one.off_m,
            "recorded_objective": None if one.recorded.u is None else one.recorded.objective,
            "objective": None if one.decision.plan is None else one.decision.plan.objective,
            "data_distance": None if one.decision.plan is None else one.decision.plan.data_distance,
        }
        for one in compared
    ]
    text = json.dumps({**found, "rows": rows}, indent=1, allow_nan=True)
    (out / "replay.json").write_text(text + "\n", encoding="utf-8")
    replay_figure(compared, recorded.states, _summary(found).splitlines()[0]).savefig(out / "replay.png")
    report = f"# Replay of {found['bag']}\n\n{_summary(found)}\n\n![the run](replay.png)\n"
    (out / "report.md").write_text(report.replace("\n", "  \n"), encoding="utf-8")
    console.print(f"written: {out}/replay.json, replay.png, report.md")
