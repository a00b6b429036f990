"""An Arm with a tool that follows it, in injected time."""

from __future__ import annotations

import math

import numpy as np

from sgp_core.arm import Arm, ArmKind
from sgp_core.config import PusherConfig
from sgp_core.frames import Transform
from sgp_core.safety import Fault
from sgp_core.types import Reason

CONFIG = PusherConfig()
TOOL = Transform.from_numbers((0.0, 0.0, 0.0, math.pi, 0.0, 0.0))
DT_S = 0.01
SPEED, ACCELERATION = CONFIG.speed_limit_mps, CONFIG.acceleration_limit_mps2


class Rig:
    """An arm that lags behind its command by a first-order delay, or stands; one clock for everything."""

    def __init__(
        self,
        start: tuple[float, float, float] = (0.41, 0.0, 0.10),
        *,
        config: PusherConfig = CONFIG,
        enabled: bool = False,
        lag_s: float = 0.03,
        **kind: bool,
    ) -> None:
        self.arm = Arm(config, ArmKind(tool=TOOL, **kind))
        self.arm.reference.enabled = enabled
        self.now_s, self.lag_s = 100.0, lag_s
        self.tool_m, self.orientation = np.array(start), TOOL
        self.following = self.measuring = True
        self.path: list[np.ndarray] = []  # commanded positions, as far as there are any
        self.tick()

    def measure(self) -> None:
        if self.measuring:
            self.arm.measure(self.tool_m, self.orientation, self.now_s)

    def tick(self) -> None:
        self.measure()
        self.now_s += DT_S
        self.arm.tick(self.now_s, self.now_s)
        command = self.arm.command
        if command is None:
            return
        self.path.append(command.position_m)
        if self.following:
            wanted = np.where(np.isnan(command.position_m), self.tool_m, command.position_m)
            self.tool_m = self.tool_m + (wanted - self.tool_m) * min(1.0, DT_S / self.lag_s)

    def run(self, duration_s: float) -> np.ndarray:
        begin = len(self.path)
        for _ in range(round(duration_s / DT_S)):
            self.tick()
        return np.array(self.path[begin:])

    def run_until(self, reason: Reason, limit_s: float = 8.0) -> None:
        for _ in range(round(limit_s / DT_S)):
            if self.arm.condition().reason == reason:
                return
            self.tick()
        raise AssertionError(f"not {reason} but {self.arm.condition()}")

    def enable(self, on: bool = True) -> Fault | None:
        return self.arm.set_enabled(on, self.now_s)

    def step(self, x: float, y: float) -> Fault | None:
        return self.arm.step(self.now_s, np.array([x, y]), self.now_s)


def down(**changes: object) -> Rig:
    rig = Rig(**changes)  # type: ignore[arg-type]
    assert rig.enable() is None
    rig.run_until(Reason.RUNNING)
    return rig


def reason(fault: Fault | None) -> Reason | None:
    return None if fault is None else fault.reason


def assert_within_caps(path: np.ndarray) -> None:
    velocity = np.diff(path[:, :2], axis=0) / DT_S
    assert np.linalg.norm(velocity, axis=1).max(initial=0.0) <= SPEED + 1e-9
    assert np.linalg.norm(np.diff(velocity, axis=0), axis=1).max(initial=0.0) <= ACCELERATION * DT_S + 1e-9
    rise = np.diff(path[:, 2]) / DT_S
    assert np.abs(rise).max(initial=0.0) <= CONFIG.approach_speed_mps + 1e-9
    assert np.abs(np.diff(rise)).max(initial=0.0) <= ACCELERATION * DT_S + 1e-9
