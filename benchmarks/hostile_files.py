"""Files that somebody made to do harm, and what the readers of this package say of each: a table.

python benchmarks/hostile_files.py

Each is read in a process of its own. `s` is the time, `MiB` how much memory it took beyond what was there before: a
file that is refused must cost little of both. Nothing of it may run, which would leave a file called `harm`.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))  # what the tests write bags with

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rosbags.rosbag2 import CompressionMode, StoragePlugin  # noqa: E402

from sgp_core.bundle import load_bundle  # noqa: E402
from sgp_core.bundle_index import INDEX  # noqa: E402
from sgp_core.checkpoint import Checkpoint  # noqa: E402
from sgp_core.data import ARRAYS, Transitions  # noqa: E402
from sgp_core.errors import InputError  # noqa: E402
from sgp_core.goals import load_goals  # noqa: E402
from sgp_core.layout import MarkerLayout  # noqa: E402
from sgp_core.matched_points import MatchedPoints  # noqa: E402
from sgp_core.parameter_files import node_parameters  # noqa: E402
from sgp_ros.bags import Bag  # noqa: E402

sys.path.insert(0, str(ROOT / "benchmarks"))

from hostile_makers import (  # noqa: E402
    GIB,
    LAUGHS,
    Runs,
    bomb,
    bombed_bundle,
    compressed_bag,
    index_of,
    laughing_bag,
    linked,
    many_markers,
    misled_bag,
    npy_header,
    outside_bag,
    pickled,
    piped,
    raw,
    raw_index,
    redefined_bag,
    sparse,
    swapped_model,
    text,
    to_device,
    twice,
    viewed_bag,
    with_harm,
    writing_model,
    zipped,
)


def read_bag(path: Path) -> int:
    with Bag(path) as bag:
        return sum(1 for _ in bag.messages(set(bag.topics)))


def read_checkpoint(path: Path) -> object:
    return Checkpoint(path, {}).states


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bundle": ("bundle", load_bundle),
    "data": ("data.npz", Transitions.load),
    "layout": ("layout.yaml", MarkerLayout.load),
    "goals": ("goals.yaml", load_goals),
    "parameters": ("params.yaml", lambda path: node_parameters([path], "mpc_node")),
    "points": ("points.csv", MatchedPoints.load),
    "checkpoint": ("checkpoint.pt", read_checkpoint),
    "bag": ("bag", read_bag),
}


@dataclass(frozen=True)
class Case:
    """A file of a kind, how it is made, and a word of what must be said of it ('' when it is harmless and is read)."""

    kind: str
    make: Callable[[Path], object]
    words: str


CASES: dict[str, Case] = {
    "models that write a file, hashes right": Case("bundle", writing_model, "sgp trust"),
    "a vouched bundle, one model exchanged": Case("bundle", swapped_model, "dynamics.pt has sha256"),
    "dynamics.pt links to /dev/zero": Case("bundle", linked("/dev/zero"), "a pipe or a device"),
    "dynamics.pt links to /etc/passwd": Case("bundle", linked("/etc/passwd"), "not a TorchScript file"),
    "bundle.json is a pipe": Case("bundle", piped, "a pipe or a device"),
    "dynamics.pt of 100 GiB": Case("bundle", sparse("dynamics.pt", 100 * GIB), "more than"),
    "bundle.json of 1 GiB": Case("bundle", sparse(INDEX, GIB), "more than"),
    "bundle.json: a million brackets": Case("bundle", raw_index("[" * 1_000_000), "nested too deeply"),
    "bundle.json: a million digits": Case("bundle", raw_index('{"schema":' + "9" * 1_000_000 + "}"), "JSON"),
    "bundle.json: 10^400": Case("bundle", index_of(lambda i: i.update(step_duration_s=10**400)), "too large"),
    "bundle.json names files elsewhere": Case(
        "bundle", index_of(lambda i: i["sha256"].update({"../../x": "0"}) or i["sha256"].pop("score.pt")), "score.pt"
    ),
    "bundle.json: infinite scale": Case(
        "bundle", index_of(lambda i: i["normalizer"].update(x_scale=float("inf"))), "x_scale = inf"
    ),
    "reference.npz unpacks to 3 GiB": Case("bundle", bombed_bundle("reference.npz", "x.npy"), "would become"),
    "dynamics.pt unpacks to 3 GiB": Case("bundle", bombed_bundle("dynamics.pt", "a/code/x.py"), "would become"),
    "pickled objects": Case("data", pickled, "Python objects"),
    "unpacks to 3 GiB ": Case("data", raw(lambda _: bomb("header.npy", 3 * GIB)), "would become"),
    "says it has 8 TB": Case(
        "data", raw(lambda _: zipped(header=npy_header((10**12,)), x=b"")), "says that it has 8000000000000"
    ),
    "two arrays of one name": Case("data", twice, "two files of one name"),
    "header: 100,000 brackets": Case(
        "data",
        lambda path: np.savez(path, header=np.array("[" * 100_000), **{n: np.zeros(1) for n in ARRAYS}),
        "nested too deeply",
    ),
    "no archive at all": Case("data", text("PK\x03\x04 hello"), "no archive"),
    "a device": Case("data", to_device, "no regular file"),
    "aliases of aliases": Case("layout", text(LAUGHS), "aliases"),
    "python objects in YAML": Case("layout", text("!!python/object/apply:os.system ['touch harm']"), "not YAML"),
    "50,000 markers": Case("layout", many_markers, "more than"),
    "500 markers": Case("layout", lambda path: many_markers(path, 500), "more than 64"),
    "letters that steer the terminal": Case(
        "layout",
        text('{names: ["\\e[2J", b], places_m: [[0,0],[1,0]], box_size_m: [1,1,1], pusher_radius_m: 0.1}'),
        "printable",
    ),
    "a date of month 13": Case("goals", text("center: 2024-13-45"), "not YAML"),
    "aliases of aliases ": Case("goals", text(LAUGHS), "aliases"),
    "20,000 brackets": Case("goals", text("center: " + "[" * 20_000), "nested too deeply"),
    "10^400 in hexadecimal": Case("goals", text("center: [0x" + "f" * 400 + ", 0, 0]"), "too large"),
    "aliases of aliases  ": Case("parameters", text(LAUGHS), "aliases"),
    "a device ": Case("parameters", to_device, "a pipe or a device"),
    "a device  ": Case("points", to_device, "a pipe or a device"),
    "a pickle that runs a command": Case("checkpoint", raw(with_harm), "no checkpoint"),
    "the same inside of torch's archive": Case(
        "checkpoint",
        lambda path: torch.save({"states": Runs(path.parent / "harm")}, path),
        "no checkpoint",
    ),
    "unpacks to 3 GiB": Case("checkpoint", raw(lambda _: bomb("a/data.pkl", 3 * GIB)), "would become"),
    "mcap: a chunk of 256 MiB zeros": Case(
        "bag", compressed_bag(CompressionMode.STORAGE, StoragePlugin.MCAP), "not unpacked"
    ),
    "mcap: a message of 256 MiB zeros": Case(
        "bag", compressed_bag(CompressionMode.MESSAGE, StoragePlugin.MCAP), "not unpacked"
    ),
    "mcap.zstd of 256 MiB zeros": Case("bag", compressed_bag(CompressionMode.FILE, StoragePlugin.MCAP), "not unpacked"),
    "db3: a message of 256 MiB zeros": Case(
        "bag", compressed_bag(CompressionMode.MESSAGE, StoragePlugin.SQLITE3), "not unpacked"
    ),
    "db3 with a query that never ends": Case("bag", viewed_bag, "more than a table"),
    "mcap whose index leads elsewhere": Case("bag", misled_bag, "where no such chunk is"),
    "metadata.yaml names /etc/passwd": Case("bag", outside_bag, ""),
    "metadata.yaml: aliases of aliases": Case("bag", laughing_bag, ""),
    "PoseStamped with other fields": Case("bag", redefined_bag, ""),
}


def made(name: str, folder: Path) -> tuple[Path, Callable[[Path], object]]:
    """Write the file of a case; its path, and what reads it."""
    case = CASES[name]
    file, reader = READERS[case.kind]
    case.make(folder / file)
    return folder / file, reader


def _read(name: str, path: Path, answers: Any) -> None:
    reader = READERS[CASES[name].kind][1]
    before_kib, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    try:
        result = reader(path)
        said = f"read: {result if isinstance(result, int) else type(result).__name__}"
    except InputError as error:
        said = f"refused: {error}"
    except BaseException as error:
        said = f"TRACEBACK: {error!r}"
    mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    answers.put((said, time.perf_counter() - started_s, mib))


def main() -> int:
    worst = 0
    print("| kind | file | what is said of it | s | MiB |\n|---|---|---|---|---|", flush=True)
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            os.environ["XDG_CONFIG_HOME"] = str(folder / "config")  # nobody has vouched for anything but the cases
            path, _ = made(name, folder)
            context = multiprocessing.get_context("fork")
            answers = context.Queue()
            process = context.Process(target=_read, args=(name, path, answers))
            process.start()
            said, taken_s, mib = answers.get(timeout=120)
            process.join()
            harm = (folder / "harm").exists()
            bad = harm or said.startswith("TRACEBACK") or case.words not in said
            worst |= int(bad)
            words = " ".join(said.replace(f"{folder}/", "").replace("|", "/").split())
            words = words if len(words) < 200 else words[:200] + " ..."
            print(f"| {case.kind} | {name.strip()} | {words}{' HARM' * harm} | {taken_s:.1f} | {mib:.0f} |", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
