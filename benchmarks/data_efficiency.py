"""How many demonstrations are enough, and where the score pays: bundles of ever more data, each in closed loops.

    sgp collect --seed 5 --demonstrations 800 -o out/many.npz
    python benchmarks/data_efficiency.py out/many.npz --picture docs/data_efficiency.png

Each bundle is trained on whole demonstrations, drawn by its seed until there are as many tuples as wanted, and drives
the first pairs of the suite `tuning` with the score and without. Prints a Markdown table, row by row.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import matplotlib as mpl
import numpy as np
import typer

from sgp_core import arena, suites
from sgp_core.baselines.registry import Given, contenders
from sgp_core.bundle import ModelBundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.data import Transitions
from sgp_core.export import train_bundle
from sgp_core.train_config import TrainConfig
from sgp_core.trust import trust
from sgp_ros.options import pairs

PLANNERS = ("sgp", "vanilla")
HEADER = "| tuples | demonstrations | seed | planner | cost [cm^2] | error [mm] | 10 mm, 5 deg | 5 mm, 3 deg | steps |"


def some(data: Transitions, tuples: int, seed: int) -> Transitions:
    """Whole demonstrations, at least two, until there are so many tuples."""
    order = np.random.default_rng(seed).permutation(np.unique(data.demonstration))
    sizes = np.array([(data.demonstration == number).sum() for number in order])
    count = max(2, int(np.searchsorted(sizes.cumsum(), tuples)) + 1)
    if sizes.sum() < tuples:
        raise typer.BadParameter(f"the data hold {sizes.sum()} tuples, {tuples} are wanted; collect more")
    return data.select(np.isin(data.demonstration, order[:count]))


def measured(bundle: Path, models: ModelBundle, limit: int, jobs: int) -> dict[str, dict[str, Any]]:
    """Figures of each planner with one bundle."""
    cases = suites.listed_cases("tuning", models.layout, 1, 0, limit)
    with tempfile.TemporaryDirectory() as folder:
        rivals = contenders({name: {} for name in PLANNERS}, [PlannerConfig()], models, Given(), Path(folder))
        done = arena.run_all(arena.trials_of(bundle, rivals, MpcConfig(), cases, 0), jobs)
    groups = arena.grouped(done, lambda trial: trial.contender.name)
    return {name: arena.figures([run for _, run in found]) for name, found in groups.items()}


def main(
    data: Path,
    sizes: Annotated[str, typer.Option(help="tuples, by comma")] = "50,150,500,1500,5000",
    seeds: Annotated[int, typer.Option(help="bundles of each size")] = 3,
    limit: Annotated[int, typer.Option(help="pairs that each drives")] = 16,
    sets: Annotated[list[str] | None, typer.Option("--set", help="training setting; repeatable")] = None,
    jobs: int = 1,
    picture: Path | None = None,
) -> None:
    """Train and drive."""
    whole = Transitions.load(data)
    rates: dict[str, dict[int, list[float]]] = {name: {} for name in PLANNERS}
    print(HEADER + "\n" + "|---" * HEADER.count(" | ") + "|---|", flush=True)
    for size in (int(text) for text in sizes.split(",")):
        for seed in range(seeds):
            part = some(whole, size, seed)
            config = TrainConfig(seed=seed, steps=3000).replaced(**pairs(sets))
            with tempfile.TemporaryDirectory() as folder:
                bundle, _ = train_bundle(part, Path(folder) / "bundle", config, lambda _: None, device="cpu")
                trust(bundle.sha256, Path(folder) / "bundle")  # as `sgp train` does: it was trained here
                found = measured(Path(folder) / "bundle", bundle, limit, jobs)
            for name, row in found.items():
                rates[name].setdefault(size, []).append(100.0 * row["rate_10mm_5deg"])
                cells = (len(part), len(np.unique(part.demonstration)), seed, name, f"{row['mean_cost_cm2']:.2f}")
                more = (f"{row['mean_error_mm']:.1f}", f"{row['rate_10mm_5deg']:.0%}", f"{row['rate_5mm_3deg']:.0%}")
                print("| " + " | ".join(map(str, (*cells, *more, f"{row['mean_steps']:.1f}"))) + " |", flush=True)
    if picture:
        plot(rates, picture)


def plot(rates: dict[str, dict[int, list[float]]], picture: Path) -> None:
    """Mean and range over the seeds."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, colour in zip(PLANNERS, ("tab:blue", "tab:orange"), strict=True):
        sizes, values = list(rates[name]), list(rates[name].values())
        axes.plot(sizes, [np.mean(v) for v in values], "o-", color=colour, label=name)
        axes.fill_between(sizes, [min(v) for v in values], [max(v) for v in values], color=colour, alpha=0.15)
    axes.set(xlabel="tuples", ylabel="within 10 mm and 5 deg [%]", xscale="log", ylim=(0, 103))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    typer.run(main)
