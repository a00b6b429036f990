"""Writes rosbag2 folders that survive their writer: what was flushed can be read, whatever happens next."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore

from sgp_core.errors import InputError

INFO = "rosbag2_bagfile_information"
PARTS = "unfinished"  # folder in the bag for the file that is being written
STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(2147483647, 4294967295)


class BagWriter:
    """One bag, in one file or several.

    Args:
        path: folder to make; must not exist.
        storage: mcap or sqlite3.
        split_bytes: `flush` begins a new file when the messages of one exceed this; 0 for one file.

    Raises:
        InputError: the folder exists, or the storage is not known.
    """

    def __init__(self, path: Path, storage: str = "mcap", split_bytes: int = 0) -> None:
        if storage not in STORAGES:
            raise InputError(f"storage {storage} is not known; it must be one of {', '.join(STORAGES)}")
        if path.exists():
            raise InputError(f"bag {path} exists already, and nothing is overwritten; choose another name or remove it")
        self.path, self._storage, self._split_bytes = path, STORAGES[storage], split_bytes
        self._typestore = get_typestore(Stores.ROS2_JAZZY)
        self._topics: dict[str, tuple[str, Qos]] = {}
        self._connections: dict[str, Connection] = {}
        self._files = 0
        self._info: dict[str, Any] = {}
        self.written_bytes = self._part_bytes = 0
        self._writer = self._begin()

    def add_topic(self, topic: str, kind: str, *, reliable: bool, latched: bool) -> None:
        """Declare a topic before its first message; `kind` as in `ros2 topic list -t`.

        Raises:
            InputError: nobody knows what such messages look like.
        """
        self._define(kind)
        offered = Qos(
            history=QosHistory.KEEP_LAST,
            depth=1,
            reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=_FOREVER,
            lifespan=_FOREVER,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_FOREVER,
            avoid_ros_namespace_conventions=False,
        )
        self._topics[topic] = (kind, offered)
        self._connect(topic)

    def write(self, topic: str, received_ns: int, data: bytes) -> None:
        """A message as it came over the wire."""
        self._writer.write(self._connections[topic], received_ns, data)
        self.written_bytes += len(data)
        self._part_bytes += len(data)

    def flush(self) -> None:
        """Bring all that was written so far to the disk, and begin a new file when this one is large enough.

        To be called between batches: what is in a later file must not be older than what is in an earlier one.
        """
        if self._split_bytes and self._part_bytes > self._split_bytes:
            self._finish()
            self._writer = self._begin()
        storage = self._writer.storage  # the library does so at the end, or every megabyte
        if isinstance(storage, McapWriter):
            if storage.chunk.bio.tell():
                storage.close_chunk()
            storage.bio.flush()
            os.fsync(storage.bio.fileno())
        elif isinstance(storage, Sqlite3Writer):
            storage.conn.commit()

    def close(self) -> None:
        """Finish the bag."""
        self._finish()
        (self.path / PARTS).rmdir()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _define(self, kind: str) -> None:
        """Find out what messages of a type look like: from the library, or from the package where it is installed."""
        if kind in self._typestore.fielddefs:
            return
        package, _, name = kind.split("/")
        try:
            from ament_index_python.packages import get_package_share_directory

            text = (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text(encoding="utf-8")
        except (ImportError, LookupError, OSError, ValueError) as error:
            raise InputError(f"the definition of {kind} is not found; is the package {package} installed?") from error
        for line in text.splitlines():
            word = line.split("#")[0].split("[")[0].split(" ")[0].strip()
            if "/" in word or word[:1].isupper():
                self._define("/msg/".join(word.split("/")) if "/" in word else f"{package}/msg/{word}")
        try:
            self._typestore.register(get_types_from_msg(text, kind))
        except TypesysError as error:
            raise InputError(f"the definition of {kind} cannot be understood: {error}") from error

    def _begin(self) -> Writer:
        """A file of its own, in a folder of its own until it is finished."""
        writer = Writer(self.path / PARTS / f"{self.path.name}_{self._files}", version=9, storage_plugin=self._storage)
        writer.open()
        self._writer, self._part_bytes = writer, 0
        for topic in self._topics:
            self._connect(topic)
        return writer

    def _connect(self, topic: str) -> None:
        kind, offered = self._topics[topic]
        self._connections[topic] = self._writer.add_connection(
            topic, kind, typestore=self._typestore, offered_qos_profiles=[offered]
        )

    def _finish(self) -> None:
        """Move the file to the others, and add what its index says to theirs."""
        self._writer.close()
        folder = self._writer.path
        index = folder / "metadata.yaml"
        info = yaml.safe_load(index.read_text(encoding="utf-8"))[INFO]
        for name in info["relative_file_paths"]:
            (folder / name).replace(self.path / name)
        self._info = joined(self._info, info) if self._info else info
        fresh = self.path / "metadata.yaml.tmp"
        fresh.write_text(yaml.safe_dump({INFO: self._info}, sort_keys=False), encoding="utf-8")
        os.replace(fresh, self.path / "metadata.yaml")
        index.unlink()
        folder.rmdir()
        self._files += 1


def joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The index of two files of a bag, one after the other, from the index of each."""
    counts = {_name(topic): topic for topic in one["topics_with_message_count"]}
    for topic in other["topics_with_message_count"]:
        known = counts.get(_name(topic))
        count = topic["message_count"] + (known["message_count"] if known else 0)
        counts[_name(topic)] = {**topic, "message_count": count}
    spans = [_span(index) for index in (one, other) if index["message_count"]]
    start_ns = min((begin for begin, _ in spans), default=0)
    end_ns = max((end for _, end in spans), default=0)
    return {
        **one,
        "relative_file_paths": [*one["relative_file_paths"], *other["relative_file_paths"]],
        "files": [*one["files"], *other["files"]],
        "message_count": one["message_count"] + other["message_count"],
        "topics_with_message_count": list(counts.values()),
        "starting_time": {"nanoseconds_since_epoch": start_ns},
        "duration": {"nanoseconds": end_ns - start_ns},
    }


def _name(topic: dict[str, Any]) -> tuple[str, str]:
    return topic["topic_metadata"]["name"], topic["topic_metadata"]["type"]


def _span(index: dict[str, Any]) -> tuple[int, int]:
    begin = index["starting_time"]["nanoseconds_since_epoch"]
    return begin, begin + index["duration"]["nanoseconds"]
