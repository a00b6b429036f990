"""Markers over time, as recorded: samples of each marker, brought to common times, from a CSV file or from a camera."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_core.layout import rotation
from sgp_core.reading import read_text

COLUMNS = ("stamp_s", "name", "x", "y", "z")
UNLABELLED = ""  # name of a sample whose marker is not known
SAME_FRAME_S = 0.0005
GAP_S = 0.03  # a marker not seen for longer is hidden, not interpolated
STEP_M = 0.02  # a marker moved by hand does not get further from its expected place within a frame
MOVED_M = 0.04  # what goes further from its usual place belongs to a box that is moved about
# Where the positions of a recording are: a comment in its first line.
FRAME_COMMENT = "# frame: table"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One marker at one instant.

    Args:
        stamp_s: time of the measurement [s].
        name: the marker, or "" when the system does not tell markers apart.
        position_m: x, y, z [m].
    """

    stamp_s: float
    name: str
    position_m: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkerTracks:
    """N markers at F common times.

    Args:
        names: one per marker.
        stamp_s: times, rising (F,) [s].
        positions_m: (F, N, 2) [m; table]; NaN where hidden.
    """

    names: tuple[str, ...]
    stamp_s: Float[ndarray, "F"]
    positions_m: Float[ndarray, "F N 2"]


def tracks_of(samples: Sequence[Sample], names: Sequence[str] = ()) -> MarkerTracks:
    """Bring samples to common times.

    Args:
        samples: positions in the frame `table`, in any order; either all with names or all without.
        names: markers wanted, in this order; all of them when empty. Without names in the samples: what to call them.

    Raises:
        InputError: a wanted marker was never seen, or there are no samples.
    """
    if not samples:
        raise InputError("there is no marker sample; is the mocap driver running, is the box in view?")
    if all(sample.name == UNLABELLED for sample in samples):
        return _follow(samples, names)
    # A stamp that comes again brings nothing new, and interpolation needs rising ones.
    series = {
        name: dict(
            sorted(
                (s.stamp_s, s.position_m[:2])
                for s in samples
                if s.name == name and np.isfinite((s.stamp_s, *s.position_m)).all()
            )
        )
        for name in dict.fromkeys(names or sorted(s.name for s in samples if s.name != UNLABELLED))
    }
    missing = sorted(name for name, seen in series.items() if not seen)
    if missing:
        given = sorted({sample.name for sample in samples})
        raise InputError(f"no sample of marker {', '.join(missing)}; recorded are {', '.join(given)}")
    stamps = np.array(sorted(max(series.values(), key=lambda seen: sum(1 for _ in seen))))
    positions = np.stack([_at(stamps, seen) for seen in series.values()], axis=1)
    return MarkerTracks(names=tuple(series), stamp_s=stamps, positions_m=positions)


def _at(stamps: Float[ndarray, "F"], seen: dict[float, tuple[float, float]]) -> Float[ndarray, "F 2"]:
    """A marker's positions at other times; NaN where no sample is near on both sides."""
    own, places = np.array(list(seen)), np.array(list(seen.values()))
    after = np.clip(np.searchsorted(own, stamps), 0, len(own) - 1)
    before = np.where(own[after] <= stamps, after, np.maximum(after - 1, 0))
    found = np.stack([np.interp(stamps, own, places[:, k]) for k in range(2)], axis=-1)
    # Samples of one frame, stamped one after the other as they are received, stay whole: a swap lasts for one frame.
    closest = np.where(stamps - own[before] <= own[after] - stamps, before, after)
    same = np.abs(stamps - own[closest]) <= SAME_FRAME_S
    found[same] = places[closest[same]]
    far = np.maximum(np.abs(stamps - own[before]), np.abs(own[after] - stamps)) > GAP_S
    found[far & ~same] = np.nan
    return found


