"""Arms that take velocities, or displacements, instead of poses; in injected time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from arm_rig import ACCELERATION, CONFIG, DT_S, SPEED, TOOL, Rig

from sgp_core.config import PusherConfig
from sgp_core.frames import Transform
from sgp_core.twist import ZEROS_S, TwistServo
from sgp_core.types import Reason


class TestTwist:
    """The same arm, driven by velocities."""

    def drive(self, rig: Rig, servo: TwistServo, duration_s: float) -> np.ndarray:
        rig.following, out = False, []
        for _ in range(round(duration_s / DT_S)):
            rig.tick()
            velocity = servo.tick(rig.arm, DT_S)
            out.append(np.full(3, np.nan) if velocity is None else velocity)
            rig.tool_m = rig.tool_m + (0.0 if velocity is None else velocity) * DT_S
        return np.array(out)

    def started(self, gain_hz: float = 2.0) -> tuple[Rig, TwistServo, np.ndarray]:
        rig, servo = Rig(velocities=True), TwistServo(gain_hz)
        assert rig.enable() is None
        out = self.drive(rig, servo, 2.5)
        assert rig.arm.condition().reason == Reason.RUNNING
        return rig, servo, out

    def caps(self, out: np.ndarray) -> None:
        assert np.linalg.norm(out[:, :2], axis=1).max() <= SPEED + 1e-9
        assert np.abs(out[:, 2]).max() <= CONFIG.approach_speed_mps + 1e-9
        assert np.linalg.norm(np.diff(out, axis=0), axis=1).max() <= ACCELERATION * DT_S + 1e-9

    def test_down_a_step_and_up(self) -> None:
        rig, servo, out = self.started()
        np.testing.assert_allclose(rig.tool_m, [0.41, 0.0, CONFIG.tool_height_m], atol=1e-3)
        rig.step(0.05, 0.02)
        out = np.vstack([out, self.drive(rig, servo, 3.0)])
        np.testing.assert_allclose(rig.tool_m, [0.46, 0.02, CONFIG.tool_height_m], atol=1e-4)
        rig.enable(False)
        up = self.drive(rig, servo, 4.0)
        assert rig.tool_m[2] == pytest.approx(CONFIG.retreat_height_m, abs=0.005)
        silent = np.isnan(up[:, 0])
        assert silent[-1]
        zeros = (up[~silent] == 0.0).all(axis=1)
        assert zeros[-round(ZEROS_S / DT_S) + 1 :].all()
        self.caps(np.vstack([out, up[~silent]]))
        assert rig.arm.command is not None
        rig.arm.let_go()
        assert rig.arm.command is None

    def test_a_fault_brakes_at_the_cap_then_zeros_then_silence(self) -> None:
        rig, servo, _ = self.started()
        rig.step(0.05, 0.05)
        self.drive(rig, servo, 0.5)
        speed = float(np.linalg.norm(servo.velocity_mps))
        rig.measuring = False
        out = self.drive(rig, servo, 1.5)
        self.caps(out[~np.isnan(out[:, 0])])
        stopped = int(np.argmax((out == 0.0).all(axis=1)))
        late_s = CONFIG.pusher_timeout_s + (speed + 0.01) / ACCELERATION + 3 * DT_S
        assert stopped * DT_S <= late_s
        silent = int(np.argmax(np.isnan(out[:, 0])))
        assert (silent - stopped) * DT_S == pytest.approx(ZEROS_S, abs=3 * DT_S)
        assert rig.arm.reference.fault is not None

    def test_released_anew_where_somebody_moved_the_arm_meanwhile(self) -> None:
        rig, servo, _ = self.started()
        rig.step(math.nan, 0.0)
        out = self.drive(rig, servo, 1.5)
        assert np.isnan(out[-1]).all()
        rig.arm.let_go()
        rig.tool_m = np.array([0.60, 0.10, 0.08])
        rig.measure()
        rig.arm.clear_fault(rig.now_s)
        assert np.isnan(self.drive(rig, servo, 0.1)).all()
        assert rig.enable() is None
        again = self.drive(rig, servo, 3.0)
        self.caps(again[~np.isnan(again[:, 0])])
        np.testing.assert_allclose(rig.tool_m, [0.60, 0.10, CONFIG.tool_height_m], atol=1e-3)

    def test_a_stale_measurement_is_never_fed_back(self) -> None:
        rig, servo, _ = self.started(gain_hz=20.0)
        rig.arm.measure(rig.tool_m + np.array([0.01, 0.0, 0.0]), TOOL, rig.now_s)
        rig.measuring = False
        out = self.drive(rig, servo, 2.0)
        assert rig.arm.reference.fault is None  # standing: silence is waited for
        assert np.isnan(out[-1]).all()
        assert not out[round((CONFIG.pusher_timeout_s + 0.3) / DT_S) - 1].any()

    @pytest.mark.parametrize("yaw_rad", [2.0, math.pi])
    def test_a_base_turned_the_wrong_way_does_not_run_away(self, yaw_rad: float) -> None:
        """The arm moves otherwise than told, as with a wrong table_from_base; no step is sent."""
        rig, servo, _ = self.started()
        rig.following = False
        turn = Transform.from_numbers((0.0, 0.0, 0.0, 0.0, 0.0, yaw_rad)).rotation
        random, start = np.random.default_rng(0), rig.tool_m.copy()
        for _ in range(6000):
            rig.arm.measure(rig.tool_m + random.normal(0.0, 3e-4, 3), TOOL, rig.now_s)
            rig.measuring = False
            rig.tick()
            velocity = servo.tick(rig.arm, DT_S)
            rig.tool_m = rig.tool_m + (0.0 if velocity is None else turn @ velocity * DT_S)
        assert np.linalg.norm(rig.tool_m - start) < 2.0 * CONFIG.tracking_limit_m

    def test_a_frozen_measurement_stops_the_arm(self) -> None:
        rig, servo, _ = self.started()
        rig.step(0.05, 0.0)
        self.drive(rig, servo, 0.5)
        frozen, begin = rig.tool_m.copy(), rig.tool_m.copy()
        rig.following = rig.measuring = False
        for _ in range(1000):
            rig.arm.measure(frozen, TOOL, rig.now_s)
            rig.tick()
            velocity = servo.tick(rig.arm, DT_S)
            rig.tool_m = rig.tool_m + (0.0 if velocity is None else velocity * DT_S)
        assert rig.arm.condition().reason == Reason.TRACKING_ERROR
        assert np.linalg.norm(rig.tool_m - begin) < 2.0 * CONFIG.tracking_limit_m

    def test_a_cleared_fault_of_frozen_numbers_does_not_come_back_at_once(self) -> None:
        """A controller that was not active: its arm did not move, and will not before it is commanded again."""
        rig, servo, _ = self.started()
        rig.following = rig.measuring = False
        rig.step(0.05, 0.0)
        for _ in range(150):
            rig.arm.measure(rig.tool_m, TOOL, rig.now_s)
            rig.tick()
            servo.tick(rig.arm, DT_S)
        assert rig.arm.condition().reason == Reason.TRACKING_ERROR
        assert rig.arm.clear_fault(rig.now_s) is None
        rig.measuring = True
        self.drive(rig, servo, 0.5)
        assert rig.arm.condition().reason == Reason.RUNNING

    def test_a_height_that_is_lost_on_the_way_down_stops_the_tool(self) -> None:
        rig, servo = Rig(velocities=True), TwistServo(2.0)
        assert rig.enable() is None
        self.drive(rig, servo, 0.5)
        rig.measuring = False
        for _ in range(100):
            rig.arm.measure(np.array([*rig.tool_m[:2], math.nan]), TOOL, rig.now_s)
            rig.tick()
            velocity = servo.tick(rig.arm, DT_S)
        assert rig.arm.condition().reason == Reason.NO_PUSHER
        assert velocity is None or not velocity.any()

    def test_after_a_pause_velocities_start_from_rest(self) -> None:
        rig, servo, _ = self.started()
        rig.step(0.05, 0.0)
        self.drive(rig, servo, 0.5)
        rig.now_s += 1.0
        rig.tick()
        velocity = servo.tick(rig.arm, 1.0)
        assert velocity is not None
        assert np.linalg.norm(velocity) <= ACCELERATION * 2.0 * DT_S + 1e-9

    def test_seen_again_elsewhere_it_does_not_go_down_by_itself(self) -> None:
        rig, servo, _ = self.started()
        rig.measuring = False
        assert np.isnan(self.drive(rig, servo, 2.0)[-1]).all()
        rig.arm.let_go()
        rig.tool_m = rig.tool_m + np.array([0.2, 0.0, 0.25])
        rig.measuring = True
        self.drive(rig, servo, 1.0)
        assert rig.arm.command is None
        assert rig.arm.condition().reason == Reason.PUSHER_DISABLED


class TestDisplacement:
    """The same arm, driven by displacements: what it does in between is its own business."""

    def started(self, config: PusherConfig = CONFIG) -> Rig:
        rig = Rig((0.41, 0.0, math.nan), config=config, enabled=True, height=False)
        rig.run(1.0)  # steps planned before the release would be dropped
        assert rig.arm.condition().reason == Reason.RUNNING
        return rig

    def test_goes_from_the_measured_tool_to_the_end_of_the_step_in_the_time_left(self) -> None:
        rig = self.started()
        rig.tool_m = np.array([0.40, 0.005, math.nan])
        rig.measure()
        stamp_s = rig.now_s - 0.2
        assert rig.arm.step(stamp_s, np.array([0.03, 0.0]), rig.now_s) is None
        left_s, u = rig.arm.displacement(rig.now_s)
        assert left_s == pytest.approx(CONFIG.step_duration_s - 0.2)
        np.testing.assert_allclose(np.array([0.40, 0.005]) + u, [0.44, 0.0], atol=1e-9)

    def test_what_the_arm_left_undone_is_bounded_like_a_step(self) -> None:
        rig = self.started()
        rig.tool_m = np.array([0.385, 0.0, math.nan])
        rig.measure()
        assert rig.step(CONFIG.step_limit_m, 0.0) is None
        _, u = rig.arm.displacement(rig.now_s)
        np.testing.assert_allclose(u, [CONFIG.step_limit_m, 0.0])

    def test_late_ones_keep_the_speed(self) -> None:
        rig = self.started()
        late_s = 0.55
        assert rig.arm.step(rig.now_s - late_s, np.array([0.05, 0.05]), rig.now_s) is None
        left_s, u = rig.arm.displacement(rig.now_s)
        assert np.linalg.norm(u) == pytest.approx(SPEED * left_s)
        assert left_s == pytest.approx(CONFIG.step_duration_s - late_s)

    def test_stops_in_front_of_a_keep_out_that_lies_on_its_own_way(self) -> None:
        rig = self.started(CONFIG.replaced(keep_out_m=(0.42, 0.60, -0.30, -0.004)))
        rig.tool_m = np.array([0.41, -0.02, math.nan])
        rig.measure()
        assert rig.step(0.05, 0.0) is None
        _, u = rig.arm.displacement(rig.now_s)
        assert 0.0 < u[0] <= 0.01
