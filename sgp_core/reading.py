"""Reads files that somebody else may have written: regular ones, of a bounded size, text and settings without tricks.

YAML and JSON can be small on disk and still take the machine down: aliases of aliases grow exponentially once they are
printed, a thousand brackets exhaust the stack, a number of a million digits takes minutes. None of them is an error of
the parsers underneath that a caller would expect, so all are made into InputError here, and nowhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import yaml

from sgp_core.errors import InputError

MIB = 1 << 20
INDEX_AT_MOST = 4 * MIB  # what programs write: bundle.json of a hundred thousand demonstrations has about 2
YAML_AT_MOST = MIB // 4  # what people write has a few kB, and reading YAML in Python takes a minute for each MiB
TABLE_AT_MOST = 64 * MIB  # CSV files: an hour of one marker at 240 Hz has about 50


def read_bytes(path: Path, what: str, at_most: int) -> bytes:
    """All of a regular file.

    Args:
        path: of the file; a link to a regular file is followed, as colcon's --symlink-install makes them.
        what: begins the error text, such as "layout file".
        at_most: largest size [bytes].

    Raises:
        FileNotFoundError: there is none, so that callers can say how to make one.
        InputError: it is no regular file (a pipe or a device would be read for ever), too large, or not readable.
    """
    try:
        # Not blocking: merely opening a pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode):
                raise InputError(f"{what} {path} is a folder, a pipe or a device; give a regular file")
            raw = file.read(at_most + 1) if about.st_size <= at_most else b""
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from error
    if max(about.st_size, len(raw)) > at_most:
        raise InputError(f"{what} {path} has {about.st_size} bytes, more than {at_most}; is it the right file?")
    return raw


def read_text(path: Path, what: str, at_most: int = TABLE_AT_MOST) -> str:
    """A text file in UTF-8, without its byte-order mark. Raises as `read_bytes`, and InputError when it is no text."""
    try:
        return read_bytes(path, what, at_most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} is not text in UTF-8: {error}") from error


def read_yaml(path: Path, what: str, at_most: int = YAML_AT_MOST) -> Any:
    """Plain values of a YAML file, without anchors: ROS does not take them in its parameter files, either.

    Raises:
        InputError: the file cannot be read, is no YAML, or tries more than plain values.
    """
    try:
        return yaml.load(read_text(path, what, at_most), _PlainLoader)
    except FileNotFoundError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise InputError(f"{what} {path} is nested too deeply; it is none that a person would write") from error
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date of month 13, a number of ten thousand digits
        raise InputError(f"{what} {path} is not YAML: {error}") from error


def sha256_of(raw: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def parse_json(raw: bytes, what: str) -> Any:
    """Plain values of a JSON text.

    Raises:
        InputError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(raw, parse_int=_integer)
    except RecursionError as error:
        raise InputError(f"{what} is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{what} is not JSON: {error}") from error


def _integer(text: str) -> int:
    """An integer that fits 64 bits; a larger one measures nothing, and overflows where a float is made of it."""
    value = int(text)
    if abs(value) >= 2**63:
        raise ValueError(f"the number {text[:20]}... is too large")
    return value


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader makes plain values only; this one refuses aliases as well."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """See yaml.composer.Composer."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(
                None, None, "aliases (`*name`) are not taken, write the value out", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_yaml_int(self, node: Any) -> int:
        """See yaml.constructor.SafeConstructor."""
        value: int = super().construct_yaml_int(node)
        return _integer(str(value))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
