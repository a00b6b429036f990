"""Reads bags without a ROS installation: rosbag2 folders, single files of them, ROS 1 bags, and what a crash left.

A recorder that is killed leaves no metadata.yaml, and a file whose end is missing. What was written whole is read
nevertheless, and `Bag.damage` tells what was not. Damaged bytes make the libraries underneath raise whatever comes to
their minds, from KeyError to zstd's own, hence the broad `except` around them and around nothing else.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC
from rosbags.highlevel import AnyReader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sgp_core.errors import InputError
from sgp_core.reading import MIB, read_yaml
from sgp_ros.bag_guard import GuardError, check_bag_files, check_messages, check_ros1
from sgp_ros.bag_writer import INFO, PARTS

STORAGE = (".mcap", ".db3", ".mcap.zstd", ".db3.zstd")
NAMES = "a rosbag2 folder, or a .mcap, .db3 or .bag file"


@dataclass(frozen=True)
class Raw:
    """A message as it was recorded."""

    topic: str
    received_ns: int  # when it was recorded
    data: bytes


class Bag:
    """A recording; use it in a `with` block.

    Args:
        path: of a folder or a file.

    Attributes:
        topics: type of each topic, as in `ros2 topic list -t`.
        damage: what could not be read, in words; empty when all could.
        malformed: messages whose bytes do not fit their type, by topic.

    Raises:
        InputError: there is no such file, it is no bag, or nothing in it can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.damage = path, ""
        self.malformed: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self.topics: dict[str, str] = {}
        self._salvage: Salvage | None = None
        self._reader: AnyReader | None = None
        self._decode: Callable[[bytes, str], Any] = _undecoded
        files = self._files()
        check_bag_files(files)
        try:
            index = _check_index(path, files)
            if str(index.get("compression_mode")).lower() == "message":
                check_messages(files)
            self._open(path)
        except GuardError:
            self.close()
            raise
        except Exception as error:
            self._open_parts(files, error)
        if not self.topics:
            self.close()
            if strange := _no_mcap(files):
                raise InputError(f"bag {path} holds no message: {strange}")
            raise InputError(f"bag {path} holds no message; was anything published while it was recorded?")

    def messages(self, topics: set[str]) -> Iterator[tuple[str, int, Any]]:
        """Topic, time of recording [ns] and message of these topics, in the order of recording.

        Raises:
            InputError: the bag does not say what the messages of a topic look like.
        """
        for raw in self.raw(topics):
            message = self.decoded(raw)
            if message is not None:
                yield raw.topic, raw.received_ns, message

    def decoded(self, raw: Raw) -> Any:
        """The message itself; None, and counted, when its bytes do not fit its type. Raises InputError."""
        try:
            return self._decode(raw.data, self.topics[raw.topic])
        except KeyError as error:
            raise InputError(
                f"bag {self.path} does not define the type {self.topics[raw.topic]} of {raw.topic}; record it with"
                " `sgp record`, or as mcap, which keeps definitions"
            ) from error
        except Exception:  # whatever a parser makes of other bytes
            self.malformed[raw.topic] = self.malformed.get(raw.topic, 0) + 1
            return None

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _files(self) -> list[Path]:
        """The files with messages."""
        path = self.path
        if not path.exists():
            raise InputError(f"bag {path} does not exist")
        inside = [*path.glob("*"), *path.glob(f"{PARTS}/*/*")] if path.is_dir() else [path]
        files = sorted(file for file in inside if file.name.endswith(STORAGE) or file == path)
        if not files:
            raise InputError(f"{path} is no bag: no .mcap or .db3 file in it; give {NAMES}")
        if path.is_file() and not path.name.endswith((*STORAGE, ".bag")):
            raise InputError(f"{path} is no bag; give {NAMES}")
        return files

    def _open(self, *paths: Path) -> None:
        reader = AnyReader(paths, default_typestore=get_typestore(Stores.ROS2_JAZZY))
        self._stack.enter_context(reader)
        check_ros1(reader.readers)
        self._reader = reader
        self.topics = {c.topic: c.msgtype for c in reader.connections}
        self._decode = reader.deserialize

    def _open_parts(self, files: list[Path], why: Exception) -> None:
        """What can be read without the folder's index, and without the index of a file."""
        self._reader = None
        sound, broken = [], []
        for file in files:
            try:
                with AnyReader([file], default_typestore=get_typestore(Stores.ROS2_JAZZY)):
                    sound.append(file)
            except Exception:
                broken.append(file)
        if not broken:
            self._open(*sound)
            words = " ".join(str(why).split())
            self.damage = f"its metadata.yaml was not used ({words}); all files that are there were read without it"
            return
        salvage = Salvage()
        for file in files:
            if file.suffix != ".mcap":
                remedy = f"; `sqlite3 {file.name} .recover | sqlite3 repaired.db3` saves what it can of a file cut off"
                raise InputError(
                    f"bag file {file} cannot be read: {why}{remedy if file.suffix == '.db3' else ''}"
                ) from why
            salvage.look_into(file)
        self._salvage, self.topics, self._decode = salvage, salvage.topics, salvage.decode
        self.damage = "; ".join(salvage.damage)

    def raw(self, topics: set[str]) -> Iterator[Raw]:
        """The bytes of these topics' messages, in the order of recording."""
        if self._salvage is not None:
            yield from self._salvage.raw(topics)
            return
        assert self._reader is not None
        connections = [c for c in self._reader.connections if c.topic in topics]
        if not connections:
            return
        try:
            for connection, received_ns, data in self._reader.messages(connections):
                yield Raw(connection.topic, received_ns, data)
        except Exception as error:  # the index is sound, a part behind it is not
            early = f"reading ended early: {error}"
            self.damage = "; ".join([self.damage] * bool(self.damage) + [early] * (early not in self.damage))


