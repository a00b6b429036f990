"""bundle.json: what a bundle says of itself. Needs no torch, and so may be asked by whoever is in a hurry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgp_core.errors import BundleError, InputError
from sgp_core.reading import INDEX_AT_MOST, parse_json, read_bytes, sha256_of

SCHEMA = 1
INDEX = "bundle.json"
MAKE_AGAIN = "copy the bundle again from where it was made, or make it again with `sgp train`"


def read_index(path: Path) -> tuple[dict[str, Any], str]:
    """bundle.json and its sha256.

    Raises:
        BundleError: not there, not JSON, another schema.
    """
    file = path / INDEX
    try:
        raw = read_bytes(file, "bundle index", INDEX_AT_MOST)
        index = parse_json(raw, f"bundle index {file}")
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} holds no {INDEX}; give the folder of a bundle, such as one `sgp train` made"
        ) from error
    except InputError as error:
        raise BundleError(f"{error}; {MAKE_AGAIN}") from error
    if not isinstance(index, dict) or index.get("schema") != SCHEMA:
        schema = index.get("schema") if isinstance(index, dict) else None
        told = repr(schema) if isinstance(schema, int | str | None) else type(schema).__name__
        raise BundleError(f"{file} has schema {told[:40]}, this version reads {SCHEMA}; train again with this version")
    return index, sha256_of(raw)
