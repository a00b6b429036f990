"""Transitions (x_t, u_t, x_t+1) of a set of demonstrations: load, save, split."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from sgp_core.archives import read_arrays
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.reading import MIB, parse_json

SCHEMA = 1
FARTHEST_M = 20.0  # from the table's origin, where nobody sets up cameras
LARGEST_BYTES = 1024 * MIB  # unpacked: four million transitions of five markers, fifty days of pushing
ARRAYS = ("x", "u", "u_commanded", "x_next", "demonstration")


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """M transitions, in the order in which they were recorded [m; table].

    Args:
        x: state before the step.
        u: realised displacement of the pusher, the planner's action.
        u_commanded: displacement that was asked for.
        x_next: state `step_duration_s` later.
        demonstration: number of the demonstration each row belongs to.
        provenance: where the rows come from: command, seed, dates, whatever helps to make them again.
    """

    x: Float[ndarray, "M nx"]
    u: Float[ndarray, "M 2"]
    u_commanded: Float[ndarray, "M 2"]
    x_next: Float[ndarray, "M nx"]
    demonstration: Int[ndarray, "M"]
    layout: MarkerLayout
    step_duration_s: float
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        rows, size = len(self.x), self.layout.state_size
        wanted = {
            "x": (rows, size),
            "u": (rows, 2),
            "u_commanded": (rows, 2),
            "x_next": (rows, size),
            "demonstration": (rows,),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise InputError(f"{name} has shape {value.shape}, expected {shape} for {self.layout.count} markers")
            if value.dtype.kind not in "fiu":
                raise InputError(f"{name} holds values of type {value.dtype}, not numbers")
            if not np.isfinite(value).all():
                raise InputError(
                    f"{name} holds {int((~np.isfinite(value)).sum())} values that are not finite; drop those rows"
                )
        for name in ("x", "x_next") if rows else ():
            farthest_m = np.abs(getattr(self, name)).max()
            if farthest_m > FARTHEST_M:
                raise InputError(
                    f"{name} holds a position of {farthest_m:g} m, more than {FARTHEST_M:g}; divide by 1000 if these"
                    " are millimetres"
                )
        if rows == 0:
            raise InputError("the data set is empty; record at least one demonstration")
        if not self.step_duration_s > 0.0:
            raise InputError(f"step_duration_s = {self.step_duration_s} must be positive")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def sha256(self) -> str:
        """Hash of the numbers, the layout and the step duration; not of provenance."""
        digest = hashlib.sha256(json.dumps([self.layout.to_dict(), self.step_duration_s], sort_keys=True).encode())
        for name in ARRAYS:
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()

    @property
    def marks(self) -> dict[int, str]:
        """What tells a demonstration from every other: a hash of its states and steps, by its number."""
        tuples = np.hstack([self.x, self.u])
        return {
            int(number): hashlib.sha256(tuples[self.demonstration == number].tobytes()).hexdigest()[:16]
            for number in np.unique(self.demonstration)
        }

    def select(self, rows: ndarray) -> Transitions:
        """The rows where a mask is true, or of given indices."""
        chosen = {name: getattr(self, name)[rows] for name in ARRAYS}
        return Transitions(
            **chosen, layout=self.layout, step_duration_s=self.step_duration_s, provenance=self.provenance
        )

    def split(self, held_out: float, seed: int) -> tuple[Transitions, Transitions]:
        """Training and held-out part; a demonstration goes whole to one side, since its rows resemble each other.

        Raises:
            InputError: fewer than two demonstrations.
        """
        groups = np.unique(self.demonstration)
        if len(groups) < 2:
            raise InputError(f"{len(groups)} demonstration cannot be split; record at least two")
        count = min(len(groups) - 1, max(1, round(held_out * len(groups))))
        chosen = np.random.default_rng(seed).permutation(groups)[:count]
        out = np.isin(self.demonstration, chosen)
        return self.select(~out), self.select(out)

    def save(self, path: Path) -> None:
        """Write an .npz file, in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        header = {
            "schema": SCHEMA,
            "layout": self.layout.to_dict(),
            "step_duration_s": self.step_duration_s,
            "provenance": self.provenance,
        }
        partial = path.with_name(f"{path.name}.partial")
        with partial.open("wb") as file:  # a file object, because savez adds .npz to a bare name
            np.savez_compressed(file, header=np.array(json.dumps(header)), **{n: getattr(self, n) for n in ARRAYS})
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Transitions:
        """Read what `save` wrote; never unpickles.

        Raises:
            InputError: the file is missing, damaged, of another schema, or its arrays do not fit together.
        """
        try:
            found = dict(read_arrays(path, ("header", *ARRAYS), LARGEST_BYTES))
            header = parse_json(str(found.pop("header")).encode(), "its header")
            arrays = {name: np.asarray(array) for name, array in found.items()}
            if header["schema"] != SCHEMA:
                raise InputError(f"schema {header['schema']} is not {SCHEMA}; collect or cut the data again")
            layout = MarkerLayout.from_dict(header["layout"])
            return cls(
                **arrays,
                layout=layout,
                step_duration_s=float(header["step_duration_s"]),
                provenance=header["provenance"],
            )
        except FileNotFoundError as error:
            raise InputError(f"data file {path} does not exist; make one with `sgp collect`") from error
        except InputError as error:
            raise InputError(f"data file {path}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"data file {path} is damaged or not made by `sgp collect`: {error}") from error
