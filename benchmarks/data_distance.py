"""Whether the distance to data tells how wrong a prediction is: pushes on the rig, on the data and ever further off it.

Two kinds of pushes: those that somebody who plays makes, to a box where the data have it; and the same to a box moved
and turned out of the range of the data. Prints a Markdown table and writes a picture:
    python benchmarks/data_distance.py --picture docs/data_distance.png
"""

import itertools
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
import typer
from rich.progress import track
from scipy.stats import spearmanr

from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import SimConfig
from sgp_core.distance import squared_distance
from sgp_core.share import share_path
from sgp_core.sim.play import Heading, beside
from sgp_core.sim.rig import Rig, clearance

ON_LOW, ON_HIGH = (0.50, -0.15, -1.0), (0.80, 0.15, 1.0)
OFF_LOW, OFF_HIGH = (0.30, -0.45, -np.pi), (1.10, 0.45, np.pi)
PARTS = 5


def pushes(bundle: ModelBundle, low: tuple, high: tuple, count: int, seed: int) -> np.ndarray:
    """Distance to data [normalised] and error per marker [mm] of `count` pushes that move the box."""
    layout, rows = bundle.layout, []
    for number in track(range(count * 4), description=f"pushes, seed {seed}"):
        random = np.random.default_rng((seed, number))
        box = tuple(float(v) for v in random.uniform(low, high))
        pusher = beside(layout, box, random)
        if clearance(layout, box, pusher) < 0.0:
            continue
        u = Heading(layout, box, pusher, random).step(layout, box, pusher, random)
        if u is None:
            continue
        rig = Rig(layout, SimConfig(seed=number), box, (float(pusher[0]), float(pusher[1])))
        rig.advance(0.2)
        before, start = rig.markers(), rig.pusher()
        rig.move(start, u, bundle.step_duration_s)
        if np.abs(rig.markers() - before).max() < 0.002:
            continue
        x = torch.from_numpy(layout.pack(before, start)).float()[None]
        step = torch.from_numpy(rig.pusher() - start).float()[None]
        with torch.no_grad():
            found = layout.markers(bundle.dynamics(x, step)[0].double().numpy())
        z = bundle.normalizer.normalize(x, step)
        distance = float(squared_distance(z, bundle.reference, bundle.sigmas[-1]).clamp_min(0.0).sqrt())
        rows.append((distance, float(np.linalg.norm(found - rig.markers(), axis=1).mean()) * 1e3))
        if len(rows) == count:
            break
    return np.array(rows)


def main(count: int = 400, bundle: Path | None = None, picture: Path | None = None) -> None:
    torch.set_num_threads(1)
    models = load_bundle(bundle or share_path("models", "default"))
    print(f"bundle {models.sha256[:12]}\n")
    print("| box | distance to data, range | pushes | error per marker, median [mm] | 95 % [mm] |")
    print("|---|---|---|---|---|")
    groups = {"as in the data": (ON_LOW, ON_HIGH), "anywhere": (OFF_LOW, OFF_HIGH)}
    found = {name: pushes(models, *ranges, count, seed) for seed, (name, ranges) in enumerate(groups.items())}
    for name, rows in found.items():
        edges = np.quantile(rows[:, 0], np.linspace(0.0, 1.0, PARTS + 1))
        for low, high in itertools.pairwise(edges):
            error = rows[(rows[:, 0] >= low) & (rows[:, 0] <= high), 1]
            median, most = np.quantile(error, [0.5, 0.95])
            print(f"| {name} | {low:.2f} to {high:.2f} | {len(error)} | {median:.2f} | {most:.2f} |")
    for name, rows in found.items():
        print(f"\nrank correlation, {name}: {spearmanr(rows[:, 0], rows[:, 1]).statistic:.2f}")
    if picture:
        mpl.use("Agg")
        from matplotlib import pyplot as plt

        figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
        for (name, rows), colour in zip(found.items(), ("tab:blue", "tab:orange"), strict=True):
            axes.scatter(rows[:, 0], rows[:, 1], s=9, alpha=0.6, color=colour, label=f"box {name}")
        axes.set(
            xlabel="distance to data of (x, u) [normalised]", ylabel="error of one step, per marker [mm]", yscale="log"
        )
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    typer.run(main)
