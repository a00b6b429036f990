"""What `sgp doctor` says of broken set-ups: `python benchmarks/doctor_cases.py [NAME ...]` prints a Markdown table.

Real nodes over real DDS, one fault at a time (test/doctor_cases.py). Exit code 1 when one was not found, or when the
graph as it should be gave more than INFO.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))  # the cases lie beside the tests that take some

from doctor_cases import CASES, RIGS  # noqa: E402
from ros_graph import Graph  # noqa: E402

from sgp_ros.doctor_findings import Severity, as_dicts  # noqa: E402
from sgp_ros.doctor_visit import visit  # noqa: E402

LISTEN_S = 4.0


def quiet(_stage: str) -> None:
    """Nobody waits for a progress here."""


def main() -> int:
    wanted = set(sys.argv[1:])
    known = {case.name for case in CASES}
    if wanted - known:
        print(f"error: unknown {sorted(wanted - known)}; known are {sorted(known)}", file=sys.stderr)
        return 2
    missed = []
    print("| broken set-up | finding | what is wrong | what to do | besides |\n|---|---|---|---|---|")
    for name, make in RIGS.items():
        cases = [case for case in CASES if case.rig == name and (not wanted or case.name in wanted)]
        if not cases:
            continue
        with tempfile.TemporaryDirectory() as folder, Graph(Path(folder)) as graph:
            rig = make(graph)
            if name == "room":
                healthy = [one for one in visit("sgp", LISTEN_S, quiet) if one.severity != Severity.INFO]
                missed += ["healthy"] if healthy else []
                words = "; ".join(one.words for one in healthy) or "nothing but INFO"
                print(f"| nothing | | {words} | | |", flush=True)
            for case in cases:
                mend = case.breaks(rig)
                findings = as_dicts(visit(case.namespace, LISTEN_S, quiet))
                mend()
                found = case.found_in(findings)
                if found is None:
                    missed.append(case.name)
                    found = {"severity": "not found", "check": "", "words": str(findings), "remedy": ""}
                others = [
                    f"{o['severity']} {o['check']}" for o in findings if o is not found and o["severity"] != "INFO"
                ]
                what = f"{found['severity']} {found['check']}"
                row = (case.broken, what, found["words"], found["remedy"], ", ".join(others))
                cells = (cell.replace("|", "\\|").replace(f"{ROOT}/", "") for cell in row)
                print("| " + " | ".join(cells) + " |", flush=True)
    if missed:
        print(f"not as it should be: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
