"""A model bundle on disk: two TorchScript files, reference tuples, and bundle.json that vouches for them."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.errors import BundleError
from sgp_core.layout import MarkerLayout
from sgp_core.normalizer import Normalizer

SCHEMA = 1
DYNAMICS, SCORE, REFERENCE, INDEX = "dynamics.pt", "score.pt", "reference.npz", "bundle.json"
MAKE_AGAIN = "copy the bundle again from where it was made, or make it again with `sgp train`"


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """Everything the planner needs to know about one box on one table.

    Args:
        dynamics: TorchScript, (x (B, 2N+2) m, u (B, 2) m) to x_next (B, 2N+2) m.
        score: TorchScript, (x, u, level (B,)) to the gradient of log p_sigma by (x, u), (B, 2N+4) [1/m].
        normalizer: metres to normalised space.
        sigmas: noise levels, high to low, in normalised space.
        layout: the markers it was trained on.
        reference_x, reference_u: tuples that stand for the data in the distance to data [m].
        step_duration_s: time one step takes.
        step_limit_m: largest step along an axis that the data hold.
        metrics: held-out figures, as `sgp train` measured them.
        sha256: hash of bundle.json, which holds the hash of every other file.
    """

    dynamics: torch.jit.ScriptModule
    score: torch.jit.ScriptModule
    normalizer: Normalizer
    sigmas: tuple[float, ...]
    layout: MarkerLayout
    reference_x: Float[ndarray, "M nx"]
    reference_u: Float[ndarray, "M 2"]
    step_duration_s: float
    step_limit_m: float
    metrics: dict[str, Any]
    index: dict[str, Any]
    sha256: str
    path: Path

    @property
    def reference(self) -> Tensor:
        """Reference tuples in normalised space (M, 2N+4), float32."""
        return self.normalizer.normalize(torch.from_numpy(self.reference_x), torch.from_numpy(self.reference_u)).float()


def script(module: torch.nn.Module) -> torch.jit.ScriptModule:
    """TorchScript of a module, weights frozen: nothing in planning asks for their gradients."""
    with warnings.catch_warnings():
        # The format is deprecated in favour of torch.export; it stays this project's file format.
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        return torch.jit.script(module.requires_grad_(False).eval())


def save_bundle(
    path: Path,
    *,
    dynamics: torch.jit.ScriptModule,
    score: torch.jit.ScriptModule,
    reference_x: Float[ndarray, "M nx"],
    reference_u: Float[ndarray, "M 2"],
    index: dict[str, Any],
) -> None:
    """Write a bundle; `index` holds what bundle.json says beside schema and hashes.

    Everything is written first and bundle.json last, so that an interrupted save never looks whole.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / INDEX).unlink(missing_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
        torch.jit.save(dynamics, str(path / DYNAMICS))
        torch.jit.save(score, str(path / SCORE))
    with (path / REFERENCE).open("wb") as file:
        np.savez_compressed(file, x=reference_x, u=reference_u)
    files = {name: _sha256((path / name).read_bytes()) for name in (DYNAMICS, SCORE, REFERENCE)}
    (path / INDEX).write_text(json.dumps({"schema": SCHEMA, "sha256": files, **index}, indent=1) + "\n")


def move_bundle(source: Path, target: Path) -> None:
    """Put a bundle in the place of another, bundle.json last; the folder it was in is removed."""
    target.mkdir(parents=True, exist_ok=True)
    (target / INDEX).unlink(missing_ok=True)
    for name in (DYNAMICS, SCORE, REFERENCE, INDEX):
        os.replace(source / name, target / name)
    source.rmdir()


def read_index(path: Path) -> tuple[dict[str, Any], str]:
    """bundle.json and its sha256.

    Raises:
        BundleError: not there, not JSON, another schema.
    """
    file = path / INDEX
    try:
        raw = file.read_bytes()
        index = json.loads(raw)
    except FileNotFoundError as error:
        raise BundleError(
            f"{path} holds no {INDEX}; give the folder of a bundle, such as one `sgp train` made"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} cannot be read ({error}); {MAKE_AGAIN}") from error
    if not isinstance(index, dict) or index.get("schema") != SCHEMA:
        schema = index.get("schema") if isinstance(index, dict) else None
        raise BundleError(f"{file} has schema {schema!r}, this version reads {SCHEMA}; train again with this version")
    return index, _sha256(raw)


def load_bundle(path: Path) -> ModelBundle:
    """Read, verify and try a bundle.

    Raises:
        BundleError: a file is missing or its hash is wrong, an entry is missing, the models do not take or give the
            shapes the layout asks for, or give values that are not finite. The text says what to do.
    """
    index, sha256 = read_index(path)
    try:
        hashes = {name: index["sha256"][name] for name in (DYNAMICS, SCORE, REFERENCE)}
        layout = MarkerLayout.from_dict(index["layout"])
        normalizer = Normalizer.from_dict(index["normalizer"])
        sigmas = tuple(float(s) for s in index["sigmas"])
        step_duration_s, step_limit_m = float(index["step_duration_s"]), float(index["limits"]["step_limit_m"])
        metrics = index["metrics"]
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path / INDEX}: {error!r} is missing or malformed; {MAKE_AGAIN}") from error
    durations = (step_duration_s, step_limit_m)
    if not (np.isfinite(durations).all() and min(durations) > 0.0):
        raise BundleError(
            f"{path / INDEX}: step_duration_s and step_limit_m = {durations} must be positive; {MAKE_AGAIN}"
        )
    if len(normalizer.x_centre) != layout.state_size:
        raise BundleError(
            f"{path / INDEX}: x_centre has {len(normalizer.x_centre)} numbers, the layout needs {layout.state_size};"
            f" {MAKE_AGAIN}"
        )
    if not sigmas or list(sigmas) != sorted(sigmas, reverse=True) or not min(sigmas) > 0.0:
        raise BundleError(f"{path / INDEX}: sigmas = {sigmas} must be positive and fall from high to low; {MAKE_AGAIN}")
    for name, expected in hashes.items():
        _verify(path / name, expected)
    models = {name: _load_script(path / name) for name in (DYNAMICS, SCORE)}
    x, u = _load_reference(path / REFERENCE, layout)
    bundle = ModelBundle(
        dynamics=models[DYNAMICS],
        score=models[SCORE],
        normalizer=normalizer,
        sigmas=sigmas,
        layout=layout,
        reference_x=x,
        reference_u=u,
        step_duration_s=step_duration_s,
        step_limit_m=step_limit_m,
        metrics=metrics,
        index=index,
        sha256=sha256,
        path=path,
    )
    _try_models(bundle)
    return bundle


