"""The table of faults as Markdown."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fault_run import Outcome

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
HOW = ("loses 20 %", "loses 60 %", "200 ms late", "reordered")
WORDS_LENGTH = 170


def write_markdown(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Replace what stands between the two marks of a file.

    Raises:
        ValueError: it has no such marks.
    """
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{path} has no {BEGIN} and {END}; add them where the tables belong")
    lines = [*_faults([o for o in outcomes if not o.cell]), "", *_topics(outcomes), "", summary(outcomes)]
    path.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}", encoding="utf-8")


def summary(outcomes: Sequence[Outcome]) -> str:
    """How many of everything, and how many of them unsafe."""
    broken = sum(bool(one.problems) for one in outcomes)
    unsafe = sum(text.startswith("unsafe") for one in outcomes for text in one.problems)
    steps, samples = sum(one.steps for one in outcomes), sum(one.samples for one in outcomes)
    return (
        f"{len(outcomes)} faults, {broken} with a broken promise. Unsafe: {unsafe} of {steps} steps sent and"
        f" {samples} measured places of the pusher."
    )


def _faults(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        "| fault | when | detected [s] | stopped [s] | allowed [s] | because of | recovered [s] | words |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        bound = ("-", "") if one.bound_s is None else (f"{one.bound_s:.2f}", one.bound_why)
        stopped = "goes on" if one.bound_s is None and one.goes_on else f"{one.stopped_s:.2f}"
        words = _short(one.words) + (f" ({_short(one.note)})" if one.note else "")
        cells = (one.name, one.phase, _seconds(one.detected_s), stopped, *bound, _recovery(one), words)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _topics(outcomes: Sequence[Outcome]) -> list[str]:
    cells = {tuple(one.cell): one for one in outcomes if one.cell}
    lines = ["| topic, mid-push | " + " | ".join(HOW) + " |", "|---" * (len(HOW) + 1) + "|"]
    for topic in dict.fromkeys(topic for topic, _ in cells):
        lines.append(f"| {topic} | " + " | ".join(_cell(cells.get((topic, how))) for how in HOW) + " |")
    return lines


def _cell(one: Outcome | None) -> str:
    if one is None:
        return "-"
    reason = one.words.partition(":")[0]
    said = f" ({reason} after {one.detected_s:.2f} s)" if reason else ""
    if one.goes_on:
        return f"goes on{said}"
    return f"stands after {one.stopped_s:.2f} s{said}, recovers in {_recovery(one)} s"


def _recovery(one: Outcome) -> str:
    return _seconds(one.recovered_s) + "".join(f", `{call}`" for call in one.calls)


def _seconds(time_s: float | None) -> str:
    return "-" if time_s is None else f"{time_s:.2f}"


def _short(words: str) -> str:
    words = re.sub(rf"{tempfile.gettempdir()}/\w+/", "", words).replace("|", "/")
    return words if len(words) <= WORDS_LENGTH else words[:WORDS_LENGTH].rstrip() + " ..."
