"""A model bundle on disk: two TorchScript files, reference tuples, and bundle.json that vouches for them."""

from __future__ import annotations

import io
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sgp_core.bundle_files import DYNAMICS, REFERENCE, SCORE, BundleFiles, read_bundle_files
from sgp_core.bundle_index import INDEX, MAKE_AGAIN, SCHEMA
from sgp_core.errors import BundleError
from sgp_core.layout import MarkerLayout
from sgp_core.normalizer import Normalizer
from sgp_core.reading import sha256_of
from sgp_core.trust import require_trust


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
    files = {name: sha256_of((path / name).read_bytes()) for name in (DYNAMICS, SCORE, REFERENCE)}
    (path / INDEX).write_text(json.dumps({"schema": SCHEMA, "sha256": files, **index}, indent=1) + "\n")


def move_bundle(source: Path, target: Path) -> None:
    """Put a bundle in the place of another, bundle.json last; the folder it was in is removed."""
    target.mkdir(parents=True, exist_ok=True)
    (target / INDEX).unlink(missing_ok=True)
    for name in (DYNAMICS, SCORE, REFERENCE, INDEX):
        os.replace(source / name, target / name)
    source.rmdir()


def load_bundle(path: Path, *, own: bool = False) -> ModelBundle:
    """Read, verify and try a bundle.

    Args:
        path: folder.
        own: whether this process has just written it, which is reason enough to run it.

    Raises:
        BundleError: a file is missing or its hash is wrong, an entry is missing, nobody vouches for it (`trust`), the
            models do not take or give the shapes the layout asks for, or give values that are not finite. The text says
            what to do.
    """
    files = read_bundle_files(path)
    if not own:
        require_trust(files.sha256, path)
    return open_bundle(files)


def open_bundle(files: BundleFiles) -> ModelBundle:
    """The bundle of verified files: from here on its models run, so `require_trust` comes first. Raises BundleError."""
    models = {name: _load_script(files.path / name, raw) for name, raw in files.models.items()}
    bundle = ModelBundle(
        dynamics=models[DYNAMICS],
        score=models[SCORE],
        normalizer=files.normalizer,
        sigmas=files.sigmas,
        layout=files.layout,
        reference_x=files.reference_x,
        reference_u=files.reference_u,
        step_duration_s=files.step_duration_s,
        step_limit_m=files.step_limit_m,
        metrics=files.metrics,
        index=files.index,
        sha256=files.sha256,
        path=files.path,
    )
    _try_models(bundle)
    return bundle


def _load_script(file: Path, raw: bytes) -> torch.jit.ScriptModule:
    """From the bytes that were verified: the file on disk may be another one by now."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=DeprecationWarning)
            module = torch.jit.load(io.BytesIO(raw), map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{file} is not a TorchScript file this torch can read ({error}); {MAKE_AGAIN}") from error
    for weight in module.parameters():
        weight.requires_grad_(False)  # nothing in planning asks for the gradient of a weight
    return module.eval()


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
