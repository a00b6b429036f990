"""`sgp calibrate` on live topics: guided, refusing what is no point in words, and losing nothing."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from calibration_rig import (
    LAYOUT,
    PLACES,
    REFLECTION,
    SIZES,
    TABLE_FROM_BASE,
    TABLE_FROM_MOCAP,
    Cli,
    same,
    written_frames,
)
from geometry_msgs.msg import PointStamped, Pose, PoseStamped
from mocap_drivers import cloud
from rclpy.qos import qos_profile_sensor_data
from ros_graph import Graph
from sensor_msgs.msg import PointCloud2

from sgp_core.layout import MarkerLayout
from sgp_core.matched_points import MatchedPoints
from sgp_ros import messages
from sgp_ros.capture import Watched

pytestmark = pytest.mark.ros


class Rig:
    """Publishes what the mocap system and the arm see, with noise, at 100 Hz."""

    def __init__(self, graph: Graph) -> None:
        self._node = graph.probe
        self._draw, self._lock = np.random.default_rng(5), threading.Condition()
        self.tool, self.mocap_off, self.drift, self.yaw_rad = PLACES[0], np.zeros(3), np.zeros(3), 0.0
        self.box, self.moving_since = (0.6, 0.0, 0.0), None
        self._mocap = graph.probe.create_publisher(PointStamped, "/mocap/pusher", qos_profile_sensor_data)
        self._arm = graph.probe.create_publisher(PoseStamped, "/arm/pose", 10)
        self._cloud = graph.probe.create_publisher(PointCloud2, "/pointCloud", 1)
        self._markers = [
            graph.probe.create_publisher(PoseStamped, f"/vrpn_mocap/{name}/pose", qos_profile_sensor_data)
            for name in LAYOUT.names
        ]
        self._timer = graph.probe.create_timer(0.01, self._publish)

    def close(self) -> None:
        # Not destroyed: the probe's thread may be waiting for it just now.
        with self._lock:
            self._timer.cancel()
            for publisher in (self._mocap, self._arm, self._cloud, *self._markers):
                self._node.destroy_publisher(publisher)
            self._markers.clear()

    def put(self, tool, mocap_off_m=(0.0, 0.0, 0.0), drift_m=(0.0, 0.0, 0.0), yaw_rad=0.0) -> None:
        """Take the tool somewhere; returns when it has been published there."""
        with self._lock:
            self.tool, self.mocap_off, self.drift = np.array(tool), np.array(mocap_off_m), np.array(drift_m)
            self.yaw_rad = yaw_rad
            self._lock.wait(10.0)

    def _publish(self) -> None:
        with self._lock:
            if self._markers:
                self._publish_all()
            self._lock.notify_all()

    def _publish_all(self) -> None:
        now_s = time.time()
        self.tool = self.tool + self.drift
        noisy = TABLE_FROM_MOCAP.inverse().apply(self.tool) + self.mocap_off + self._draw.normal(0.0, 2e-4, 3)
        point = PointStamped(header=messages.header(now_s, "world"))
        point.point.x, point.point.y, point.point.z = map(float, noisy)
        self._mocap.publish(point)
        x, y, z = TABLE_FROM_BASE.inverse().apply(self.tool)
        self._arm.publish(messages.pose_to_msg(now_s, x, y, self.yaw_rad, z_m=z, frame="arm_base"))
        pose = np.array(self.box)
        if self.moving_since is not None:
            phase = time.monotonic() - self.moving_since
            pose = pose + np.array([0.1, 0.05, 0.7]) * np.sin(np.array([1.5, 1.1, 1.3]) * phase)
        seen = LAYOUT.markers_at(*pose) + self._draw.normal(0.0, 2e-4, (LAYOUT.count, 2))
        for publisher, place in zip(self._markers, seen, strict=True):
            publisher.publish(messages.pose_to_msg(now_s, *place, frame="world"))
        # Without labels, in any order, and with a reflection on the table.
        points = self._draw.permutation(np.vstack([np.column_stack([seen, np.full(LAYOUT.count, 0.04)]), REFLECTION]))
        self._cloud.publish(cloud(messages.header(now_s, "world"), points))


@pytest.fixture
def calibrate(tmp_path):
    """Start `sgp calibrate` in the test's folder."""
    started: list[Cli] = []

    def start(*arguments: str) -> Cli:
        started.append(Cli(tmp_path, *arguments))
        return started[-1]

    yield start
    for cli in started:
        cli.end()


@pytest.fixture
def rig(graph):
    made = Rig(graph)
    yield made
    made.close()


