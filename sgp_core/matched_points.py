"""The same places as seen by the mocap system and as reported by the arm: a CSV file, one place per line."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.files import write_text
from sgp_core.reading import read_text

COLUMNS = ("mocap_x", "mocap_y", "mocap_z", "base_x", "base_y", "base_z")


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedPoints:
    """K places.

    Args:
        mocap_m: the pusher's marker (K, 3) [m; frame of the mocap system].
        base_m: the tool (K, 3) [m; frame of the arm's base].
    """

    mocap_m: Float[ndarray, "K 3"]
    base_m: Float[ndarray, "K 3"]

    def __len__(self) -> int:
        return len(self.mocap_m)

    @classmethod
    def empty(cls) -> MatchedPoints:
        """No places yet."""
        return cls(mocap_m=np.zeros((0, 3)), base_m=np.zeros((0, 3)))

    @classmethod
    def load(cls, path: Path) -> MatchedPoints:
        """Read a file with the columns of `COLUMNS`, in any order; further columns and lines with # are passed over.

        Raises:
            InputError: the file cannot be read, a column is missing, or a value is no finite number; names the line.
        """
        try:
            text = read_text(path, "points file")
        except OSError as error:
            raise InputError(f"points file {path} cannot be read: {error.strerror}") from error
        numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip() and line.strip()[0] != "#"]
        head = [name.strip() for name in numbered[0][1].split(",")] if numbered else []
        missing = [name for name in COLUMNS if name not in head]
        if missing:
            raise InputError(
                f"points file {path} lacks the columns {missing}; the first line must be {','.join(COLUMNS)}"
            )
        places = [head.index(name) for name in COLUMNS]
        rows = [_numbers(path, number, line, places) for number, line in numbered[1:]]
        values = np.array(rows, dtype=float).reshape(-1, len(COLUMNS))
        return cls(mocap_m=values[:, :3], base_m=values[:, 3:])

    def with_point(self, mocap_m: Float[ndarray, "3"], base_m: Float[ndarray, "3"]) -> MatchedPoints:
        """One place more."""
        return MatchedPoints(mocap_m=np.vstack([self.mocap_m, mocap_m]), base_m=np.vstack([self.base_m, base_m]))

    def without(self, index: int) -> MatchedPoints:
        """One place less."""
        return MatchedPoints(
            mocap_m=np.delete(self.mocap_m, index, axis=0), base_m=np.delete(self.base_m, index, axis=0)
        )

    def scaled(self, mocap_unit_m: float) -> MatchedPoints:
        """Mocap positions given in another unit, such as 0.001 for millimetres."""
        return MatchedPoints(mocap_m=self.mocap_m * mocap_unit_m, base_m=self.base_m)

    def save(self, path: Path) -> None:
        """Write the file anew, all at once."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([f"{v:.6f}" for v in row] for row in np.hstack([self.mocap_m, self.base_m]))
        write_text(path, out.getvalue(), force=True)


def _numbers(path: Path, number: int, line: str, places: list[int]) -> list[float]:
    cells = line.split(",")
    try:
        row = [float(cells[place]) for place in places]
    except (IndexError, ValueError) as error:
        raise InputError(f"points file {path}, line {number}: '{line.strip()}' needs six numbers in m") from error
    if not np.isfinite(row).all():
        raise InputError(f"points file {path}, line {number}: '{line.strip()}' holds NaN or infinity; delete the line")
    return row
