"""`sgp doctor` on units: the size of the box as the driver has it, and where box and pusher are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import LimitsConfig
from sgp_core.layout import MarkerLayout
from sgp_core.safety import region_of
from sgp_ros.doctor_findings import Finding, error
from sgp_ros.mocap_settings import MocapNodeConfig

# How many of a driver's unit make a metre.
UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "inches": 39.37, "feet": 3.281}
UNIT_TOLERANCE = 0.1  # of the factor
FAR_M = 0.5  # further outside the workspace than anybody pushes: another unit, or no calibration
NOT_METRES_M = 10.0  # no table is that far from the origin of its cameras
HOW_MANY = 20  # samples of a topic that are enough for its frame and its place


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What was seen, and what it is measured against.

    Args:
        config: kind of input, and its unit.
        layout: the box as it is.
        limits: where the pusher may be.
        origin_m: (2,) of the mocap's frame [m; table].
        places_m: by marker, where it was seen [m; table].
        body_m: where the box was seen, if it comes as a body [m; table].
        clouds_m: points without labels, each (M, 2) [m; table].
        pusher_m: where the pusher was seen [m; table].
    """

    config: MocapNodeConfig
    layout: MarkerLayout
    limits: LimitsConfig
    origin_m: Float[ndarray, "2"]
    places_m: Mapping[str, Sequence[ndarray]]
    body_m: Sequence[ndarray]
    clouds_m: Sequence[ndarray]
    pusher_m: Sequence[ndarray]

    def findings(self) -> list[Finding]:
        """The size of the box as the driver has it against the layout's."""
        factor = self._size()
        if factor is not None:
            for unit, many in UNITS.items():
                if abs(factor / many - 1.0) < UNIT_TOLERANCE:
                    words = f"the markers are {factor:.0f} times as far apart as in the layout: the driver sends {unit}"
                    return [error("unit", words, f"set unit_m: {self.config.unit_m / many:.4g} of mocap_node")]
                if abs(factor * many - 1.0) < UNIT_TOLERANCE:
                    words = f"the markers are {1.0 / factor:.0f} times as near as in the layout"
                    wrong = f"unit_m = {self.config.unit_m:g} of mocap_node is not the driver's unit"
                    return [error("unit", f"{words}: {wrong}", f"set unit_m: {self.config.unit_m * many:.4g}")]
        # A body has no size, and a pusher neither: only where they are tells.
        found = []
        for what, points in (("box", self.body_m), ("pusher", self.pusher_m)):
            unit = self._unit_by_place(points)
            if unit:
                at = np.median(points, axis=0)
                words = f"the {what} is seen at ({at[0]:.4g}, {at[1]:.4g}) m: its driver sends {unit}"
                right = self.config.unit_m / UNITS[unit]
                remedy = f"set unit_m: {right:.4g} of mocap_node; an arm's driver has to send metres"
                found.append(error("unit", words, remedy))
        return found

    def _size(self) -> float | None:
        """How many times further apart the markers are than in the layout; None when nobody knows."""
        places = self.layout.places
        if self.body_m:
            return None
        if self.clouds_m:
            whole = [cloud for cloud in self.clouds_m if len(cloud) == self.layout.count]
            if not whole:
                return None
            return float(np.median([_spread_m(cloud) for cloud in whole]) / _spread_m(places))
        seen = [
            (index, np.nanmedian(np.array(self.places_m[name][-HOW_MANY:]), axis=0))
            for index, name in enumerate(self.layout.names)
            if any(np.isfinite(place).all() for place in self.places_m[name][-HOW_MANY:])
        ]
        if len(seen) < 2:
            return None
        found = np.array([place for _, place in seen])
        return _spread_m(found) / _spread_m(places[[index for index, _ in seen]])

    def _unit_by_place(self, points: Sequence[ndarray]) -> str:
        """The unit that would bring far-off points [m; table] into the workspace; "" when there is none."""
        if not points:
            return ""
        allowed, at = region_of(self.limits), np.median(points, axis=0)
        if float(allowed.outside_by(at)) < NOT_METRES_M:
            return ""
        scaled = {unit: self.origin_m + (at - self.origin_m) / many for unit, many in UNITS.items()}
        return next((unit for unit, there in scaled.items() if float(allowed.outside_by(there)) < FAR_M), "")


def _spread_m(points: Float[ndarray, "M 2"]) -> float:
    """Largest distance between two of the points."""
    return float(np.linalg.norm(points[:, None] - points[None], axis=-1).max())
