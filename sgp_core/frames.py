"""Rigid transforms between the frames `mocap`, `base` (of the arm), `table` and a tracked body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from sgp_core.config import FramesConfig
from sgp_core.errors import InputError

TABLE = "table"


@dataclass(frozen=True, kw_only=True, eq=False)
class Transform:
    """`a_from_b`: the place of frame b seen from frame a; takes points of b to points of a."""

    rotation: Float[ndarray, "3 3"]
    translation_m: Float[ndarray, "3"]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> Transform:
        """From x, y, z [m], roll, pitch, yaw [rad] about the fixed axes in this order, as in URDF and tf."""
        x, y, z, *angles = (float(number) for number in numbers)
        return cls(rotation=Rotation.from_euler("xyz", angles).as_matrix(), translation_m=np.array([x, y, z]))

    @classmethod
    def from_quaternion(cls, position_m: Sequence[float], xyzw: Sequence[float]) -> Transform | None:
        """From a measured pose; None when it is not finite or holds no unit quaternion."""
        position, quaternion = np.asarray(position_m, dtype=float), np.asarray(xyzw, dtype=float)
        if not (np.isfinite(position).all() and abs(float(np.linalg.norm(quaternion)) - 1.0) < 0.05):
            return None
        return cls(rotation=Rotation.from_quat(quaternion).as_matrix(), translation_m=position)

    def to_numbers(self) -> tuple[float, ...]:
        """x, y, z [m], roll, pitch, yaw [rad]: what `from_numbers` reads."""
        angles = Rotation.from_matrix(self.rotation).as_euler("xyz")
        return tuple(float(number) for number in (*self.translation_m, *angles))

    def quaternion(self) -> Float[ndarray, "4"]:
        """Rotation as x, y, z, w."""
        found: Float[ndarray, "4"] = Rotation.from_matrix(self.rotation).as_quat()
        return found

    def apply(self, points_m: Float[ndarray, "*k 3"]) -> Float[ndarray, "*k 3"]:
        """Points [m; b] as points [m; a]."""
        return np.asarray(points_m, dtype=float) @ self.rotation.T + self.translation_m

    def inverse(self) -> Transform:
        """`b_from_a`."""
        return Transform(rotation=self.rotation.T, translation_m=-self.rotation.T @ self.translation_m)

    def __matmul__(self, other: Transform) -> Transform:
        """`a_from_b @ b_from_c` is `a_from_c`."""
        return Transform(
            rotation=self.rotation @ other.rotation, translation_m=self.apply(np.asarray(other.translation_m))
        )

    @property
    def yaw_rad(self) -> float:
        """Heading of b's x axis about a's z axis [rad]."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    @property
    def tilt_rad(self) -> float:
        """Angle between the two z axes [rad]."""
        return float(np.arccos(np.clip(self.rotation[2, 2], -1.0, 1.0)))

    def angle_to(self, other: Transform) -> float:
        """Angle of the rotation between two orientations [rad]."""
        return float(np.linalg.norm(Rotation.from_matrix(self.rotation.T @ other.rotation).as_rotvec()))


class Frames:
    """Which transform belongs to a message's frame_id.

    Args:
        config: names and places of the frames.
    """

    def __init__(self, config: FramesConfig) -> None:
        self.table_from_mocap = Transform.from_numbers(config.table_from_mocap)
        self.table_from_base = Transform.from_numbers(config.table_from_base)
        self._config = config
        self._identity = Transform.from_numbers((0.0,) * 6)

    @property
    def base_frame(self) -> str:
        """Name of the arm's base frame."""
        return self._config.base_frame

    def table_from(self, frame_id: str) -> Transform:
        """Place of a frame in the table frame.

        `table` and `base_frame` are what their names say. Every other name counts as the mocap system's, whose drivers
        put all kinds of names there, unless `mocap_frame` says which one it has to be.

        Raises:
            InputError: none of the three.
        """
        name = frame_id.lstrip("/")
        if name == TABLE:
            return self._identity
        if name == self._config.base_frame:
            return self.table_from_base
        if self._config.mocap_frame and name != self._config.mocap_frame:
            raise InputError(
                f"frame_id is '{frame_id}', expected is mocap_frame = '{self._config.mocap_frame}', base_frame ="
                f" '{self._config.base_frame}' or '{TABLE}'"
            )
        return self.table_from_mocap
