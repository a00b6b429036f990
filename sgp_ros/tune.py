"""`sgp tune`: planner settings from closed loops on the simulated rig, or from a recorded run."""

from __future__ import annotations

import functools
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.goals import find_goal, load_goals
from sgp_core.mpc import in_time
from sgp_core.parameter_files import node_parameters
from sgp_core.share import share_path
from sgp_core.types import Goal
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
from sgp_ros.replay import node_settings

if TYPE_CHECKING:  # Optuna and SciPy's statistics take a second, which no other command should wait for
    from sgp_core.tuning import Comparison, Study, Task
    from sgp_core.tuning_jobs import Judge, Workers

INTERRUPTED = 130
console = Console(highlight=False)


def tune(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for params.yaml, tune.png and trials.json")],
    bundle: Annotated[str, typer.Option(help="folder of a bundle; the default bundle when left out")] = "",
    trials: Annotated[int, typer.Option(min=1, help="settings to try, in all processes together")] = 50,
    goals: Annotated[
        str, typer.Option(help="names of config/goals.yaml joined by commas, or a YAML file")
    ] = "left,center,right",
    loops: Annotated[int, typer.Option(min=1, help="closed loops per goal and trial")] = 3,
    checks: Annotated[
        int, typer.Option("--check", min=1, help="closed loops per goal, from other starts, to compare in the end")
    ] = 5,
    plan_ms: Annotated[
        float | None, typer.Option(min=0.0, help="time a plan may take; what the loop has when left out, 0 for any")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(help="URL of a data base that processes and machines share, as sqlite:///tune.db")
    ] = None,
    study: Annotated[str, typer.Option(help="name of the study in --storage")] = "sgp",
    seed: Annotated[int, typer.Option(min=0, help="seed; the same seed gives the same result")] = 0,
    sets: Annotated[
        list[str] | None, typer.Option("--set", help="a setting that is not tuned, such as restarts=1; repeatable")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, help="processes; 0 for one per core")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace an earlier result in --out")] = False,
    bag: Annotated[
        Path | None, typer.Option(help="judge by the decisions recorded in this bag, instead of closed loops")
    ] = None,
    decisions: Annotated[int, typer.Option(min=2, help="of the bag, at most; every other one to compare by")] = 40,
    goal: Annotated[str, typer.Option(help="of a bag whose goal was a parameter: a name, or x,y,yaw")] = "",
    namespace: NamespaceOption = "sgp",
    mocap: MocapOption = "",
    arm: ArmOption = "",
    table: TableOption = "",
    pusher: PusherOption = "",
    layout: RecordedLayoutOption = "",
    params_file: ParamsOption = "",
) -> None:
    """Search beta, sigmas, horizon, iterations, learning rate and restarts for this bundle; write a params file.

    Begins with the settings as given (--params-file, --set, defaults), and in the end compares the best ones with them
    on cases that were not used in the search. Ctrl-C ends with what was found so far; with --storage the same command
    goes on, and several at a time share the work.
    """
    from sgp_ros.tune_report import FILES

    torch.set_num_threads(1)
    check_free(out, FILES, overwrite)
    given = {"mocap": mocap, "arm": arm, "table": table, "pusher": pusher, "layout": layout, "params_file": params_file}
    given |= {"namespace": namespace, "bundle": bundle, "goal": goal}
    planner, mpc, own = node_settings(given, pairs(sets))
    path = (Path(own.bundle) if own.bundle else share_path("models", "default")).absolute()
    models = load_bundle(path)
    base = planner.replaced(budget_ms=0.0)  # a budget would make results depend on how busy the machine is
    fixed = set(pairs(sets))
    if bag is not None:
        judge, target = _bag_judge(path, models, base, mpc, bag, given, decisions, seed)
        fixed.add("beta")  # the yardstick has a beta, and no other one could do better by it
    else:
        judge, target = _loop_judge(path, models, mpc, goals, loops, checks, seed)
    bound_ms = in_time(planner, mpc).budget_ms if plan_ms is None else plan_ms
    # SIGINT too: a shell starts its background jobs with SIGINT ignored.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        task = _task(models, base, fixed, judge, target, bound_ms, seed)
        _search(task, trials, jobs, storage, study, out, _parameters(params_file, pairs(sets)))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _loop_judge(
    path: Path, models: ModelBundle, mpc: MpcConfig, goals: str, loops: int, checks: int, seed: int
) -> tuple[Judge, Goal]:
    from sgp_core.tuning_loops import LoopJudge

    is_file = goals.endswith((".yaml", ".yml"))
    found = load_goals(Path(goals)) if is_file else {name: find_goal(name) for name in goals.split(",")}
    poses = {name: one.pose for name, one in found.items()}
    judge = LoopJudge(path=path, bundle=models, mpc=mpc, goals=poses, loops=loops, checks=checks, seed=seed)
    return judge, Goal.from_pose(models.layout, *next(iter(poses.values())))


