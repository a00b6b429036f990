"""A carton on a table and a pusher under position control, in MuJoCo."""

from __future__ import annotations

import mujoco
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import SimConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout

STEP_S = 0.002
PUSHER_HALF_M = 0.03  # half the height of the pusher's cylinder
PUSHING_Z_M = PUSHER_HALF_M + 0.005  # its centre while it pushes, 5 mm above the table
TOOL_HEIGHT_M = 0.02  # and the height that tool poses speak of, then
TOOL_ABOVE_END_M = TOOL_HEIGHT_M - 0.005  # that is above the cylinder's lower end
STANDING_GAP_M = 1e-4  # a tool that stands on the box does not touch it in the physics

# Elliptic friction cones and an impratio above one keep the resting box from creeping when nothing pushes it.
MODEL = """
<mujoco model="push">
  <option timestep="{step}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <worldbody>
    <geom name="table" type="plane" size="2 2 0.1" friction="{friction} 0.005 0.0001"/>
    <body name="box" pos="{box_x} {box_y} {half_z}" euler="0 0 {box_yaw_deg}">
      <freejoint name="box"/>{inertial}
      <geom name="box" type="box" size="{half_x} {half_y} {half_z}" mass="{mass}" friction="{friction} 0.005 0.0001"/>
    </body>
    <body name="pusher" pos="0 0 {pusher_z}">
      <joint name="pusher_x" type="slide" axis="1 0 0"/>
      <joint name="pusher_y" type="slide" axis="0 1 0"/>
      <geom name="pusher" type="cylinder" size="{radius} {pusher_half}" mass="1"/>
    </body>
  </worldbody>
  <contact>
    <exclude body1="world" body2="pusher"/>
    <pair geom1="box" geom2="pusher" condim="3" friction="{contact} {contact} 0.005 0.0001 0.0001"/>
  </contact>
  <actuator>
    <position name="pusher_x" joint="pusher_x" kp="3000" kv="120"/>
    <position name="pusher_y" joint="pusher_y" kp="3000" kv="120"/>
  </actuator>
</mujoco>
"""


