"""The files of a bundle, verified without running anything in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from sgp_core.archives import open_zip, read_arrays
from sgp_core.bundle_index import INDEX, MAKE_AGAIN, read_index
from sgp_core.errors import BundleError, InputError
from sgp_core.layout import MarkerLayout
from sgp_core.normalizer import Normalizer
from sgp_core.reading import MIB, read_bytes, sha256_of

DYNAMICS, SCORE, REFERENCE = "dynamics.pt", "score.pt", "reference.npz"
MODEL_AT_MOST = 1024 * MIB  # the paper's networks have 17, the widest that `sgp train` takes with four layers 800
REFERENCE_AT_MOST = 64 * MIB
STATE = re.compile(r"\b__setstate__\b")  # runs while the model is loaded
CODE_AT_MOST = 16 * MIB  # a model's code, unpacked: what is compressed in its archive; the weights are not


@dataclass(frozen=True, kw_only=True)
class BundleFiles:
    """What bundle.json says, and the bytes it vouches for; nothing of them has run.

    Args:
        path: folder.
        index: all of bundle.json.
        sha256: hash of bundle.json, which holds the hash of every other file.
        models: bytes of dynamics.pt and score.pt, by name.
        layout, normalizer, sigmas, step_duration_s, step_limit_m, metrics, reference_x, reference_u: see `ModelBundle`.
    """

    path: Path
    index: dict[str, Any]
    sha256: str
    models: dict[str, bytes]
    layout: MarkerLayout
    normalizer: Normalizer
    sigmas: tuple[float, ...]
    step_duration_s: float
    step_limit_m: float
    metrics: dict[str, Any]
    reference_x: ndarray
    reference_u: ndarray


def read_bundle_files(path: Path) -> BundleFiles:
    """Read and verify a bundle: sizes, hashes, archives, numbers. No model is loaded, for loading would run it.

    Raises:
        BundleError: a file is missing, too large or no archive, its hash is wrong, an entry of bundle.json is missing
            or does not fit the others. The text says what to do.
    """
    index, sha256 = read_index(path)
    try:
        hashes = {name: index["sha256"][name] for name in (DYNAMICS, SCORE, REFERENCE)}
        layout = MarkerLayout.from_dict(index["layout"])
        normalizer = Normalizer.from_dict(index["normalizer"])
        sigmas = tuple(float(s) for s in index["sigmas"])
        step_duration_s, step_limit_m = float(index["step_duration_s"]), float(index["limits"]["step_limit_m"])
        metrics = dict(index["metrics"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / INDEX}: {error!r} is missing or malformed; {MAKE_AGAIN}") from error
    _check_numbers(path / INDEX, layout, normalizer, sigmas, (step_duration_s, step_limit_m))
    limits = {DYNAMICS: MODEL_AT_MOST, SCORE: MODEL_AT_MOST, REFERENCE: REFERENCE_AT_MOST}
    raw = {name: _verified(path / name, hashes[name], limits[name]) for name in limits}
    for name in (DYNAMICS, SCORE):
        _check_model(path / name, raw[name])
    x, u = _reference(path / REFERENCE, raw[REFERENCE], layout)
    return BundleFiles(
        path=path,
        index=index,
        sha256=sha256,
        models={name: raw[name] for name in (DYNAMICS, SCORE)},
        layout=layout,
        normalizer=normalizer,
        sigmas=sigmas,
        step_duration_s=step_duration_s,
        step_limit_m=step_limit_m,
        metrics=metrics,
        reference_x=x,
        reference_u=u,
    )


def _check_numbers(
    file: Path, layout: MarkerLayout, normalizer: Normalizer, sigmas: tuple[float, ...], durations: tuple[float, float]
) -> None:
    if not (np.isfinite(durations).all() and min(durations) > 0.0):
        raise BundleError(f"{file}: step_duration_s and step_limit_m = {durations} must be positive; {MAKE_AGAIN}")
    if len(normalizer.x_centre) != layout.state_size:
        raise BundleError(
            f"{file}: x_centre has {len(normalizer.x_centre)} numbers, the layout needs {layout.state_size};"
            f" {MAKE_AGAIN}"
        )
    if not sigmas or list(sigmas) != sorted(sigmas, reverse=True) or not min(sigmas) > 0.0 or len(sigmas) > 1000:
        raise BundleError(
            f"{file}: sigmas = {sigmas[:12]} must be positive and fall from high to low, at most 1000; {MAKE_AGAIN}"
        )


def _verified(file: Path, expected: object, at_most: int) -> bytes:
    try:
        raw = read_bytes(file, "bundle file", at_most)
    except FileNotFoundError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror}); {MAKE_AGAIN}") from error
    except InputError as error:
        raise BundleError(f"{error}; {MAKE_AGAIN}") from error
    found = sha256_of(raw)
    if found != expected:
        raise BundleError(f"{file} has sha256 {found[:12]}..., {INDEX} says {str(expected)[:12]}...; {MAKE_AGAIN}")
    return raw


def _check_model(file: Path, raw: bytes) -> None:
    """An archive that torch may open: it would become little larger than it is."""
    try:
        with open_zip(raw, len(raw) + CODE_AT_MOST) as archive:
            names = archive.namelist()
    except InputError as error:
        raise BundleError(f"{file} is not a TorchScript file: {error}; {MAKE_AGAIN}") from error
    if not any("/code/" in name for name in names):
        raise BundleError(f"{file} is not a TorchScript file: it holds no code; {MAKE_AGAIN}")


def _reference(file: Path, raw: bytes, layout: MarkerLayout) -> tuple[ndarray, ndarray]:
    try:
        arrays = read_arrays(raw, ("x", "u"), REFERENCE_AT_MOST)
        x, u = (np.asarray(arrays[name], dtype=float) for name in ("x", "u"))
    except (InputError, ValueError, TypeError) as error:
        raise BundleError(f"{file} does not hold reference tuples: {error}; {MAKE_AGAIN}") from error
    if x.ndim != 2 or len(x) == 0 or x.shape[1] != layout.state_size or u.shape != (len(x), 2):
        raise BundleError(
            f"{file} holds x {x.shape} and u {u.shape}, not (M, {layout.state_size}) and (M, 2); {MAKE_AGAIN}"
        )
    if not (np.isfinite(x).all() and np.isfinite(u).all()):
        raise BundleError(f"{file} holds values that are not finite; {MAKE_AGAIN}")
    return x, u


def calls_of(model: bytes) -> set[str]:
    """What the code of a verified model calls, such as torch.linear, as far as a look at its text can tell."""
    found: set[str] = set()
    with open_zip(model, len(model) + CODE_AT_MOST) as archive:
        for member in archive.namelist():
            if "/code/" in member and member.endswith(".py"):
                text = archive.read(member).decode("utf-8", errors="replace")
                found |= set(re.findall(r"\b((?:torch|ops)\.[\w.]+)\s*\(", text)) | set(STATE.findall(text))
    return found