def _bag_judge(
    path: Path,
    models: ModelBundle,
    base: PlannerConfig,
    mpc: MpcConfig,
    bag: Path,
    given: Mapping[str, str],
    decisions: int,
    seed: int,
) -> tuple[Judge, Goal]:
    from sgp_core.yardstick import BagJudge
    from sgp_ros.bag_cases import bag_cases
    from sgp_ros.bag_states import Reading

    reading = Reading.of("sim.yaml", given)
    if models.layout.names != reading.layout.names:
        raise InputError(f"the bundle has the markers {models.layout.names}, the layout {reading.layout.names}")
    goal = find_goal(given["goal"]).goal(models.layout) if given["goal"] else None
    told = functools.partial(console.print, style="yellow", markup=False)
    cases = bag_cases(bag, reading, models, mpc, count=decisions, seed=seed, goal=goal, remark=told)
    judge = BagJudge(path, models, base.replaced(device="cpu"), mpc, cases, {"bag": bag.name})
    return judge, cases[0].goal


def _task(
    models: ModelBundle, base: PlannerConfig, fixed: set[str], judge: Judge, goal: Goal, bound_ms: float, seed: int
) -> Task:
    from sgp_core.planner import Planner
    from sgp_core.tuning import Task
    from sgp_core.tuning_space import Space

    Planner(models, base)  # refuses what does not fit the bundle before the work starts
    space = Space(ladder=models.sigmas, base=base, fixed=fixed)
    return Task(bundle=models, space=space, judge=judge, goal=goal, plan_ms=bound_ms, seed=seed)


def _parameters(params_file: str, changed: Mapping[str, str]) -> dict[str, object]:
    """What mpc_node had beside the tuned settings: of the parameter file, and of --set."""
    found = node_parameters([Path(params_file)], "mpc_node") if params_file else {}
    for config in (PlannerConfig(), MpcConfig()):
        known = {name: value for name, value in changed.items() if name in config.to_dict()}
        found |= {name: config.replaced(**known).to_dict()[name] for name in known}
    return found


def _search(
    task: Task,
    trials: int,
    jobs: int,
    storage: str | None,
    name: str,
    out: Path,
    parameters: Mapping[str, object],
) -> None:
    from optuna.exceptions import StorageInternalError

    from sgp_core.tuning import best_trial, finished, open_study
    from sgp_core.tuning_jobs import Workers
    from sgp_ros.tune_report import settings_table, write_all

    study = open_study(task, storage, name)
    if done := finished(study):
        console.print(f"going on with study {name}: {done} trials are finished")
    comparison, interrupted = None, False
    try:
        with Workers(jobs) as workers:
            _try_all(study, task, trials, workers)
            comparison, verdict = _judged(study, task, workers)
    except KeyboardInterrupt:
        interrupted = True
        verdict = f"interrupted after {finished(study)} trials, and not compared with the settings as given"
        if not any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
            console.print("interrupted before a trial was completed; nothing was written")
            raise typer.Exit(INTERRUPTED) from None
    except StorageInternalError as error:
        raise InputError(f"--storage failed after {finished(study)} trials; the same command goes on") from error
    best = best_trial(study)
    console.print(settings_table(task.space.base, task.space.settings(best.params), task.space))
    console.print(verdict)
    write_all(out, study, task.space, best, parameters, verdict, comparison)
    console.print(f"written: {out}/params.yaml, tune.png, trials.json")
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _try_all(study: Study, task: Task, trials: int, workers: Workers) -> None:
    from sgp_core.tuning import finished, run_trials

    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    best = TextColumn("best {task.fields[best]}")
    with Progress(*columns, best, console=console) as bar:
        task_id = bar.add_task("trials", total=trials, best="-")

        def tell(done: int) -> None:
            prices = [t.value for t in study.get_trials(deepcopy=False) if t.value is not None]
            bar.update(task_id, completed=done, best=f"{min(prices):.3f}" if prices else "-")

        tell(finished(study))
        run_trials(study, task, trials, workers, tell)


def _judged(study: Study, task: Task, workers: Workers) -> tuple[Comparison | None, str]:
    """The best settings on cases that did not choose them, and what to think of them."""
    from sgp_core.tuning import best_trial, compare, mean_price
    from sgp_ros.tune_report import comparison_table

    found = task.space.settings(best_trial(study).params)
    if found == task.space.base:
        return None, "no settings were better than those given"
    cases = len(task.judge.check(found))
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True) as bar:
        task_id = bar.add_task("comparing", total=2 * cases)
        comparison = compare(task, found, workers, lambda: bar.advance(task_id))
    console.print(comparison_table(comparison, cases))
    prices = f"{mean_price(comparison.found):.3f} against {mean_price(comparison.base):.3f}"
    told = f"price {prices}, p = {comparison.p:.2g}, {cases} cases"
    if comparison.is_better:
        return comparison, f"the best settings are better than those given ({told})"
    return comparison, f"the best settings are NOT better than those given beyond noise ({told}): keep what you have"