def _verify(file: Path, expected: str) -> None:
    try:
        found = _sha256(file.read_bytes())
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror}); {MAKE_AGAIN}") from error
    if found != expected:
        raise BundleError(f"{file} has sha256 {found[:12]}..., {INDEX} says {str(expected)[:12]}...; {MAKE_AGAIN}")


def _load_script(file: Path) -> torch.jit.ScriptModule:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
            module = torch.jit.load(str(file), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{file} is not a TorchScript file this torch can read ({error}); {MAKE_AGAIN}") from error
    for weight in module.parameters():
        weight.requires_grad_(False)  # nothing in planning asks for the gradient of a weight
    return module.eval()


def _load_reference(file: Path, layout: MarkerLayout) -> tuple[ndarray, ndarray]:
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            x, u = np.asarray(arrays["x"], dtype=float), np.asarray(arrays["u"], dtype=float)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{file} does not hold reference tuples ({error}); {MAKE_AGAIN}") from error
    if len(x) == 0 or x.shape != (len(x), layout.state_size) or u.shape != (len(x), 2):
        raise BundleError(
            f"{file} holds x {x.shape} and u {u.shape}, not (M, {layout.state_size}) and (M, 2); {MAKE_AGAIN}"
        )
    if not (np.isfinite(x).all() and np.isfinite(u).all()):
        raise BundleError(f"{file} holds values that are not finite; {MAKE_AGAIN}")
    return x, u


def _try_models(bundle: ModelBundle) -> None:
    """Run both models on reference tuples: shapes, finite values, the pusher's known motion."""
    count, size = min(64, len(bundle.reference_x)), bundle.layout.state_size
    x = torch.from_numpy(bundle.reference_x[:count]).float()
    u = torch.from_numpy(bundle.reference_u[:count]).float()
    try:
        with torch.no_grad():
            x_next = bundle.dynamics(x, u)
            scores = [bundle.score(x, u, torch.full((count,), k)) for k in range(len(bundle.sigmas))]
    except RuntimeError as error:
        raise BundleError(
            f"{bundle.path}: the models refuse states of {size} numbers ({error}); {MAKE_AGAIN}"
        ) from error
    for name, value, width in [(DYNAMICS, x_next, size), *((SCORE, s, size + 2) for s in scores)]:
        if not isinstance(value, Tensor) or value.shape != (count, width):
            shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise BundleError(f"{bundle.path / name} gives {shape} instead of ({count}, {width}); {MAKE_AGAIN}")
        if not bool(torch.isfinite(value).all()):
            raise BundleError(f"{bundle.path / name} gives values that are not finite on its own data; train again")
    if not torch.allclose(x_next[:, -2:], x[:, -2:] + u, atol=1e-5):
        raise BundleError(f"{bundle.path / DYNAMICS} does not move the pusher by exactly u; export it with `sgp train`")


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
