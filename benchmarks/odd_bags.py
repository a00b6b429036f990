"""Damaged and odd bags, and what `sgp dataset from-bag` and `sgp replay` say of each: a table.

python benchmarks/odd_bags.py

Each is made of test/sample_bag, a recorded demo, and read by the real commands; 0 means that it was read, 2 that it was
refused. Anything else would be a traceback.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["COLUMNS"] = "2000"  # one line per message
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))  # what the tests write bags with

from bag_maker import NS, TYPES  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from sgp_core.errors import InputError  # noqa: E402
from sgp_ros.bag_writer import BagWriter  # noqa: E402
from sgp_ros.bags import Bag, Raw  # noqa: E402
from sgp_ros.cli import app  # noqa: E402

MARKERS = [f"/sgp/vrpn_mocap/marker{number}/pose" for number in range(1, 6)]
PUSHER = "/sgp/vrpn_mocap/pusher/pose"
MEASURED = [*MARKERS, PUSHER]
POSE = "geometry_msgs/msg/PoseStamped"
LONGEST = 250  # characters of words
FIVE_S, HOUR_S = 5.0, 3600.0
Change = Callable[[Any, float], bool | None]  # a message and the time since the start; False drops it


@dataclass
class Sample:
    """The recording that all others are made of."""

    kinds: dict[str, str]
    raws: list[Raw]

    @classmethod
    def read(cls) -> Sample:
        with Bag(ROOT / "test" / "sample_bag") as bag:
            return cls(dict(bag.topics), list(bag.raw(set(bag.topics))))

    def changed(self, topics: Iterable[str], change: Change) -> Sample:
        """Messages of some topics, changed or dropped."""
        wanted, raws, first_ns = set(topics), [], self.raws[0].received_ns
        for raw in self.raws:
            if raw.topic not in wanted:
                raws.append(raw)
                continue
            message = TYPES.deserialize_cdr(raw.data, self.kinds[raw.topic])
            if change(message, (raw.received_ns - first_ns) / NS) is not False:
                data = bytes(TYPES.serialize_cdr(message, self.kinds[raw.topic]))
                raws.append(Raw(raw.topic, raw.received_ns, data))
        return Sample(self.kinds, raws)

    def renamed(self, name: Callable[[str], str]) -> Sample:
        raws = [Raw(name(raw.topic), raw.received_ns, raw.data) for raw in self.raws]
        return Sample({name(topic): kind for topic, kind in self.kinds.items()}, raws)

    def only(self, wanted: Callable[[Raw], bool]) -> Sample:
        return Sample(self.kinds, [raw for raw in self.raws if wanted(raw)])

    def write(self, path: Path, storage: str = "mcap", split_bytes: int = 0, *, finish: bool = True) -> Path:
        writer = BagWriter(path, storage, split_bytes)
        for topic, kind in self.kinds.items():
            writer.add_topic(topic, kind, reliable=True, latched=False)
        for number, raw in enumerate(self.raws):
            writer.write(raw.topic, raw.received_ns, raw.data)
            if number % 200 == 199:
                writer.flush()
        if finish:
            writer.close()
        return path


Make = Callable[[Sample, Path], list[str] | None]  # writes it at a path; returns further words for the commands


def at(message: Any) -> Any:
    return message.pose.position


def moved_stamps(by_s: Callable[[float], float]) -> Change:
    def change(message: Any, time_s: float) -> None:
        stamp = message.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp.sec * NS + stamp.nanosec + round(by_s(time_s) * NS), NS)

    return change


def scaled(factor: float, after_s: float = 0.0) -> Change:
    def change(message: Any, time_s: float) -> None:
        if time_s >= after_s:
            point = at(message)
            point.x, point.y, point.z = (factor * v for v in (point.x, point.y, point.z))

    return change


def set_to(value: float, from_s: float = 0.0, to_s: float = 1e9) -> Change:
    def change(message: Any, time_s: float) -> None:
        if from_s <= time_s < to_s:
            at(message).x = at(message).y = at(message).z = value

    return change


def unstamped(message: Any, _time_s: float) -> None:
    message.header.stamp.sec = message.header.stamp.nanosec = 0


def jumping(message: Any, time_s: float) -> None:
    at(message).x += 0.2 if int(time_s * 2) % 2 else 0.0


def nan_step(message: Any, _time_s: float) -> None:
    message.vector.x = math.nan


def cut_off(file: Path, share: float) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])


def killed(sample: Sample, path: Path) -> None:
    """The folder of a recorder that is still writing is what a killed one leaves."""
    sample.write(path.with_name("writing"), finish=False)
    shutil.copytree(path.with_name("writing"), path)


def cut(one: Sample, path: Path, storage: str, share: float) -> None:
    one.write(path, storage)
    cut_off(next(path.glob("*_0.*")), share)


def without(one: Sample, path: Path, pattern: str, *, split: int = 0) -> None:
    next(one.write(path, split_bytes=split).glob(pattern)).unlink()


def text(path: Path, words: str) -> None:
    path.mkdir()
    (path / "bag_0.mcap").write_text(words)


def index(one: Sample, path: Path) -> None:
    (one.write(path) / "metadata.yaml").write_text("{")


def settings(path: Path, lines: str) -> list[str]:
    file = path.with_name("params.yaml")
    file.write_text(f"/**/mocap_node:\n  ros__parameters:\n    {lines}\n")
    return ["--params-file", str(file)]


def foreign(one: Sample, path: Path) -> None:
    one.only(lambda raw: raw.topic == "/sgp/status").renamed(lambda topic: f"/robot{topic}").write(path)


def other_type(one: Sample, path: Path) -> list[str]:
    one.write(path)
    return settings(path, "input: marker_points")


def other_frame(one: Sample, path: Path) -> list[str]:
    one.write(path)
    return settings(path, "mocap_frame: world")


def other_box(one: Sample, path: Path) -> list[str]:
    one.write(path)
    return ["--layout", str(ROOT / "config/examples/second_rig/layout.yaml")]


def garbage(one: Sample, path: Path) -> None:
    raws = [
        Raw(raw.topic, raw.received_ns, raw.data[:20]) if raw.topic == MARKERS[0] and number % 7 == 0 else raw
        for number, raw in enumerate(one.raws)
    ]
    Sample(one.kinds, raws).write(path)


def swapped(one: Sample, path: Path) -> None:
    pair = {MARKERS[0]: MARKERS[1], MARKERS[1]: MARKERS[0]}
    one.renamed(lambda topic: pair.get(topic, topic)).write(path)


def twice(one: Sample, path: Path) -> None:
    Sample(one.kinds, [raw for raw in one.raws for _ in range(2)]).write(path)


def shuffled(one: Sample, path: Path) -> None:
    raws = list(one.raws)
    for first in range(0, len(raws) - 7, 14):
        raws[first : first + 7] = reversed(raws[first : first + 7])
    Sample(one.kinds, raws).write(path)


def tf(one: Sample, path: Path) -> list[str]:
    one.write(path)
    return ["--arm", "servo"]


def changed(topics: Iterable[str], how: Change) -> Make:
    return of(lambda one: one.changed(topics, how))


def of(made: Callable[[Sample], Sample]) -> Make:
    """One that is a whole bag with other messages."""

    def make(one: Sample, path: Path) -> None:
        made(one).write(path)

    return make


ODD: dict[str, Make] = {
    "as it was recorded": of(lambda one: one),
    "recorder killed": killed,
    "mcap cut off at 60 %": lambda one, path: cut(one, path, "mcap", 0.6),
    "sqlite3 cut off at 60 %": lambda one, path: cut(one, path, "sqlite3", 0.6),
    "no metadata.yaml": lambda one, path: without(one, path, "metadata.yaml"),
    "metadata.yaml is not YAML": index,
    "split, one file lost": lambda one, path: without(one, path, "*_1.mcap", split=100_000),
    "an empty file": lambda _, path: text(path, ""),
    "a text file called .mcap": lambda _, path: text(path, "monday's run, see the other disk\n" * 99),
    "an empty folder": lambda _, path: path.mkdir(),
    "not there": lambda *_: None,
    "no message at all": of(lambda one: one.only(lambda _: False)),
    "of another robot": foreign,
    "of another namespace": of(lambda one: one.renamed(lambda topic: topic.replace("/sgp/", "/lab/"))),
    "settings for points, poses in it": other_type,
    "frame_id is not mocap_frame": other_frame,
    "of another box (--layout)": other_box,
    "pusher from tf, no tf in it": tf,
    "pusher silent": of(lambda one: one.only(lambda raw: raw.topic != PUSHER)),
    "millimetres": changed(MEASURED, scaled(1000.0)),
    "millimetres after 5 s": changed(MEASURED, scaled(1000.0, FIVE_S)),
    "one marker NaN": changed(MARKERS[1:2], set_to(math.nan)),
    "all NaN from 4 to 6 s": changed(MARKERS, set_to(math.nan, 4.0, 6.0)),
    "all but one marker zero": changed(MARKERS[1:], set_to(0.0)),
    "the box jumps twice a second": changed(MARKERS, jumping),
    "two markers swapped": swapped,
    "no stamps": changed(MEASURED, unstamped),
    "markers on another clock": changed(MEASURED, moved_stamps(lambda _: -500.0)),
    "clock set back after 5 s": changed(MEASURED, moved_stamps(lambda s: -4.0 * (s > FIVE_S))),
    "clock an hour ahead after 10 s": changed(MEASURED, moved_stamps(lambda s: HOUR_S * (s > 2.0 * FIVE_S))),
    "every seventh message garbage": garbage,
    "every message twice": twice,
    "messages in the wrong order": shuffled,
    "steps NaN": changed(["/sgp/step"], nan_step),
    "no steps, no status": of(lambda one: one.only(lambda raw: raw.topic in MEASURED)),
}


def told(words: list[str], folder: Path) -> tuple[str, list[str]]:
    """Exit code of a command and what it says."""
    result = CliRunner().invoke(app, words)
    if isinstance(result.exception, InputError):
        code, lines = "2", [str(result.exception), *_lines(result.output)]
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        return "TRACEBACK", [repr(result.exception)]
    else:
        code, lines = str(result.exit_code), _lines(result.output)
    return code, [line.replace(f"{folder}/", "").replace(str(ROOT), "").replace("|", "/") for line in lines]


def cell(code: str, lines: list[str], usual: list[str]) -> str:
    """What is said of a bag beyond what is said of the sample itself."""
    said = "; ".join(line for line in lines if line not in usual) or "as it was recorded"
    return f"{code}: {said if len(said) < LONGEST else said[:LONGEST] + ' ...'}"


def _lines(output: str) -> list[str]:
    """What counts of the output of a command that read its bag."""
    found = []
    for line in output.splitlines():
        if line.startswith("note:"):
            found.append(line.removeprefix("note:").strip())
        elif numbers := re.search(r"(\d+ transitions of \d+ demonstrations?)", line):
            found.insert(0, numbers[1])
        elif numbers := re.search(r"states: (\S+%) of (\d+) come out again", line):
            found.append(f"{numbers[1]} of {numbers[2]} states come out again")
        elif numbers := re.search(r"steps: (\S+%) of (\d+) within", line):
            found.append(f"{numbers[1]} of {numbers[2]} steps the same")
        elif rejected := re.fullmatch(r"│ *([\d.]+) │ *([\d.]+) │ (.*?) *│", line):
            found.append(f"not used from {rejected[1]} to {rejected[2]} s: {rejected[3]}")
    return list(dict.fromkeys(found))


def main() -> int:
    one, codes = Sample.read(), []
    usual: tuple[list[str], ...] = ()
    print("| bag | `sgp dataset from-bag` | `sgp replay` |\n|---|---|---|", flush=True)
    for name, make in ODD.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            more = make(one, folder / "bag") or []
            cutting = ["dataset", "from-bag", str(folder / "bag"), "-o", str(folder / "data.npz"), *more]
            found = [told(cutting, folder), told(["replay", str(folder / "bag"), "--seed", "7", *more], folder)]
            cells = [cell(*both, said) for both, said in zip(found, usual or ([], []), strict=True)]
            usual = usual or tuple(lines for _, lines in found)
            print(f"| {name} | {cells[0]} | {'the same' if cells[0] == cells[1] else cells[1]} |", flush=True)
            codes += [code for code, _ in found]
    return int(not set(codes) <= {"0", "2"})


if __name__ == "__main__":
    sys.exit(main())
