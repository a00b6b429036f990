"""Every fault on the real processes: `python benchmarks/faults.py [--only WORDS] [--json FILE] [--write FILE.md]`.

Prints a line for each, writes the table, and ends with code 1 when a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))  # the loop that the tests use

from fault_report import write_markdown  # noqa: E402
from fault_run import Outcome, run_fault  # noqa: E402
from fault_scene import Scene  # noqa: E402
from fault_table import FAULTS, Fault  # noqa: E402

from sgp_core.share import share_path  # noqa: E402

BUNDLE = share_path("models", "default")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name and phase hold these words, one of a|b|c")
    parser.add_argument("--json", type=Path, help="file for what was measured")
    parser.add_argument("--write", type=Path, help="Markdown file whose table is replaced")
    options = parser.parse_args()
    wanted = [fault for fault in FAULTS if any(words in fault.label for words in options.only.split("|"))]
    outcomes: list[Outcome] = []
    for sim_time, faults in groupby(sorted(wanted, key=lambda f: f.sim_time), key=lambda f: f.sim_time):
        outcomes += run_all(list(faults), sim_time=sim_time)
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps([one.to_dict() for one in outcomes], indent=1))
    if options.write:
        write_markdown(options.write, outcomes)
    steps, samples = sum(o.steps for o in outcomes), sum(o.samples for o in outcomes)
    broken = [one for one in outcomes if one.problems]
    unsafe = sum(text.startswith("unsafe") for one in outcomes for text in one.problems)
    print(
        f"{len(outcomes)} faults, {len(broken)} with a broken promise; unsafe: {unsafe} of {steps} steps and"
        f" {samples} measured places"
    )
    return 1 if broken else 0


def run_all(faults: list[Fault], *, sim_time: bool) -> list[Outcome]:
    """In one loop, which has to recover from each to meet the next; one that does not is replaced."""
    outcomes: list[Outcome] = []
    while len(outcomes) < len(faults):
        with tempfile.TemporaryDirectory() as folder, Scene(Path(folder), BUNDLE, sim_time=sim_time) as scene:
            for fault in faults[len(outcomes) :]:
                outcomes.append(told(run_fault(scene, fault)))
                if outcomes[-1].recovered_s is None:
                    break
    return outcomes


def told(outcome: Outcome) -> Outcome:
    """One line on the terminal."""
    detected = "-" if outcome.detected_s is None else f"{outcome.detected_s:.2f}"
    recovered = "-" if outcome.recovered_s is None else f"{outcome.recovered_s:.1f}"
    print(
        f"{outcome.name}, {outcome.phase}: detected {detected} s, stopped {outcome.stopped_s:.2f} s (bound"
        f" {outcome.bound_s}), recovered {recovered} s {list(outcome.calls)}; {outcome.who}: {outcome.words[:150]}"
        f" [{outcome.steps} steps, attempt {outcome.prepared}]",
        flush=True,
    )
    for problem in outcome.problems[:5]:
        print(f"    BROKEN {problem}", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
