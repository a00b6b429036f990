"""Bags looked at before they are opened: a small file must not unpack to one that fills memory or disk.

The libraries that read bags unpack each chunk, message or file as a whole, however large it becomes. Here all of them
are unpacked once, a piece at a time and into nothing, until the end or until it is too much; that costs a small part
of what reading the messages costs. What is not compressed cannot grow, and is passed over.
"""

from __future__ import annotations

import bz2
import contextlib
import sqlite3
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
from mcap.writer import MCAP0_MAGIC
from rosbags.rosbag2 import Reader

from sgp_core.errors import InputError
from sgp_core.reading import MIB

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = MIB
# Measured states of a box at rest shrink to a twentieth; a file that shrinks to a thousandth is made to.
GROWTH, GROWTH_FREE = 200, 16 * MIB
CHUNK, CHUNK_INDEX = 0x06, 0x08
DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "zstd": zstd.ZstdDecompressor,
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "bz2": bz2.BZ2Decompressor,
}
MAGIC = {"bz2": b"BZh", "lz4": b"\x04\x22\x4d\x18"}


class GuardError(InputError):
    """A bag that must not be opened at all."""


def check_bag_files(files: Iterable[Path]) -> None:
    """Look into the files of a bag: .mcap and .db3, also as .zstd.

    Raises:
        GuardError: no regular file, a part that would grow too much, a database with more than tables in it, or an
            index that leads to other places than the parts.
    """
    for file in files:
        if not file.is_file():
            raise GuardError(f"bag file {file} is a folder, a pipe or a device; give a regular file")
        if file.suffix == ".zstd":
            with file.open("rb") as stream:
                _check_growth(iter(lambda: stream.read(PIECE), b""), "zstd", file.stat().st_size, f"bag file {file}")
        elif file.suffix == ".mcap":
            _check_mcap(file)
        elif file.suffix == ".db3":
            _check_database(file)


def check_messages(files: Iterable[Path]) -> None:
    """For a bag whose index says that each message is compressed by itself. Raises GuardError."""
    for file in files:
        with Reader(file) as reader:
            for connection, _, data in reader.messages():
                check_chunk(bytes(data), "zstd", f"bag file {file}, message on {connection.topic},")


def check_ros1(readers: Iterable[Any]) -> None:
    """The chunks of ROS 1 bags that were opened, before they are unpacked. Raises GuardError."""
    for reader in readers:
        for chunk in getattr(reader, "chunks", {}).values() if reader.path.suffix == ".bag" else ():
            with reader.path.open("rb") as stream:
                stream.seek(chunk.datapos)
                data = stream.read(chunk.datasize)
            kind = next((name for name, magic in MAGIC.items() if data.startswith(magic)), "")
            check_chunk(data, kind, f"bag file {reader.path}, chunk at {chunk.datapos},")


def check_chunk(data: bytes, compression: str, where: str) -> None:
    """Raises GuardError when compressed data would grow too much; damaged data are the reader's business."""
    if compression:
        _check_growth([data], compression, len(data), where)


def _check_growth(pieces: Iterable[bytes], compression: str, size: int, where: str) -> None:
    if compression not in DECOMPRESSORS:
        return  # the reader does not know it, either, and says so
    at_most, total = GROWTH * size + GROWTH_FREE, 0
    decompressor = DECOMPRESSORS[compression]()
    with contextlib.suppress(zstd.ZstdError, RuntimeError, EOFError, OSError):
        for piece in pieces:
            data = piece
            while True:
                if decompressor.eof:  # several frames may follow each other
                    data, decompressor = (decompressor.unused_data or b"") + data, DECOMPRESSORS[compression]()
                    if not data:
                        break
                total += len(decompressor.decompress(data, max_length=PIECE))
                data = b""
                if total > at_most:
                    raise GuardError(f"{where} holds {size} bytes that would become more than {at_most}: not unpacked")
                if not decompressor.eof and decompressor.needs_input:
                    break


def _check_mcap(file: Path) -> None:
    """Every chunk, and that the index leads to none but these."""
    chunks: dict[int, tuple[str, int]] = {}
    with file.open("rb") as stream:
        for start, kind, length in _records(stream, file.stat().st_size):
            if kind == CHUNK:
                content = stream.read(length)
                with contextlib.suppress(struct.error, UnicodeDecodeError):
                    (unpacked,) = struct.unpack_from("<Q", content, 16)
                    name, rest = _string(content, 28)
                    (size,) = struct.unpack_from("<Q", content, rest)
                    data = content[rest + 8 : rest + 8 + size]
                    chunks[start] = name, size
                    if name and unpacked > GROWTH * len(data) + GROWTH_FREE:
                        raise GuardError(
                            f"bag file {file}: a chunk of {len(data)} bytes would become {unpacked}: not unpacked"
                        )
                    check_chunk(data, name, f"bag file {file}, chunk at {start},")
            elif kind == CHUNK_INDEX:
                with contextlib.suppress(struct.error, UnicodeDecodeError):
                    entry = stream.read(length)
                    (at,) = struct.unpack_from("<Q", entry, 16)
                    (offsets,) = struct.unpack_from("<I", entry, 32)
                    name, rest = _string(entry, 36 + offsets + 8)
                    (size,) = struct.unpack_from("<Q", entry, rest)
                    if chunks.get(at) != (name, size):
                        raise GuardError(f"bag file {file}: its index leads to {at}, where no such chunk is")


def _records(stream: BinaryIO, size: int) -> Iterator[tuple[int, int, int]]:
    """Place, kind and length of each whole record, with the stream at its content; ends where a file is cut off."""
    at = len(MCAP0_MAGIC)
    while at + 9 <= size:
        stream.seek(at)
        kind, length = struct.unpack("<BQ", stream.read(9))
        if kind == 0 or at + 9 + length > size:
            return
        yield at, kind, length
        at += 9 + length


def _string(content: bytes, at: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends."""
    (length,) = struct.unpack_from("<I", content, at)
    return content[at + 4 : at + 4 + length].decode(), at + 4 + length


def _check_database(file: Path) -> None:
    """Tables and indices only: a view or a trigger is a program, and may never end."""
    try:
        with contextlib.closing(sqlite3.connect(f"{file.resolve().as_uri()}?immutable=1", uri=True)) as database:
            entries = database.execute("SELECT type, name, sql FROM sqlite_master LIMIT 1000").fetchall()
    except (sqlite3.Error, UnicodeDecodeError):
        return  # damaged: the reader says how
    for kind, name, sql in entries:
        words = str(sql).upper().split()
        if kind not in ("table", "index") or "VIRTUAL" in words[:3] or "GENERATED" in words or "AS" in words:
            raise GuardError(f"bag file {file} has '{str(name)[:40]}', more than a table; no recorder makes that")
