"""Archives (.npz, .pt) looked at before they are opened: what is in them, and how large it would become."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sgp_core.errors import InputError

MEMBERS_AT_MOST = 10_000


def read_arrays(source: Path | bytes, names: Iterable[str], at_most: int) -> Mapping[str, ndarray]:
    """Some arrays of an .npz file; never unpickles.

    Args:
        source: the file, or its bytes.
        names: of the arrays.
        at_most: what all of them together may become [bytes].

    Raises:
        OSError: the file cannot be read.
        InputError: it is no such archive, an array is missing, or they would become larger.
    """
    with open_zip(source, at_most) as archive:
        return {name: _array(archive, name, at_most) for name in names}


def open_zip(source: Path | bytes, at_most: int) -> zipfile.ZipFile:
    """A zip archive whose directory was checked: the names are unique, the sizes add up to no more than allowed.

    zipfile gives no more of a member than the directory says, so the sizes there are a bound even when they lie.

    Raises:
        OSError: the file cannot be read.
        InputError: it is no zip archive, or one of these is not so.
    """
    if isinstance(source, Path) and source.exists() and not source.is_file():
        raise InputError("no regular file")
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"no archive: {error}") from error
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    wrong = ""
    if len(members) > MEMBERS_AT_MOST or total > at_most:
        wrong = f"the archive would become {total} bytes in {len(members)} files, more than {at_most} are not unpacked"
    elif len({member.filename for member in members}) < len(members):
        wrong = "the archive holds two files of one name"
    elif any(member.flag_bits & 1 for member in members):
        wrong = "the archive is encrypted"
    if wrong:
        archive.close()
        raise InputError(wrong)
    return archive


def _array(archive: zipfile.ZipFile, name: str, at_most: int) -> ndarray:
    """One array; its own header may ask for more memory than the archive has data, and is asked first."""
    try:
        with archive.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            readers: dict[Any, Any] = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }
            if version not in readers:
                raise InputError(f"array '{name}' has format {version}, which this version does not read")
            shape, _, kind = readers[version](stream)
        if kind.hasobject:
            raise InputError(f"array '{name}' holds Python objects, which are never read")
        wanted, there = math.prod(shape) * kind.itemsize, archive.getinfo(f"{name}.npy").file_size
        if wanted > min(there, at_most):
            raise InputError(f"array '{name}' says that it has {wanted} bytes, the archive holds {there} of it")
        with archive.open(f"{name}.npy") as stream:
            array: ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        return array
    except KeyError as error:
        raise InputError(f"array '{name}' is missing") from error
    except InputError:
        raise
    except Exception as error:  # damaged bytes: zlib.error, BadZipFile, EOFError, ValueError, struct.error, SyntaxError
        raise InputError(f"array '{name}' is damaged: {error}") from error
