"""Does planning more often pay? `python benchmarks/rates.py [--rates 1,5,10,20] [--seeds 3]` pushes to the three goals.

Nodes, rig and judgement are the demo's. The cost is that of the demo: from ground truth, a second after the last step.
The time counts from the goal to the controller's word that it has arrived; a run ends after 25 s.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from sgp_core.goals import find_goal
from sgp_core.layout import MarkerLayout
from sgp_core.run_cost import SUCCESS_COST_CM2
from sgp_core.share import share_path
from sgp_ros.loop import Loop
from sgp_ros.processes import NodeProcesses, ros_environment
from sgp_ros.rig_files import NODES

LIMIT_S = 25.0
STEP_S = 1.0  # of the default bundle
GOALS = ("left", "center", "right")


def push(
    goal: str, seed: int, rate_hz: float, params: str, settings: dict[str, str], folder: Path
) -> tuple[float, float, bool]:
    """Final cost [cm^2], time to the goal [s], and whether it was reached."""
    environment = ros_environment(folder)
    os.environ.update(environment)
    own: dict[str, dict[str, object]] = {
        "rig_sim_node": {"seed": seed, "marker_rate_hz": 100.0},
        "mpc_node": {"seed": seed, "rate_hz": rate_hz, **settings},
    }
    layout = MarkerLayout.load(share_path("config", "layout.yaml"))
    with NodeProcesses(folder, environment, "sgp") as nodes:
        for node in NODES:
            nodes.start(node, share_path("config", params), own.get(node, {}))
        with Loop(nodes, folder / "bag", "sgp", layout, find_goal(goal).pose, STEP_S) as loop:
            loop.wait_until_ready(60.0)
            loop.push(10**6, LIMIT_S, lambda: None)
            reached, took_s = loop.observer.reached, loop.waited_s
            cost_cm2 = loop.settle(10**6)
    return cost_cm2, took_s, reached and cost_cm2 <= SUCCESS_COST_CM2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="1,5,10,20", help="rate_hz of the controller, joined by commas")
    parser.add_argument("--params", default="fast.yaml", help="file of config/ that everything else is taken from")
    parser.add_argument("--seeds", type=int, default=3, help="runs per goal and rate")
    parser.add_argument("--set", action="append", default=[], help="name=value of mpc_node, repeatable")
    options = parser.parse_args()
    settings = dict(pair.split("=", 1) for pair in options.set)
    print("| rate Hz | goal | success | cost cm^2, mean ± std | time to goal s, median |\n|---|---|---|---|---|")
    for rate in options.rates.split(","):
        for goal in GOALS:
            runs = []
            for seed in range(1, options.seeds + 1):
                with tempfile.TemporaryDirectory() as folder:
                    runs.append(push(goal, seed, float(rate), options.params, settings, Path(folder)))
            costs, times, good = zip(*runs, strict=True)
            spread = statistics.stdev(costs) if len(costs) > 1 else 0.0
            cells = (rate, goal, f"{sum(good)}/{len(good)}", f"{statistics.mean(costs):.2f} ± {spread:.2f}")
            print(f"| {' | '.join(cells)} | {statistics.median(times):.1f} |", flush=True)


if __name__ == "__main__":
    main()