def _follow(samples: Sequence[Sample], names: Sequence[str]) -> MarkerTracks:
    """Tell markers apart that come without names: each goes on where it was, all of them together as one body."""
    frames: dict[float, list[tuple[float, float]]] = {}
    for sample in samples:
        if np.isfinite((sample.stamp_s, *sample.position_m)).all():
            frames.setdefault(sample.stamp_s, []).append(sample.position_m[:2])
    if not frames:
        raise InputError("no marker sample is finite; does the mocap system see the box?")
    stamps = np.array(sorted(frames))
    clouds = [np.array(frames[stamp]) for stamp in stamps]
    # Most frames at the beginning, when the box stands still and nobody is in the way, show all markers.
    sizes = [len(cloud) for cloud in clouds[: max(1, len(clouds) // 5)]]
    count = int(np.bincount(sizes).argmax())
    start = sizes.index(count)
    last = clouds[start]
    found = np.full((len(stamps), count, 2), np.nan)
    for f in range(start, len(stamps)):
        cost = np.linalg.norm(last[:, None] - clouds[f][None], axis=-1)
        rows, columns = linear_sum_assignment(cost)
        near = cost[rows, columns] < STEP_M
        rows, columns = rows[near], columns[near]
        found[f, rows] = clouds[f][columns]
        seen = np.zeros(count, dtype=bool)
        seen[rows] = True
        last = _carried(last, found[f], seen)
    return _named(_that_move(found), stamps, names)


def _carried(last: Float[ndarray, "N 2"], now: Float[ndarray, "N 2"], seen: ndarray) -> Float[ndarray, "N 2"]:
    """Where markers are expected next: seen ones where they are, hidden ones moved along with them."""
    expected = np.where(seen[:, None], now, last)
    if 2 <= seen.sum() < len(last):
        a, b = last[seen] - last[seen].mean(axis=0), now[seen] - now[seen].mean(axis=0)
        turn = rotation(float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum())))
        expected[~seen] = (last[~seen] - last[seen].mean(axis=0)) @ turn.T + now[seen].mean(axis=0)
    return expected


def _that_move(found: Float[ndarray, "F M 2"]) -> Float[ndarray, "F N 2"]:
    """Without reflections on the table: they stay where they are while the box is moved, or are seen now and then."""
    often = np.isfinite(found[..., 0]).mean(axis=0) > 0.5
    found = found[:, often]
    if not often.any():
        return found
    way_m = np.nanmax(np.linalg.norm(found - np.nanmedian(found, axis=0), axis=-1), axis=0)
    # In a box that was not moved, every point stays.
    return found[:, way_m > MOVED_M / 2] if way_m.max() > MOVED_M else found


def _named(found: Float[ndarray, "F N 2"], stamps: Float[ndarray, "F"], names: Sequence[str]) -> MarkerTracks:
    count = found.shape[1]
    if names and len(names) != count:
        raise InputError(
            f"{count} points move together, but {len(names)} names are given; cover reflections, or name all of them"
        )
    given = tuple(names) or tuple(f"marker{n + 1}" for n in range(count))
    return MarkerTracks(names=given, stamp_s=stamps, positions_m=found)


def load_samples(path: Path, table_from_mocap: Transform | None = None) -> list[Sample]:
    """Read a recording: columns stamp_s, name, x, y, z in s and m; an empty name is an unlabelled marker.

    Args:
        path: CSV file; the line `# frame: table` says that its positions are in the frame `table` already.
        table_from_mocap: place of the mocap frame, for positions that are not.

    Raises:
        InputError: the file cannot be read, a column is missing or a line holds no numbers; names the line.
    """
    try:
        lines = read_text(path, "recording").splitlines()
    except OSError as error:
        raise InputError(f"recording {path} cannot be read: {error}") from error
    if FRAME_COMMENT in lines and table_from_mocap is not None:
        raise InputError(f"recording {path} is in the frame table already; leave out --table")
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    head = [cell.strip() for cell in numbered[0][1].split(",")] if numbered else []
    missing = [name for name in COLUMNS if name not in head]
    if missing:
        raise InputError(f"recording {path} lacks the columns {missing}; the first line must be {','.join(COLUMNS)}")
    samples = [_sample(path, number, dict(zip(head, line.split(","), strict=False))) for number, line in numbered[1:]]
    if table_from_mocap is None:
        return samples
    moved = table_from_mocap.apply(np.array([s.position_m for s in samples]).reshape(-1, 3))
    return [replace(s, position_m=(float(x), float(y), float(z))) for s, (x, y, z) in zip(samples, moved, strict=True)]


def _sample(path: Path, number: int, cells: dict[str, str]) -> Sample:
    try:
        stamp_s, x, y, z = (float(cells[name]) for name in ("stamp_s", "x", "y", "z"))
        name = cells["name"].strip()
    except (KeyError, ValueError) as error:
        raise InputError(
            f"recording {path}, line {number}: {list(cells.values())} needs {','.join(COLUMNS)}"
        ) from error
    return Sample(stamp_s=stamp_s, name=name, position_m=(x, y, z))


class Recording:
    """A CSV file that grows with each sample, so that what was captured survives whatever comes next.

    Args:
        path: file to write anew; positions in the frame `table`.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w", encoding="utf-8", newline="", buffering=1)
        self._file.write(f"{FRAME_COMMENT}\n")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def add(self, sample: Sample) -> None:
        """One line more."""
        self._writer.writerow([f"{sample.stamp_s:.6f}", sample.name, *(f"{v:.6f}" for v in sample.position_m)])

    def close(self) -> None:
        """No more lines."""
        self._file.close()