def _check_index(path: Path, files: list[Path]) -> dict[str, Any]:
    """A folder's index, empty for a file. Raises InputError when it does not name all of the folder's files."""
    if any(PARTS in file.relative_to(path).parts for file in files):
        raise InputError("the recording was not finished")
    index: dict[str, Any] = {}
    if path.is_dir():
        index = read_yaml(path / "metadata.yaml", "bag index", MIB)[INFO]
        forgotten = {file.name for file in files} - {Path(name).name for name in index["relative_file_paths"]}
        if forgotten:
            raise InputError(f"it does not name {sorted(forgotten)[0]}")
    return index


def _no_mcap(files: list[Path]) -> str:
    """Which file is no mcap, though it is called so, in words."""
    for file in files:
        with file.open("rb") as stream:
            start = stream.read(len(MCAP0_MAGIC))
        if file.suffix == ".mcap" and start != MCAP0_MAGIC:
            what = "is no mcap" if start else "is empty: the recorder was stopped before it wrote, or the disk was full"
            return f"{file} {what}; take another copy of it, or record again"
    return ""


def _undecoded(data: bytes, _kind: str) -> Any:
    return data


class Salvage:
    """Reads mcap files record by record, as far as they go."""

    def __init__(self) -> None:
        self.topics: dict[str, str] = {}
        self.damage: list[str] = []
        self._files: list[Path] = []
        self._types: Typestore = get_typestore(Stores.EMPTY)

    def look_into(self, file: Path) -> None:
        """What a file has, and how far it goes."""
        self._files.append(file)
        count = 0
        try:
            for _ in self._messages(file):
                count += 1
        except Exception as error:
            words = str(error) or "the end is missing"
            self.damage.append(f"{file.name} was cut off ({words}); {count} messages were saved")

    def raw(self, topics: set[str]) -> list[Raw]:
        """The messages of some topics, in the order of recording."""
        found = []
        for file in self._files:
            with contextlib.suppress(Exception):  # the same that `look_into` has told of
                for raw in self._messages(file):
                    if raw.topic in topics:
                        found.append(raw)
        return sorted(found, key=lambda raw: raw.received_ns)

    def _messages(self, file: Path) -> Iterator[Raw]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        with file.open("rb") as stream:
            for record in StreamReader(stream, record_size_limit=file.stat().st_size).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                    if record.encoding == "ros2msg":
                        self._types.register(get_types_from_msg(record.data.decode(), record.name))
                elif isinstance(record, Channel):
                    channels[record.id] = record
                    self.topics[record.topic] = schemas[record.schema_id].name
                elif isinstance(record, Message):
                    yield Raw(channels[record.channel_id].topic, record.log_time, record.data)

    def decode(self, data: bytes, kind: str) -> Any:
        """A message from its bytes."""
        return self._types.deserialize_cdr(data, kind)
