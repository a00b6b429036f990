"""How each hostile file is made; `hostile_files` tells which there are."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sqlite3
import struct
import sys
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test"))  # what the tests write bags with

import numpy as np  # noqa: E402
import torch  # noqa: E402
from bag_maker import BagMaker  # noqa: E402
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402

from sgp_core.bundle_index import INDEX  # noqa: E402
from sgp_core.layout import MarkerLayout  # noqa: E402
from sgp_core.reading import sha256_of  # noqa: E402
from sgp_core.share import share_path  # noqa: E402
from sgp_core.trust import trust  # noqa: E402

GIB = 1 << 30
TYPES = get_typestore(Stores.ROS2_JAZZY)
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefghijkl", "bcdefghijklm", strict=True)
)


def sealed(path: Path, change: Callable[[dict[str, Any]], object] = lambda _: None, *, vouched: bool = False) -> None:
    """bundle.json with the right hashes for what lies beside it, as somebody who makes a bundle would write it."""
    index = json.loads((path / INDEX).read_text())
    for name in index["sha256"]:
        if (path / name).is_file() and (path / name).stat().st_size < GIB:
            index["sha256"][name] = sha256_of((path / name).read_bytes())
    index["metrics"]["note"] = "of somebody else"
    change(index)
    (path / INDEX).write_text(json.dumps(index))
    if vouched:
        trust(sha256_of((path / INDEX).read_bytes()), path)


def bundle(path: Path) -> Path:
    return Path(shutil.copytree(share_path("models", "default"), path))


class Writes(torch.nn.Module):
    """TorchScript that writes a file when it is called."""

    def __init__(self, to: str) -> None:
        super().__init__()
        self.to_file = to

    def forward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        torch.save(x, self.to_file)
        return x + torch.cat([x[:, :-2] * 0.0, u], dim=-1)


class Runs:
    """A pickle that runs a command while it is loaded."""

    def __init__(self, to: Path) -> None:
        self.to = to

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.to}",)


def with_model(path: Path, module: torch.nn.Module) -> None:
    bundle(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), str(path / "dynamics.pt"))


def writing_model(path: Path) -> None:
    with_model(path, Writes(str(path.parent / "harm")))
    sealed(path)


def swapped_model(path: Path) -> None:
    bundle(path)
    sealed(path, vouched=True)
    shutil.copy(path / "score.pt", path / "dynamics.pt")


def linked(to: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (bundle(path) / "dynamics.pt").unlink()
        (path / "dynamics.pt").symlink_to(to)
        sealed(path)

    return make


def piped(path: Path) -> None:
    (bundle(path) / INDEX).unlink()
    os.mkfifo(path / INDEX)


def sparse(name: str, size: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with (bundle(path) / name).open("r+b") as file:
            file.truncate(size)

    return make


def index_of(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        bundle(path)
        sealed(path, change)

    return make


def raw_index(text: str) -> Callable[[Path], None]:
    return lambda path: (bundle(path) / INDEX).write_text(text) and None


def bomb(member: str, size: int) -> bytes:
    """A zip file with one member of zeros, made without compressing all of them: the same block again and again."""
    block = zlib.compressobj(wbits=-15)
    zeros = block.compress(bytes(1 << 24)) + block.flush(zlib.Z_FULL_FLUSH)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(member, zeros * (size >> 24) + block.flush())
    content = bytearray(out.getvalue())
    for signature, method, uncompressed in ((b"PK\3\4", 8, 22), (b"PK\1\2", 10, 24)):
        at = content.rindex(signature)
        struct.pack_into("<H", content, at + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", content, at + uncompressed, size)
    return bytes(content)


def npy_header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": shape})
    return out.getvalue()


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def bombed_bundle(name: str, member: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        (bundle(path) / name).write_bytes(bomb(member, 3 * GIB))
        sealed(path)

    return make


def pickled(path: Path) -> None:
    harm = Runs(path.parent / "harm")
    np.savez(path, **{name: np.array([harm], dtype=object) for name in ("header", "x", "u")}, allow_pickle=True)


def twice(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", npy_header((1,)) + bytes(8))
            archive.writestr("x.npy", npy_header((1,)) + bytes(8))


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def raw(content: Callable[[Path], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content(path)) and None


def to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def many_markers(path: Path, count: int = 50_000) -> None:
    places = ",".join(f"[{i},0]" for i in range(count))
    names = ",".join(f"m{i}" for i in range(count))
    path.write_text(f"names: [{names}]\nplaces_m: [{places}]\nbox_size_m: [1,1,1]\npusher_radius_m: 0.1\n")


def recorded(path: Path) -> Path:
    """A short honest bag."""
    layout = MarkerLayout.load(share_path("config", "layout.yaml"))
    maker = BagMaker(path, layout, "mcap", 0)
    for number in range(20):
        maker.frame(1000.0 + 0.01 * number, layout.markers_at(0.5, 0.0, 0.0), np.array([0.4, 0.0]))
    maker.writer.close()
    return path


def compressed_bag(mode: CompressionMode, plugin: StoragePlugin) -> Callable[[Path], None]:
    """One message of 256 MiB zeros, as the library itself would compress it."""

    def make(path: Path) -> None:
        writer = Writer(path, version=9, storage_plugin=plugin)
        writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer:
            topic = writer.add_connection("/sgp/status", "std_msgs/msg/String", typestore=TYPES)
            writer.write(topic, 1, bytes(GIB // 4))

    return make


def viewed_bag(path: Path) -> None:
    """A database whose `schema` is a query that never ends."""
    path.mkdir()
    with sqlite3.connect(path / "bag_0.db3") as database:
        database.execute("CREATE TABLE topics(id, name, type, serialization_format, offered_qos_profiles)")
        database.execute("CREATE TABLE messages(id, topic_id, timestamp, data)")
        endless = "WITH RECURSIVE n(v) AS (SELECT 1 UNION ALL SELECT v + 1 FROM n) SELECT v AS schema_version FROM n"
        database.execute(f"CREATE VIEW schema AS {endless} WHERE v < 0")
    database.close()


def misled_bag(path: Path) -> None:
    """An index that leads to a chunk inside of something else."""
    file = next(recorded(path).glob("*.mcap"))
    content = bytearray(file.read_bytes())
    at = _record(content, 0x08)
    struct.pack_into("<Q", content, at + 9 + 16, 3)
    file.write_bytes(content)


def _record(content: bytes, wanted: int) -> int:
    at = 8
    while content[at] != wanted:
        at += 9 + struct.unpack_from("<Q", content, at + 1)[0]
    return at


def redefined_bag(path: Path) -> None:
    """PoseStamped, but with other fields."""
    from rosbags.typesys import get_types_from_msg

    types = get_typestore(Stores.EMPTY)
    types.register(get_types_from_msg("int32 surprise\n", "geometry_msgs/msg/PoseStamped"))
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = "geometry_msgs/msg/PoseStamped"
        topic = writer.add_connection("/sgp/vrpn_mocap/marker1/pose", kind, typestore=types)
        writer.write(topic, 1, b"\0\1\0\0" + bytes(4))


def outside_bag(path: Path) -> None:
    index = recorded(path) / "metadata.yaml"
    index.write_text(index.read_text().replace("- bag_0.mcap", "- ../../../etc/passwd"))


def laughing_bag(path: Path) -> None:
    (recorded(path) / "metadata.yaml").write_text(LAUGHS)


def with_harm(path: Path) -> bytes:
    return pickle.dumps(Runs(path.parent / "harm"))
