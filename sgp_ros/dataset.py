"""`sgp dataset`: recordings become data to train on. Needs no ROS installation."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from sgp_core.cutting import CutConfig, Rejected, Row, SentStep, carried_out, cut, demonstrations
from sgp_core.data import Transitions
from sgp_core.data_plot import data_figure
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.types import State
from sgp_ros.bag_states import Reading, Recorded, read
from sgp_ros.bags import Bag
from sgp_ros.options import (
    ArmOption,
    MocapOption,
    NamespaceOption,
    ParamsOption,
    PusherOption,
    RecordedLayoutOption,
    TableOption,
    pairs,
)

app = typer.Typer(no_args_is_help=True, help="Make data to train on.")
console = Console(highlight=False)

BagsArgument = Annotated[list[Path], typer.Argument(help="rosbag2 folders, or .mcap, .db3 and .bag files")]


@app.command("from-bag")
def from_bag(
    bags: BagsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help=".npz file to write; a picture goes beside it")],
    namespace: NamespaceOption = "sgp",
    mocap: MocapOption = "",
    arm: ArmOption = "",
    table: TableOption = "",
    pusher: PusherOption = "",
    layout: RecordedLayoutOption = "",
    params_file: ParamsOption = "",
    sets: Annotated[list[str] | None, typer.Option("--set", help="such as gap_s=0.05; repeatable")] = None,
    resample: Annotated[bool, typer.Option(help="cut every step_duration_s, even where steps were recorded")] = False,
) -> None:
    """Cut recordings into transitions (x_t, u_t, x_t+1), through the same code as mocap_node.

    Give --mocap, --arm, --table and --pusher as they were given to rig.launch.py. A transition begins at each step that
    was recorded; without steps, as when the pusher was led by hand, every step_duration_s. Each stretch that is of no
    use is told with its time and the reason.
    """
    config = CutConfig().replaced(**pairs(sets))
    given = {"mocap": mocap, "arm": arm, "table": table, "pusher": pusher, "layout": layout, "params_file": params_file}
    reading = Reading.of("sim.yaml", {**given, "namespace": namespace})
    if out.suffix != ".npz":
        raise InputError(f"--out {out} must end in .npz")
    picture = out.with_suffix(".png")
    for path in (out, picture):
        if path.exists():
            raise InputError(f"{path} exists already, and nothing is overwritten; choose another name or remove it")
    twice = [path for path, count in Counter(path.resolve() for path in bags).items() if count > 1]
    if twice:
        raise InputError(f"bag {twice[0]} is given twice; its transitions would be trained on and held out at once")
    rows: list[Row] = []
    sources = []
    for path in bags:
        recorded = _read(path, reading)
        at_steps = not resample and _by_steps(recorded, config)
        found: list[Row] = []
        rejected = demonstrations(recorded.marks)[1]
        # What a state between two samples needs may lie just beyond a mark.
        for states, sent in _marked(recorded, config.gap_s if at_steps else 0.0):
            first = [*rows, *found][-1].demonstration + 1 if rows or found else 0
            more, less = cut(states, sent if at_steps else [], recorded.faults, config, first)
            found, rejected = [*found, *more], [*rejected, *less]
        _tell(path, recorded, at_steps, found, rejected)
        rows += found
        sources.append({"bag": path.name, "transitions": len(found), "states": len(recorded.states)})
    if not rows:
        raise InputError("no transition in all of this; the reasons are above. Nothing was written")
    data = _transitions(rows, reading.layout, config, sources)
    if len(set(data.marks.values())) < len(data.marks):
        raise InputError(
            "two of these bags hold the same demonstration, and it would be trained on and held out at once; give each"
            " once. Nothing was written"
        )
    data.save(out)
    data_figure(data, f"{out.name}: {len(data)} transitions of {_demonstrations(data)} demonstrations").savefig(picture)
    lengths = np.linalg.norm(data.u, axis=1) * 1e3
    console.print(
        f"{len(data)} transitions of {_demonstrations(data)} demonstrations, steps {lengths.mean():.1f} mm on average,"
        f" {lengths.max():.1f} mm at most, sha256 {data.sha256[:12]}: {out}, {picture}"
    )


def _read(path: Path, reading: Reading) -> Recorded:
    columns = [SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed} messages")]
    with Bag(path) as bag, Progress(*columns, TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(str(path), total=None)
        return read(bag, reading, lambda count: bar.update(task, completed=count))


def _by_steps(recorded: Recorded, config: CutConfig) -> bool:
    """Whether steps say where transitions begin.

    By keyboard each is replaced long before its end; what counts then is where the pusher went.
    """
    if not recorded.marks:
        return bool(recorded.steps)
    return carried_out([step for _, steps in _marked(recorded) for step in steps], config)


def _marked(recorded: Recorded, around_s: float = 0.0) -> list[tuple[list[State], list[SentStep]]]:
    """States and steps of each demonstration that was kept, and the states `around_s` [s] before and after it.

    Where none were marked, all of them.
    """
    if not recorded.marks:
        return [(recorded.states, recorded.steps)]
    states = recorded.states[: recorded.set_back_at]  # what came later has other marks, whatever its stamps say
    return [
        (
            [state for state in states if begin - around_s <= state.stamp_s <= end + around_s],
            [step for step in recorded.steps if begin <= step.stamp_s < end],
        )
        for begin, end in demonstrations(recorded.marks)[0]
    ]


def _tell(path: Path, recorded: Recorded, at_steps: bool, rows: list[Row], rejected: list[Rejected]) -> None:
    began_s = min(state.stamp_s for state in recorded.states)
    marked = f"; {len(demonstrations(recorded.marks)[0])} demonstrations marked and kept" if recorded.marks else ""
    kind = f"at {sum(len(steps) for _, steps in _marked(recorded))} steps" if at_steps else "every step_duration_s"
    console.print(
        escape(
            f"{path}: {len(recorded.states)} states, {len(recorded.faults)} frames without one;"
            f" {len(rows)} transitions, cut {kind}{marked}"
        )
    )
    for remark in recorded.remarks:
        console.print(f"[yellow]note:[/] {escape(remark)}")
    if rejected:
        table = Table(title="not used", title_justify="left")
        for column, justify in (("from (s)", "right"), ("to (s)", "right"), ("because", "left")):
            table.add_column(column, justify=justify)  # type: ignore[arg-type]
        for one in rejected:
            table.add_row(f"{one.start_s - began_s:.2f}", f"{one.end_s - began_s:.2f}", escape(one.reason))
        console.print(table)


def _transitions(rows: list[Row], layout: MarkerLayout, config: CutConfig, sources: list[dict]) -> Transitions:
    return Transitions(
        x=np.array([row.x for row in rows]),
        u=np.array([row.u for row in rows]),
        u_commanded=np.array([row.u_commanded for row in rows]),
        x_next=np.array([row.x_next for row in rows]),
        demonstration=np.array([row.demonstration for row in rows]),
        layout=layout,
        step_duration_s=config.step_duration_s,
        provenance={"source": "sgp dataset from-bag", "bags": sources, "cut": config.to_dict()},
    )


def _demonstrations(data: Transitions) -> int:
    return len(np.unique(data.demonstration))
