"""What becomes of drivers' messages: conversion, frames, units, stamps, and what is refused in which words."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from geometry_msgs.msg import Point, PointStamped, Pose, PoseStamped, Quaternion, TransformStamped
from mocap_drivers import LAYOUT, cloud, pose
from rclpy.time import Time
from sensor_msgs.msg import PointCloud2, PointField

from sgp_core.config import FramesConfig
from sgp_core.errors import InputError
from sgp_core.frames import Frames, Transform
from sgp_core.safety import Fault
from sgp_ros import convert_mocap, messages
from sgp_ros.mocap_settings import MocapNodeConfig
from sgp_ros.running import SENSOR_QOS
from sgp_ros.sources import Sources

NAMES = LAYOUT.names
AT = np.array([0.4, -0.1, 0.05])
ARM = (0.1, 0.2, 0.3, 0.0, 0.0, np.pi / 2.0)


class FakeNode:
    """As much of a node as sources need; `send` plays a driver."""

    def __init__(self) -> None:
        self.subscribed: dict[str, tuple[Any, Any]] = {}
        self.publishers: dict[str, list[str]] = {}
        self.timers: list[Any] = []
        self.told: list[str] = []

    def resolve_topic_name(self, topic: str) -> str:
        return topic if topic.startswith("/") else f"/sgp/{topic}"

    def create_subscription(self, kind: Any, topic: str, callback: Any, qos: Any) -> None:
        assert qos is SENSOR_QOS
        self.subscribed[self.resolve_topic_name(topic)] = (kind, callback)

    def create_timer(self, _period_s: float, callback: Any, clock: Any) -> None:
        assert clock is not None
        self.timers.append(callback)

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: Time(seconds=77))

    def get_logger(self) -> Any:
        return SimpleNamespace(warning=lambda text, **_: self.told.append(text))

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        return [SimpleNamespace(topic_type=kind) for kind in self.publishers.get(topic, [])]

    def send(self, topic: str, message: Any) -> None:
        self.subscribed[topic][1](message)


class Room:
    """Sources with a node, and all that came out of them."""

    def __init__(self, *, frames: dict[str, Any] | None = None, **settings: Any) -> None:
        self.node, self.out = FakeNode(), []
        config = MocapNodeConfig(**settings)
        self.sources = Sources(self.node, config, Frames(FramesConfig(**(frames or {}))), LAYOUT, self)

    def marker(self, name: str, stamp_s: float, position_m: np.ndarray) -> None:
        self.out.append((name, stamp_s, position_m))

    def frame(self, stamp_s: float, positions_m: np.ndarray) -> None:
        self.out.append(("frame", stamp_s, positions_m))

    def points(self, stamp_s: float, points_m: np.ndarray) -> None:
        self.out.append(("points", stamp_s, points_m))

    def pusher(self, stamp_s: float, position_m: np.ndarray, turn: np.ndarray | None) -> None:
        self.out.append(("pusher", stamp_s, position_m, turn))


def stamped(place: Pose, frame: str = "world", stamp_s: float = 5.0) -> PoseStamped:
    return PoseStamped(header=messages.header(stamp_s, frame), pose=place)


class TestMarkers:
    def test_each_marker_has_a_topic_by_name_or_number(self) -> None:
        named = Room(marker_topic="/a/{name}/pose")
        assert [f"/a/{name}/pose" for name in NAMES] == list(named.node.subscribed)[:-1]
        numbered = Room(input="marker_points", marker_topic="m{number}")
        assert [f"/sgp/m{number}" for number in range(5)] == list(numbered.node.subscribed)[:-1]

    def test_point_is_moved_into_the_table_frame(self) -> None:
        # y up: what the driver calls y is the height.
        room = Room(marker_topic="/{name}", frames={"table_from_mocap": (0.1, 0.2, 0.0, np.pi / 2.0, 0.0, 0.0)})
        room.node.send("/marker2", stamped(pose(np.array([0.4, 0.05, 0.1]))))
        ((name, stamp_s, position),) = room.out
        assert (name, stamp_s) == ("marker2", 5.0)
        np.testing.assert_allclose(position, [0.5, 0.1], atol=1e-12)

    def test_millimetres_are_scaled_but_the_arm_speaks_metres(self) -> None:
        room = Room(marker_topic="/{name}", pusher_topic="/pusher", unit_m=0.001)
        room.node.send("/marker1", stamped(pose(AT * 1e3)))
        room.node.send("/pusher", stamped(pose(AT), "base_link"))
        np.testing.assert_allclose(room.out[0][2], AT[:2])
        np.testing.assert_allclose(room.out[1][2], AT)

    @pytest.mark.parametrize("gone", [np.zeros(3), np.full(3, np.nan), np.array([0.1, np.inf, 0.0])])
    def test_zeros_and_nan_are_hidden_markers(self, gone: np.ndarray) -> None:
        room = Room(input="marker_points", marker_topic="/{name}", frames={"table_from_mocap": (1.0, *[0.0] * 5)})
        message = PointStamped(header=messages.header(5.0, "11"), point=pose(gone).position)
        room.node.send("/marker1", message)
        assert np.isnan(room.out[0][2]).all()
        assert room.sources.counts["missing"] == 1

    def test_wrong_frame_and_missing_stamp_are_refused_in_words(self) -> None:
        room = Room(marker_topic="/{name}", frames={"mocap_frame": "world"})
        room.node.send("/marker1", stamped(pose(AT), "camera"))
        assert "'camera'" in room.sources.refusal
        assert "mocap_frame = 'world'" in room.sources.refusal
        room.node.send("/marker1", stamped(pose(AT), stamp_s=0.0))
        assert "stamp_source: receive" in room.sources.refusal
        assert not room.out
        assert dict(room.sources.counts) == {"wrong_frame": 1, "unstamped": 1}
        assert len(room.node.told) == 2

    def test_time_of_arrival(self) -> None:
        room = Room(marker_topic="/{name}", stamp_source="receive")
        room.node.send("/marker1", stamped(pose(AT), stamp_s=0.0))
        assert room.out[0][1] == 77.0


class TestClouds:
    def test_any_layout_of_the_bytes(self) -> None:
        points = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [1.0, 1.1, 1.2]])
        plain = cloud(messages.header(5.0, "world"), points)
        np.testing.assert_allclose(convert_mocap.cloud_points(plain), points, rtol=1e-7)
        kind = np.dtype({"names": ["z", "x", "y"], "formats": [">f8"] * 3, "offsets": [0, 8, 20], "itemsize": 32})
        rows = np.zeros((2, 2), dtype=kind)
        for place, name in enumerate("xyz"):
            rows[name] = points[:, place].reshape(2, 2)
        padded = np.concatenate([rows.view(np.uint8).reshape(2, -1), np.full((2, 5), 7, dtype=np.uint8)], axis=1)
        fields = [PointField(name=n, offset=kind.fields[n][1], datatype=PointField.FLOAT64, count=1) for n in "xyz"]
        odd = PointCloud2(
            height=2, width=2, fields=fields, is_bigendian=True, point_step=32, row_step=69, data=padded.tobytes()
        )
        np.testing.assert_array_equal(convert_mocap.cloud_points(odd), points)
        assert convert_mocap.cloud_points(cloud(messages.header(5.0), np.empty((0, 3)))).shape == (0, 3)

    def test_what_is_no_cloud_of_points_is_refused(self) -> None:
        room = Room(input="point_cloud", marker_topic="/cloud")
        short = cloud(messages.header(5.0, "world"), np.ones((3, 3)))
        short.data = short.data[:20]
        room.node.send("/cloud", short)
        assert "20 bytes" in room.sources.refusal
        flat = cloud(messages.header(5.0, "world"), np.ones((3, 3)))
        flat.fields = flat.fields[:2]
        room.node.send("/cloud", flat)
        assert "['x', 'y']" in room.sources.refusal
        assert room.sources.counts["malformed"] == 2
        assert not room.out

    def test_points_that_are_none_are_left_out(self) -> None:
        room = Room(input="point_cloud", marker_topic="/cloud")
        room.node.send("/cloud", cloud(messages.header(5.0, "world"), np.array([AT, np.zeros(3), AT * np.nan, -AT])))
        np.testing.assert_allclose(room.out[0][2], [AT[:2], -AT[:2]], rtol=1e-6)
        assert room.sources.counts["missing"] == 2


class TestBodies:
    def test_markers_of_a_body_with_axes_of_its_own(self) -> None:
        # As Motive has it: y up in the room and in the body, which is marked 30 mm above the box.
        mocap, body = (0.1, 0.2, 0.0, np.pi / 2.0, 0.0, 0.0), (0.0, -0.03, 0.0, -np.pi / 2.0, 0.0, 0.0)
        table_from_box = Transform.from_numbers((0.5, 0.1, 0.02, 0.0, 0.0, 0.7))
        measured = Transform.from_numbers(mocap).inverse() @ table_from_box @ Transform.from_numbers(body).inverse()
        x, y, z, w = (float(number) for number in measured.quaternion())
        place = Pose(position=pose(measured.translation_m).position, orientation=Quaternion(x=x, y=y, z=z, w=w))
        room = Room(input="body_pose", marker_topic="/box", body_from_box=body, frames={"table_from_mocap": mocap})
        room.node.send("/box", stamped(place))
        np.testing.assert_allclose(room.out[0][2], LAYOUT.markers_at(0.5, 0.1, 0.7), atol=1e-12)
        tilted = convert_mocap.box_pose_of(place, 1.0, Transform.from_numbers((0.0,) * 6), Transform.from_numbers(body))
        assert isinstance(tilted, Fault)
        assert "90 degrees" in tilted.text
        assert "table_from_mocap" in tilted.text

    @pytest.mark.parametrize(
        "place",
        [
            Pose(),
            pose(np.full(3, np.nan)),
            pose(AT, np.nan),
            Pose(position=pose(AT).position, orientation=Quaternion(w=0.0)),
            pose(AT * 1e3),
        ],
        ids=["zeros", "nan position", "nan orientation", "no quaternion", "millimetres"],
    )
    def test_lost_body_hides_all_markers(self, place: Pose) -> None:
        room = Room(input="body_pose", marker_topic="/box")
        room.node.send("/box", stamped(place))
        assert np.isnan(room.out[0][2]).all()
        assert room.sources.refusal

    @pytest.mark.usefixtures("packages")
    def test_body_of_a_list(self) -> None:
        room = Room(input="named_poses", marker_topic="/poses", pusher_input="named", pusher_topic="/pusher_poses")
        bodies = [
            SimpleNamespace(name="box", pose=pose(AT, 0.3)),
            SimpleNamespace(name="pusher", pose=pose(AT, np.nan)),
        ]
        message = SimpleNamespace(header=messages.header(5.0, "world"), poses=bodies)
        room.node.send("/poses", message)
        room.node.send("/pusher_poses", message)
        np.testing.assert_allclose(room.out[0][2], LAYOUT.markers_at(*AT[:2], 0.3))
        np.testing.assert_allclose(room.out[1][2], AT)
        room.node.send("/poses", SimpleNamespace(header=messages.header(6.0, "world"), poses=[]))
        assert np.isnan(room.out[2][2]).all()
        assert "body_name = 'box'" in room.sources.refusal


def listed(name: str, at: np.ndarray, kind: int = 0) -> SimpleNamespace:
    return SimpleNamespace(id_type=kind, marker_index=0, marker_name=name, translation=pose(at).position)


@pytest.mark.usefixtures("packages")
class TestMarkerLists:
    @pytest.fixture
    def room(self) -> Room:
        return Room(
            input="mocap4r2_markers", marker_topic="/markers", pusher_input="named", pusher_topic="/rigid_bodies"
        )

    def test_markers_by_name(self, room: Room) -> None:
        markers = [listed("marker2", AT), listed("marker1", -AT), listed("marker4", np.zeros(3)), listed("foot", AT)]
        room.node.send("/markers", SimpleNamespace(header=messages.header(5.0, "map"), markers=markers))
        expected = np.full((5, 2), np.nan)
        expected[:2] = -AT[:2], AT[:2]
        np.testing.assert_allclose(room.out[0][2], expected)

    @pytest.mark.parametrize(("name", "kind"), [("marker1", 1), ("", 0), ("other", 0)])
    def test_markers_without_known_names_are_a_cloud(self, room: Room, name: str, kind: int) -> None:
        markers = [listed(name, AT, kind), listed(name, np.zeros(3), kind)]
        room.node.send("/markers", SimpleNamespace(header=messages.header(5.0, "map"), markers=markers))
        assert room.out[0][0] == "points"
        np.testing.assert_allclose(room.out[0][2], [AT[:2]])

    def test_pusher_is_a_rigid_body(self, room: Room) -> None:
        body = SimpleNamespace(rigid_body_name="pusher", pose=pose(AT))
        room.node.send("/rigid_bodies", SimpleNamespace(header=messages.header(5.0, "map"), rigidbodies=[body]))
        np.testing.assert_allclose(room.out[0][2], AT)


class TestPusher:
    def test_only_the_arm_knows_how_its_tool_is_turned(self) -> None:
        room = Room(pusher_topic="/tool", frames={"table_from_base": ARM})
        place = Pose(position=pose(AT).position, orientation=Quaternion(x=1.0, w=0.0))
        room.node.send("/tool", stamped(place, "base_link"))
        _, _, position, turn = room.out[0]
        np.testing.assert_allclose(position, [0.1 + 0.1, 0.2 + 0.4, 0.35], atol=1e-12)
        np.testing.assert_allclose(turn, [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]], atol=1e-12)
        message = messages.pusher_to_msg(5.0, position, turn)
        assert message.header.frame_id == "table"
        half = np.sqrt(0.5)
        assert abs(message.pose.orientation.x) == pytest.approx(half)
        room.node.send("/tool", stamped(place, "world"))
        assert room.out[1][3] is None
        unknown = messages.pusher_to_msg(5.0, position, None).pose.orientation
        assert (unknown.x, unknown.y, unknown.z, unknown.w) == (0.0, 0.0, 0.0, 0.0)

    def test_orientation_that_is_none_is_a_lost_body_of_the_mocap_system(self) -> None:
        room = Room(pusher_topic="/tool")
        place = Pose(position=pose(AT).position, orientation=Quaternion(w=0.0))
        room.node.send("/tool", stamped(place, "world"))
        assert not room.out
        assert "not tracked" in room.sources.refusal
        room.node.send("/tool", stamped(place, "base_link"))
        assert room.out[0][3] is None

    def test_point(self) -> None:
        room = Room(pusher_input="point", pusher_topic="/tip")
        room.node.send("/tip", PointStamped(header=messages.header(5.0, "table"), point=Point(x=0.1, y=0.2, z=0.3)))
        np.testing.assert_allclose(room.out[0][2], [0.1, 0.2, 0.3])
        room.node.send("/tip", PointStamped(header=messages.header(5.0, "table")))
        assert len(room.out) == 1

    def test_tf(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tree: dict[tuple[str, str], TransformStamped] = {}

        class Failed(Exception):  # noqa: N818 - stands for tf2_ros.TransformException
            pass

        class Buffer:
            def lookup_transform(self, parent: str, child: str, _time: Time) -> TransformStamped:
                if (parent, child) not in tree:
                    raise Failed
                return tree[parent, child]

        fake = ModuleType("tf2_ros")
        fake.__dict__.update(Buffer=Buffer, TransformListener=lambda *_: object(), TransformException=Failed)
        monkeypatch.setitem(sys.modules, "tf2_ros", fake)
        room = Room(pusher_input="tf", pusher_name="tool0", frames={"table_from_base": ARM})
        (look,) = room.node.timers
        look()
        assert not room.out
        found = TransformStamped(header=messages.header(5.0, "base_link"))
        found.transform.translation.x = 0.4
        tree["base_link", "tool0"] = found
        look()
        look()  # nothing new
        assert len(room.out) == 1
        np.testing.assert_allclose(room.out[0][2], [0.1, 0.6, 0.3], atol=1e-12)
        assert room.out[0][3] is not None


class TestSilence:
    def test_says_why_and_what_to_do(self) -> None:
        room = Room(marker_topic="/m/{name}", pusher_topic="/p")
        assert "/m/marker1 (and 4 more) has no publisher: start the driver, or correct marker_topic" in (
            room.sources.silence(1.0)
        )
        room.node.publishers = {f"/m/{name}": ["geometry_msgs/msg/PointStamped"] for name in NAMES}
        room.node.publishers["/p"] = ["geometry_msgs/msg/PoseStamped"]
        words = room.sources.silence(1.0)
        assert "carries geometry_msgs/msg/PointStamped instead of geometry_msgs/msg/PoseStamped: correct input" in words
        assert "/p is silent" in words
        room.node.send("/p", stamped(pose(AT)))
        assert "/p" not in room.sources.silence(1.0)


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"input": "vrpn"}, "marker_poses"),
            ({"pusher_input": "vrpn"}, "pose, point, named, tf"),
            ({"stamp_source": "now"}, "header, receive"),
            ({"marker_topic": "/pose"}, "{name}"),
            ({"input": "point_cloud"}, "without {name}"),
            ({"input": "body_pose", "marker_topic": ""}, "marker_topic must not be empty"),
            ({"pusher_topic": ""}, "pusher_topic must not be empty"),
            ({"pusher_input": "tf", "pusher_name": ""}, "pusher_name must not be empty"),
            ({"body_from_box": (1.0,)}, "six numbers"),
            ({"unit_m": 0.0}, "unit_m"),
        ],
    )
    def test_what_cannot_be_is_refused_in_words(self, settings: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words.replace("{", r"\{")):
            MocapNodeConfig(**settings)

    @pytest.mark.parametrize(
        ("settings", "package"),
        [
            ({"input": "named_poses", "marker_topic": "/poses"}, "motion_capture_tracking_interfaces"),
            ({"pusher_input": "named"}, "motion_capture_tracking_interfaces"),
            ({"input": "mocap4r2_markers", "marker_topic": "/markers"}, "mocap4r2_msgs"),
            ({"pusher_input": "tf"}, "tf2_ros"),
        ],
    )
    def test_package_that_is_not_there(
        self, settings: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.msg", None)
        with pytest.raises(InputError, match=f"{package}.*install ros-.ROS_DISTRO-{package.replace('_', '-')}"):
            Room(**settings)


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look-alikes of the message packages that no registry has."""
    for package, kinds in (
        ("motion_capture_tracking_interfaces", ["NamedPoseArray"]),
        ("mocap4r2_msgs", ["Markers", "RigidBodies"]),
    ):
        module = ModuleType(f"{package}.msg")
        for kind in kinds:
            setattr(module, kind, type(kind, (), {"__module__": f"{package}.msg"}))
        monkeypatch.setitem(sys.modules, package, ModuleType(package))
        monkeypatch.setitem(sys.modules, f"{package}.msg", module)
