"""Every fault on the real processes: `python benchmarks/faults.py [--only WORDS] [--json FILE] [--write FILE.md]`.

Prints a line for each, writes the tables, and ends with code 1 when a promise was broken.
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

from fault_report import summary, write_markdown  # noqa: E402
from fault_run import Outcome, run_fault  # noqa: E402
from fault_scene import NotReadyError, Scene  # noqa: E402
from fault_table import FAULTS, Fault  # noqa: E402

from sgp_core.share import share_path  # noqa: E402

LOOPS = 10  # so many may fail to come to a phase: on a machine that is busy with other things some do


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="faults whose name and phase hold these words, one of a|b|c")
    parser.add_argument("--json", type=Path, help="file for what was measured")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables are replaced")
    options = parser.parse_args()
    wanted = [fault for fault in FAULTS if any(words in fault.label for words in options.only.split("|"))]
    outcomes: list[Outcome] = []
    for sim_time, faults in groupby(sorted(wanted, key=lambda fault: fault.sim_time), lambda fault: fault.sim_time):
        outcomes += run_all(list(faults), sim_time=sim_time)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps([one.to_dict() for one in outcomes], indent=1) + "\n")
    if options.write:
        write_markdown(options.write, outcomes)
    print(summary(outcomes))
    return 1 if any(one.problems for one in outcomes) else 0


def run_all(faults: list[Fault], *, sim_time: bool) -> list[Outcome]:
    """In one loop, which has to recover from each to meet the next; one that is not fit for the next is replaced."""
    outcomes: list[Outcome] = []
    bundle, unfit = share_path("models", "default"), 0
    while len(outcomes) < len(faults):
        with tempfile.TemporaryDirectory() as folder, Scene(Path(folder), bundle, sim_time=sim_time) as scene:
            try:
                for fault in faults[len(outcomes) :]:
                    outcomes.append(told(run_fault(scene, fault)))
                    if outcomes[-1].recovered_s is None:
                        break
            except NotReadyError as error:
                unfit += 1
                print(f"a new loop: {error}", flush=True)
                if unfit > LOOPS:
                    raise
    return outcomes


def told(outcome: Outcome) -> Outcome:
    """One line on the terminal."""
    detected = "-" if outcome.detected_s is None else f"{outcome.detected_s:.2f} s by {outcome.who}"
    allowed = "" if outcome.bound_s is None else f" of {outcome.bound_s:.2f}"
    stopped = f"stopped after {outcome.stopped_s:.2f}{allowed} s" + (", steps go on" if outcome.goes_on else "")
    recovered = "not recovered" if outcome.recovered_s is None else f"recovered after {outcome.recovered_s:.1f} s"
    print(f"{outcome.name}, {outcome.phase}: detected after {detected}, {stopped}, {recovered} {list(outcome.calls)}")
    for line in (outcome.words, outcome.note, *(f"BROKEN {problem}" for problem in outcome.problems)):
        if line:
            print(f"    {line}", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
