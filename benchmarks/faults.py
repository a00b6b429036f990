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
    parser.add_argument("--json", type=Path, help="file for what was measured; what it holds already stays")
    parser.add_argument("--write", type=Path, help="Markdown file whose tables are replaced")
    options = parser.parse_args()
    wanted = [fault for fault in FAULTS if any(words in fault.label for words in options.only.split("|"))]
    kept = Kept(options.json)
    for sim_time, faults in groupby(sorted(wanted, key=lambda fault: fault.sim_time), lambda fault: fault.sim_time):
        run_all(list(faults), kept, sim_time=sim_time)
    outcomes = kept.outcomes()
    if options.write:
        write_markdown(options.write, outcomes)
    print(summary(outcomes))
    return 1 if any(one.problems for one in outcomes) else 0


class Kept:
    """What was measured so far, also by earlier calls with the same file; the last time counts."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        known = json.loads(path.read_text()) if path is not None and path.exists() else []
        self._known = {(one["name"], one["phase"]): Outcome(**one) for one in known}

    def take(self, outcome: Outcome) -> None:
        """Keep one, at once: a cut run leaves what it has measured."""
        self._known[outcome.name, outcome.phase] = outcome
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps([one.to_dict() for one in self.outcomes()], indent=1) + "\n")

    def outcomes(self) -> list[Outcome]:
        """In the order of the table."""
        keys = [(fault.name, str(fault.phase)) for fault in FAULTS]
        return [self._known[key] for key in keys if key in self._known]


def run_all(faults: list[Fault], kept: Kept, *, sim_time: bool) -> None:
    """In one loop, which has to recover from each to meet the next; one that is not fit for the next is replaced."""
    left, bundle, unfit = list(faults), share_path("models", "default"), 0
    while left:
        with tempfile.TemporaryDirectory() as folder, Scene(Path(folder), bundle, sim_time=sim_time) as scene:
            try:
                while left:
                    outcome = told(run_fault(scene, left[0]))
                    kept.take(outcome)
                    del left[0]
                    if outcome.recovered_s is None:
                        break
            except NotReadyError as error:
                unfit += 1
                print(f"a new loop: {str(error).splitlines()[0]}", flush=True)
                if unfit > LOOPS:
                    raise


def told(outcome: Outcome) -> Outcome:
    """One line on the terminal, and those that explain it."""
    detected = "-" if outcome.detected_s is None else f"{outcome.detected_s:.2f} s by {outcome.who}"
    allowed = "" if outcome.bound_s is None else f" of {outcome.bound_s:.2f}"
    goes_on = outcome.goes_on and outcome.bound_s is None
    stopped = "goes on" if goes_on else f"stopped after {outcome.stopped_s:.2f}{allowed} s"
    recovered = "not recovered" if outcome.recovered_s is None else f"recovered after {outcome.recovered_s:.1f} s"
    print(f"{outcome.name}, {outcome.phase}: detected after {detected}, {stopped}, {recovered} {list(outcome.calls)}")
    for line in (outcome.words, outcome.note, *(f"BROKEN {problem}" for problem in outcome.problems)):
        if line:
            print(f"    {line}", flush=True)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
