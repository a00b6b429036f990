"""Where the markers sit on the box, and how they pack into the state vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.reading import read_yaml

# No box on a table is this large: millimetres taken for metres.
LARGEST_M = 5.0
MARKERS_AT_MOST = 64  # more than any box carries; what follows from a layout grows with the square of their number
NAME_AT_MOST = 100  # characters; a name becomes part of a topic and is printed


@dataclass(frozen=True, kw_only=True)
class MarkerLayout:
    """Markers on the box and the size of box and pusher.

    Args:
        names: one name per marker, N of them; also the topic names of the markers.
        places_m: marker places (N, 2) [m; box frame, origin at the centre of the box seen from above].
        box_size_m: length along x, y, z [m; box frame].
        pusher_radius_m: radius of the cylindrical pusher [m].

    Raises:
        InputError: fewer than two markers, coinciding markers, sizes that are not positive.
    """

    names: tuple[str, ...]
    places_m: tuple[tuple[float, float], ...]
    box_size_m: tuple[float, float, float]
    pusher_radius_m: float

    def __post_init__(self) -> None:
        if len(self.names) > MARKERS_AT_MOST:
            raise InputError(f"there are {len(self.names)} markers, more than {MARKERS_AT_MOST}")
        strange = [name for name in self.names if not name.isprintable() or not 0 < len(name) <= NAME_AT_MOST]
        if strange:
            raise InputError(f"marker name {strange[0][:NAME_AT_MOST]!r} must be 1 to {NAME_AT_MOST} printable letters")
        places = np.asarray(self.places_m, dtype=float)
        if len(self.names) != len(set(self.names)):
            raise InputError(f"marker names repeat: {list(self.names)}; give each marker its own name")
        if places.shape != (len(self.names), 2) or len(self.names) < 2:
            raise InputError(
                f"places_m has shape {places.shape} for {len(self.names)} names; give one (x, y) each, at least two"
            )
        sizes = (*self.box_size_m, self.pusher_radius_m)
        right = len(sizes) == 4 and np.isfinite(places).all() and np.isfinite(sizes).all() and min(sizes) > 0.0
        if not right or max(sizes) > LARGEST_M:
            raise InputError(
                f"box_size_m {self.box_size_m} must be three and pusher_radius_m {self.pusher_radius_m} one positive"
                f" number in metres, at most {LARGEST_M:g}"
            )
        apart_m = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(len(places), 1)]
        if apart_m.min() < 1e-3:
            raise InputError(f"two markers are {apart_m.min() * 1e3:.2f} mm apart; they must be at least 1 mm apart")

    @property
    def count(self) -> int:
        """Number of markers, N."""
        return len(self.names)

    @property
    def state_size(self) -> int:
        """Length of the state vector, 2N+2."""
        return 2 * self.count + 2

    @property
    def places(self) -> Float[ndarray, "N 2"]:
        """Marker places as an array [m; box frame]."""
        return np.asarray(self.places_m, dtype=float)

    def markers_at(self, x_m: float, y_m: float, yaw_rad: float) -> Float[ndarray, "N 2"]:
        """Markers of a box at a pose [m, rad; table frame]."""
        return self.places @ rotation(yaw_rad).T + np.array([x_m, y_m])

    def pose_of(self, markers: Float[ndarray, "N 2"]) -> tuple[float, float, float]:
        """Least-squares box pose from all markers [m; table frame], the planar Kabsch problem.

        Returns:
            x [m], y [m], yaw [rad] of the box centre in the table frame.
        """
        places, found = self.places, np.asarray(markers)
        place_mean, found_mean = places.mean(axis=0), found.mean(axis=0)
        a, b = places - place_mean, found - found_mean
        yaw = float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()))
        x, y = found_mean - rotation(yaw) @ place_mean
        return float(x), float(y), yaw

    def pack(self, markers: Float[ndarray, "N 2"], pusher: Float[ndarray, "2"]) -> Float[ndarray, "nx"]:
        """State vector x: marker 1..N (x, y), then the pusher (x, y) [m; table frame]."""
        return np.concatenate([np.asarray(markers, dtype=float).reshape(-1), np.asarray(pusher, dtype=float)])

    def markers(self, x: ndarray) -> ndarray:
        """Markers (..., N, 2) of state vectors (..., 2N+2)."""
        return x[..., :-2].reshape(*x.shape[:-1], self.count, 2)

    def to_dict(self) -> dict:
        """Plain values for YAML and JSON."""
        return {
            "names": list(self.names),
            "places_m": [list(place) for place in self.places_m],
            "box_size_m": list(self.box_size_m),
            "pusher_radius_m": self.pusher_radius_m,
        }

    @classmethod
    def from_dict(cls, values: dict) -> MarkerLayout:
        """Read `to_dict` back; unknown or missing keys are an InputError."""
        wanted = {"names", "places_m", "box_size_m", "pusher_radius_m"}
        if not isinstance(values, dict) or set(values) != wanted:
            given = sorted(values) if isinstance(values, dict) else type(values).__name__
            raise InputError(f"a layout needs exactly the keys {sorted(wanted)}, got {given}")
        try:
            return cls(
                names=tuple(str(name) for name in values["names"]),
                places_m=tuple((float(x), float(y)) for x, y in values["places_m"]),
                box_size_m=tuple(float(v) for v in values["box_size_m"]),  # type: ignore[arg-type]
                pusher_radius_m=float(values["pusher_radius_m"]),
            )
        except (TypeError, ValueError) as error:
            raise InputError(f"a layout holds numbers in metres: {error}") from error

    @classmethod
    def load(cls, path: Path) -> MarkerLayout:
        """Read a layout YAML file. Raises InputError."""
        values = read_yaml(path, "layout file")
        try:
            return cls.from_dict(values)
        except InputError as error:
            raise InputError(f"layout file {path}: {error}") from error


def rotation(yaw_rad: float) -> Float[ndarray, "2 2"]:
    """Planar rotation matrix."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s], [s, c]])


def wrap_angle(angle_rad: float) -> float:
    """The same angle in [-pi, pi)."""
    return float((angle_rad + np.pi) % (2.0 * np.pi) - np.pi)
