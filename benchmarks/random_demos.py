"""The demo through the nodes for pairs of the suite `random`: `python benchmarks/random_demos.py --count 20`.

Each is a whole `sgp demo`, all nodes from their start, with the box and the pusher where the pair begins and the pair's
goal. It prints a row for each, and ends with code 1 when fewer than 95 per cent succeed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from sgp_core.bundle import load_bundle
from sgp_core.share import share_path
from sgp_core.suites import RANDOM, Case, listed_cases

ENOUGH = 0.95


def demo(case: Case, number: int, out: Path) -> dict[str, Any]:
    """What the summary of one says."""
    settings = yaml.safe_load(share_path("config", "sim.yaml").read_text())
    rig = settings["/**/rig_sim_node"]["ros__parameters"]
    rig.update(box_start=list(case.box), pusher_start=list(case.pusher_m))
    file = out / f"{case.name}.yaml"
    file.write_text(yaml.safe_dump(settings))
    goal = ",".join(f"{value:.4f}" for value in case.goal)
    sgp, folder = Path(sys.executable).with_name("sgp"), out / case.name
    command = [sgp, "demo", f"--goal={goal}", "--seed", str(number), "--params-file", file, "--out", folder]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    summary = folder / "summary.json"
    if not summary.exists():
        raise SystemExit(f"{case.name}: no summary; sgp demo said:\n{told.stdout}{told.stderr}")
    found: dict[str, Any] = json.loads(summary.read_text())
    return found


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="pairs, from the first on")
    parser.add_argument("--out", type=Path, help="keep the folders of the demos here")
    arguments = parser.parse_args()
    cases = listed_cases(RANDOM, load_bundle(share_path("models", "default")).layout, 1, 0, arguments.count)
    columns = ("pair", "goal", "success", "cost [cm^2]", "steps", "plan p50 [ms]", "last reason")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    good = 0
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        for number, case in enumerate(cases):
            one = demo(case, number, out)
            good += bool(one["success"])
            goal, plan_ms = ", ".join(f"{value:.2f}" for value in case.goal), one["plan_ms"]["p50"]
            cells = (case.name, goal, one["success"], one["final_cost_cm2"], one["steps"], plan_ms, one["reason"])
            print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)
    print(f"\n{good} of {len(cases)} succeed")
    return int(good < ENOUGH * len(cases))


if __name__ == "__main__":
    sys.exit(main())