class TestLive:
    ARGUMENTS = ("frames", "--mocap-topic", "/mocap/pusher", "--arm-topic", "/arm/pose", "--seconds", "0.5")

    def test_frames(self, rig, calibrate, tmp_path):
        cli = calibrate(*self.ARGUMENTS)
        cli.wait("0 points.")
        for count, place in enumerate(PLACES[:2], 1):
            rig.put(place)
            cli.say()
            cli.wait(f"{count} point")
        # A tool that has turned or moves is no point; neither is a word that means nothing.
        rig.put(PLACES[1], yaw_rad=0.3)
        cli.say()
        cli.wait("not captured: the tool has turned by 17 deg")
        rig.put(PLACES[1], drift_m=(1e-4, 0.0, 0.0))
        cli.say()
        cli.wait("not captured: mocap /mocap/pusher: moved by")
        cli.say("x")
        cli.wait("'x' is not known")
        # The session breaks off; what was captured is there, and the next one goes on.
        assert cli.end() == 2
        assert "2 points are too few" in cli.told
        assert len(MatchedPoints.load(tmp_path / "points.csv")) == 2

        cli = calibrate(*self.ARGUMENTS)
        cli.wait("Going on with 2 points")
        for count, place in enumerate(PLACES[2:], 3):
            rig.put(place, mocap_off_m=(0.03, 0.0, 0.0) if count == 3 else (0.0, 0.0, 0.0))
            cli.say()
            cli.wait(f"{count} point")
        assert "Suspect is point 3" in " ".join(cli.told.split())
        cli.say("d 3")
        cli.wait("point 3 deleted")
        rig.put(PLACES[2])
        cli.say()
        cli.wait("fits: rms")
        cli.wait("fits: rms")
        cli.say("q")
        cli.wait("written: calibration.yaml")
        assert cli.end() == 0
        config = written_frames(tmp_path / "calibration.yaml")
        assert same(config.table_from_mocap, TABLE_FROM_MOCAP, 3e-4)
        assert same(config.table_from_base, TABLE_FROM_BASE)
        assert config.base_frame == "arm_base"

    @pytest.mark.parametrize("driver", [("vrpn_mocap", "--names", "a,b,c,d,e"), ("motion_capture_tracking",)])
    def test_layout(self, rig, calibrate, tmp_path, driver):
        cli = calibrate("layout", "--mocap", *driver, "--box-at", "0.6,0,0", "--seconds", "5", *SIZES)
        cli.wait("Enter starts the recording")
        cli.say()
        cli.wait("Now push and turn it")
        rig.moving_since = time.monotonic()
        cli.wait("written: layout.yaml")
        assert cli.end() == 0
        made = MarkerLayout.load(tmp_path / "layout.yaml")
        order = np.arange(5)
        if driver == ("motion_capture_tracking",):  # in any order, and without the reflection
            assert made.names == ("marker1", "marker2", "marker3", "marker4", "marker5")
            order = np.linalg.norm(made.places[:, None] - LAYOUT.places[None], axis=-1).argmin(axis=1)
        assert np.abs(made.places - LAYOUT.places[order]).max() < 2e-4
        assert "note:" not in cli.told
        # A recording stays, and can be fitted again.
        assert calibrate("layout", "--out", "again.yaml", "--box-at", "0.6,0.01,0", *SIZES).end() == 0
        moved = MarkerLayout.load(tmp_path / "again.yaml").places - made.places
        assert moved == pytest.approx(np.tile([0.0, -0.01], (5, 1)), abs=2e-5)

    def test_who_does_not_publish_is_told(self, rig, calibrate):  # noqa: ARG002 - the rig is what is there instead
        cli = calibrate("frames", "--mocap-topic", "/nowhere", "--arm-topic", "/arm/pose")
        assert cli.end() == 2
        told = " ".join(cli.told.split())
        assert "error: nobody publishes /nowhere" in told
        assert "/arm/pose" in told

    def test_a_driver_that_is_silent_is_told(self, rig, calibrate, tmp_path):  # noqa: ARG002 - as above
        cli = calibrate("layout", "--mocap", "vrpn_mocap", "--names", "p,q,r", *SIZES)
        assert cli.end() == 2
        assert "has no publisher" in " ".join(cli.told.split())
        assert not (tmp_path / "markers.csv").exists()


def test_bodies_are_found_by_name():
    pose = Pose()
    pose.position.x, pose.orientation.w = 0.5, 1.0
    message = SimpleNamespace(
        header=SimpleNamespace(frame_id="/world"), poses=[SimpleNamespace(name="pusher", pose=pose)]
    )
    watched = Watched(topic="/poses", name="pusher")
    watched.take(message)
    message.poses = []
    watched.take(message)
    assert watched.frame_id == "world"
    assert watched.positions[0].tolist() == [0.5, 0.0, 0.0]
    assert np.isnan(watched.positions[1]).all()
    assert np.allclose(watched.turn, np.eye(3))
