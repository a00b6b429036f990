"""The fuzz of test/test_fuzz.py for longer: `python benchmarks/fuzz.py --inputs 1000000 --seed 0`.

hypothesis draws sequences of events, batch after batch with seeds of their own, and shortens one that fails. Counted
are sequences; events (what was drawn); inputs (messages that reached a node, services and parameters, and times
that a node was woken); steps sent; and unsafe steps. `--mutants` shows instead that faults put in on purpose are found,
by their own sequence and by random ones.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test"))  # nodes in injected time

from fuzz_events import KINDS, Event, long_sequences, play
from fuzz_mutants import MUTANTS
from hypothesis import HealthCheck, Phase, given, seed, settings

BATCH = 25
MOST = 60  # random sequences for one mutant


def batch(number: int, counts: Counter[str], reasons: Counter[str]) -> None:
    """Some sequences; raises with the shortest one that fails."""

    @settings(
        max_examples=BATCH, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @seed(number)
    @given(long_sequences)
    def one(events: list[Event]) -> None:
        world = play(events, seed=number)
        oracles = world.oracles
        counts["sequences"] += 1
        counts["events"] += len(events)
        counts["inputs"] += world.inputs
        counts["steps sent"] += oracles.sent
        counts["of them not zero"] += oracles.moving_sent
        counts["steps taken by the pusher"] += oracles.taken
        reasons.update(oracles.reasons)
        assert not oracles.unsafe, oracles.unsafe

    one()


def long_run(inputs: int, first: int, minutes: float) -> int:
    """Returns the exit code: 1 when anything was unsafe."""
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    began_s, number = time.monotonic(), first
    while counts["inputs"] < inputs and time.monotonic() - began_s < 60.0 * minutes:
        try:
            batch(number, counts, reasons)
        except Exception as error:  # a crash of a node is a finding, too
            counts["unsafe or crashed batches"] += 1
            print(f"seed {number}: {error!r}\n" + "\n".join(getattr(error, "__notes__", [])), flush=True)
        number += 1
        if number % 5 == 0:
            print(f"{(time.monotonic() - began_s) / 60.0:.1f} min: {dict(counts)}", flush=True)
    print("| what | how many |\n|---|---|")
    for name in ("sequences", "events", "inputs", "steps sent", "of them not zero", "steps taken by the pusher"):
        print(f"| {name} | {counts[name]:,} |")
    print(f"| unsafe steps, crashes | {counts['unsafe or crashed batches']} |")
    print(f"| wall time, minutes | {(time.monotonic() - began_s) / 60.0:.1f} |")
    print(f"statuses: {dict(sorted(reasons.items()))}")
    return int(counts["unsafe or crashed batches"] > 0)


def mutants() -> int:
    """Returns the exit code: 1 when one was not found."""
    missed = 0
    print("| fault put in | what the oracle says | random sequences until it is found |\n|---|---|---|")
    for mutant in MUTANTS:
        with mutant.make():
            own = play(mutant.events).oracles.unsafe
            found = next((number for number in range(1, MOST + 1) if _fails(number)), None)
        missed += not own
        words = own[0].split(": ", 1)[1] if own else "nothing"
        print(f"| {mutant.name} | {words} | {found or f'not in {MOST}'} |", flush=True)
    return int(missed > 0)


def _fails(number: int) -> bool:
    dice = random.Random(number)
    return bool(
        play([(dice.randrange(len(KINDS)), dice.randrange(256), dice.randrange(256)) for _ in range(40)]).oracles.unsafe
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="end after so much wall time at most")
    parser.add_argument("--seed", type=int, default=0, help="of the first batch")
    parser.add_argument("--mutants", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    return mutants() if arguments.mutants else long_run(arguments.inputs, arguments.seed, arguments.minutes)


if __name__ == "__main__":
    sys.exit(main())