class Rig:
    """The physical side of the rig: give the pusher a target, let time pass, read what a camera would see.

    Args:
        layout: box size, marker places and pusher radius.
        config: physics and marker noise.
        box_pose: start of the box, x [m], y [m], yaw [rad; table].
        pusher_m: start of the pusher (2,) [m; table].
        height_m: start of the tool above the table [m].

    Raises:
        InputError: box and pusher overlap at the start.
    """

    def __init__(
        self,
        layout: MarkerLayout,
        config: SimConfig,
        box_pose: tuple[float, float, float] = (0.50, 0.0, 0.0),
        pusher_m: tuple[float, float] = (0.41, 0.0),
        height_m: float = TOOL_HEIGHT_M,
    ) -> None:
        half = np.asarray(layout.box_size_m) / 2.0
        self._box_top_m, self._height_m = 2.0 * float(half[2]), height_m
        if clearance(layout, box_pose, np.asarray(pusher_m)) < 0.0 and not self._above_box(height_m):
            raise InputError(f"pusher_m = {pusher_m} overlaps the box at {box_pose}; move it away")
        self._layout = layout
        self._noise_m = config.marker_noise_m
        self._random = np.random.default_rng(config.seed)
        self._model = mujoco.MjModel.from_xml_string(
            MODEL.format(
                step=STEP_S,
                friction=config.friction,
                contact=config.pusher_friction,
                mass=config.mass_kg,
                inertial=_inertial(config, 2.0 * half),
                box_x=box_pose[0],
                box_y=box_pose[1],
                box_yaw_deg=np.degrees(box_pose[2]),
                half_x=half[0],
                half_y=half[1],
                half_z=half[2],
                radius=layout.pusher_radius_m,
                pusher_half=PUSHER_HALF_M,
                pusher_z=PUSHING_Z_M,
            )
        )
        self._data = mujoco.MjData(self._model)
        self._box = self._model.joint("box").qposadr[0]
        self._pusher = [self._model.joint(name).qposadr[0] for name in ("pusher_x", "pusher_y")]
        self._data.qpos[self._pusher] = pusher_m
        self._data.ctrl[:] = pusher_m
        if height_m != TOOL_HEIGHT_M:
            self._put_at(height_m)
        mujoco.mj_forward(self._model, self._data)

    @property
    def time_s(self) -> float:
        """Simulated time since the start [s]."""
        return float(self._data.time)

    def set_target(self, pusher_m: Float[ndarray, "2"], height_m: float | None = None) -> None:
        """Position target of the pusher servo (2,) and height of the tool [m; table]; without one it stays.

        The height is kinematic: the tool is there at once, and a box below it stops it.
        """
        self._data.ctrl[:] = pusher_m
        if height_m is None or height_m == self._height_m:
            return
        over_box = clearance(self._layout, self.box_pose(), self.pusher()) < 0.0
        if over_box and self._above_box(self._height_m):
            height_m = max(height_m, self._box_top_m + TOOL_ABOVE_END_M + STANDING_GAP_M)
        self._put_at(height_m)

    def _above_box(self, height_m: float) -> bool:
        return height_m - TOOL_ABOVE_END_M > self._box_top_m

    def _put_at(self, height_m: float) -> None:
        self._height_m = height_m
        body = self._model.body("pusher").id
        self._model.body_pos[body, 2] = PUSHING_Z_M + (height_m - TOOL_HEIGHT_M)

    def put_box(self, pose: tuple[float, float, float]) -> None:
        """A hand takes the box and puts it down at rest, x [m], y [m], yaw [rad; table].

        Raises:
            InputError: the pusher stands there.
        """
        if clearance(self._layout, pose, self.pusher()) < 0.0 and not self._above_box(self._height_m):
            raise InputError(f"box pose {pose} overlaps the pusher at {self.pusher().tolist()}; move one of them away")
        x_m, y_m, yaw_rad = pose
        turn = (np.cos(0.5 * yaw_rad), 0.0, 0.0, np.sin(0.5 * yaw_rad))
        self._data.qpos[self._box : self._box + 7] = (x_m, y_m, 0.5 * self._box_top_m, *turn)
        speeds = self._model.joint("box").dofadr[0]
        self._data.qvel[speeds : speeds + 6] = 0.0
        mujoco.mj_forward(self._model, self._data)

    def advance(self, duration_s: float) -> None:
        """Let the physics run, in whole steps of 2 ms."""
        mujoco.mj_step(self._model, self._data, nstep=max(0, round(duration_s / STEP_S)))

    def move(self, start_m: Float[ndarray, "2"], u: Float[ndarray, "2"], duration_s: float) -> None:
        """One step as the rig executes it: the target runs straight from `start_m` to `start_m + u` [m; table]."""
        count = max(1, round(duration_s / STEP_S))
        for k in range(1, count + 1):
            self._data.ctrl[:] = start_m + u * (k / count)
            mujoco.mj_step(self._model, self._data)

    def box_pose(self) -> tuple[float, float, float]:
        """True pose of the box: x [m], y [m], yaw [rad; table]."""
        x, y, _, w, i, j, k = self._data.qpos[self._box : self._box + 7]
        return float(x), float(y), float(np.arctan2(2.0 * (w * k + i * j), 1.0 - 2.0 * (j * j + k * k)))

    def markers(self) -> Float[ndarray, "N 2"]:
        """True marker positions [m; table]."""
        return self._layout.markers_at(*self.box_pose())

    def noisy_markers(self) -> Float[ndarray, "N 2"]:
        """Marker positions as a camera measures them [m; table]."""
        return self.markers() + self._random.normal(0.0, self._noise_m, (self._layout.count, 2))

    def pusher(self) -> Float[ndarray, "2"]:
        """Measured pusher position (2,) [m; table]; an arm's own encoders are taken as exact."""
        return np.array(self._data.qpos[self._pusher])

    def target(self) -> Float[ndarray, "2"]:
        """Where the pusher servo is to be (2,) [m; table]."""
        return np.array(self._data.ctrl)

    def height(self) -> float:
        """Measured height of the tool [m; table]."""
        return self._height_m


def _inertial(config: SimConfig, size_m: Float[ndarray, "3"]) -> str:
    """Mass of an even box of this size, moved off its centre; nothing when it is not, then MuJoCo works it out."""
    if not any(config.mass_offset_m):
        return ""
    x_m, y_m = config.mass_offset_m
    squares = size_m**2
    inertia = " ".join(str(float(i)) for i in config.mass_kg / 12.0 * (squares.sum() - squares))
    return f'<inertial pos="{x_m} {y_m} 0" mass="{config.mass_kg}" diaginertia="{inertia}"/>'


def clearance(layout: MarkerLayout, box_pose: tuple[float, float, float], pusher_m: Float[ndarray, "2"]) -> float:
    """Gap between the pusher's rim and the box [m]; negative when they overlap."""
    x, y, yaw = box_pose
    c, s = np.cos(yaw), np.sin(yaw)
    dx, dy = pusher_m[0] - x, pusher_m[1] - y
    outside = np.abs([c * dx + s * dy, c * dy - s * dx]) - np.asarray(layout.box_size_m[:2]) / 2.0
    gap = np.linalg.norm(np.maximum(outside, 0.0)) + min(float(outside.max()), 0.0)
    return float(gap - layout.pusher_radius_m)
