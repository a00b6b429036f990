"""Stand-ins for motion-capture drivers: `python mocap_drivers.py DRIVER`.

Each publishes what its driver's source says: topics, types, QoS with the deadline where one is offered, frame, stamps,
the order of its messages, and its way of saying "hidden". A word on `mocap_fault` makes the room go wrong from the next
frame on; the time of that frame comes back on `mocap_fault_since`.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Point, PointStamped, Pose, PoseStamped, Quaternion
from rclpy.duration import Duration
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Float64, Header, String

from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path
from sgp_ros import convert, messages

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))
RATE_HZ = 50.0
LATE_S = 0.1  # a driver that is further behind the cameras has lost the frames between
NOISE_M = 1e-4
CLOCK_S = 3.0  # by which another computer's clock is behind
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def sensor(depth: int, **more: Any) -> QoSProfile:
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT, **more)


def box_at(time_s: float) -> tuple[float, float, float]:
    """Where the box is: it turns and drifts by some centimetres a second."""
    turn = 2.0 * np.pi * ((time_s / 6.0) % 1.0)
    return 0.5 + 0.02 * float(np.sin(turn)), 0.02 * float(np.cos(turn)), 0.2 * float(np.sin(turn))


def pusher_at(time_s: float) -> np.ndarray:
    """Where the pusher is."""
    x, y, _ = box_at(time_s)
    return np.array([x - 0.15, y + 0.05, 0.05])


@dataclass
class Seen:
    """What the cameras make of one instant."""

    markers: np.ndarray  # (N, 3)
    visible: np.ndarray  # (N,)
    body: Pose | None
    pusher: np.ndarray | None
    extra: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    frame_id: str | None = None


class Room:
    """The box, the pusher, and what goes wrong."""

    def __init__(self) -> None:
        self.fault = "ok"
        self._random = np.random.default_rng(0)
        self._count = 0
        self._kept: Seen | None = None

    def seen(self, time_s: float, off_m: float = 0.0) -> Seen:
        self._count += 1
        fault, now_and_then = self.fault, self._count % 10 < 3
        x, y, yaw = box_at(time_s)
        flat = LAYOUT.markers_at(x + off_m, y, yaw)
        noise = self._random.normal(0.0, NOISE_M, (LAYOUT.count + 2, 3))
        markers = np.column_stack([flat, np.full(LAYOUT.count, LAYOUT.box_size_m[2])]) + noise[:-2]
        body_at = np.array([x + off_m, y, LAYOUT.box_size_m[2]]) + noise[-2]
        if now_and_then and fault == "outlier":
            body_at = body_at + np.array([0.3, 0.0, 0.0])
        if now_and_then and fault == "swap":
            yaw += np.pi
        seen = Seen(markers, np.ones(LAYOUT.count, dtype=bool), pose(body_at, yaw), pusher_at(time_s) + noise[-1])
        return self._spoiled(seen)

    def _spoiled(self, seen: Seen) -> Seen:
        fault = self.fault
        if fault == "frozen":
            self._kept = self._kept or seen
            return self._kept
        if fault == "stuck":
            self._kept = self._kept or seen
            seen.markers[1] = self._kept.markers[1]
            return seen
        self._kept = None
        if fault == "hidden":
            seen.visible[1], seen.body = False, None
        elif fault == "swap":
            seen.markers[[0, 2]] = seen.markers[[2, 0]]
        elif fault == "outlier":
            seen.markers[1] += np.array([0.04, -0.03, 0.0])
            seen.extra = seen.markers[:2] + np.array([0.05, 0.11, 0.02])
        elif fault == "nan" or fault == "zeros":
            value = np.nan if fault == "nan" else 0.0
            seen.markers[1] = value
            seen.body = pose(np.full(3, value), value)
        elif fault == "frame":
            seen.frame_id = "camera_link"
        elif fault == "pusher":
            seen.pusher = None
        elif fault == "mm":
            seen.markers *= 1e3
            seen.pusher *= 1e3
            p = seen.body.position
            p.x, p.y, p.z = 1e3 * p.x, 1e3 * p.y, 1e3 * p.z
        return seen


def pose(at: np.ndarray, yaw: float = 0.0) -> Pose:
    x, y, z = (float(value) for value in at)
    turn = Quaternion(z=float(np.sin(yaw / 2.0)), w=float(np.cos(yaw / 2.0)))
    return Pose(position=Point(x=x, y=y, z=z), orientation=turn)


LOST = Pose(orientation=Quaternion(w=0.0))


class Driver(Node):
    """One driver; subclasses say what and how it publishes.

    `frame_id` is what it puts there, `loop_hz` how often it looks for frames of the cameras.
    """

    frame_id = "world"
    loop_hz = RATE_HZ

    def __init__(self) -> None:
        super().__init__("driver")
        self.room = Room()
        self._taken_s = self.now_s()
        self._frames = 0
        self._since = self.create_publisher(Float64, "mocap_fault_since", LATCHED)
        self.create_subscription(String, "mocap_fault", self._on_fault, LATCHED)
        self.make_publishers()
        self.create_timer(1.0 / self.loop_hz, self._loop)

    def now_s(self) -> float:
        return convert.clock_seconds(self.get_clock().now().nanoseconds)

    def _on_fault(self, message: String) -> None:
        self.room.fault = message.data
        self._taken_s = self.now_s()
        self._since.publish(Float64(data=self._taken_s))

    def _loop(self) -> None:
        """All frames that came since the last turn, one right after the other."""
        self._taken_s = max(self._taken_s, self.now_s() - LATE_S)
        while self._taken_s + 1.0 / RATE_HZ <= self.now_s():
            self._taken_s += 1.0 / RATE_HZ
            self._frames += 1
            self.publish(self.room.seen(self._taken_s))
            if self.room.fault == "late" and self._frames % 3 == 0:
                # What the network kept back for 40 ms, from a box 0.2 m away.
                old_s = self._taken_s - 0.04
                self.publish(self.room.seen(old_s, off_m=0.2), old_s)

    def header(self, seen: Seen, stamp_s: float | None) -> Header:
        at_s = self.now_s() if stamp_s is None else stamp_s
        slow_s = CLOCK_S if self.room.fault == "clock" else 0.0
        return messages.header(at_s - slow_s, seen.frame_id or self.frame_id)

    def make_publishers(self) -> None:
        raise NotImplementedError

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        raise NotImplementedError


class VrpnMocap(Driver):
    """A tracker per marker; a loop slower than the cameras, and stamps of that loop."""

    loop_hz = 20.0

    def make_publishers(self) -> None:
        self.trackers = {
            name: self.create_publisher(PoseStamped, f"/vrpn_mocap/{name}/pose", sensor(5))
            for name in (*LAYOUT.names, "pusher")
        }

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        places = [pose(at) if visible else None for at, visible in zip(seen.markers, seen.visible, strict=True)]
        places.append(None if seen.pusher is None else pose(seen.pusher))
        for publisher, place in zip(self.trackers.values(), places, strict=True):
            if place is not None:
                publisher.publish(PoseStamped(header=self.header(seen, stamp_s), pose=place))


class Bodies(Driver):
    """Two bodies, a PoseStamped topic each; a lost one is silent."""

    topics = ("", "")
    qos = QoSProfile(depth=10)

    def make_publishers(self) -> None:
        self.bodies = [self.create_publisher(PoseStamped, topic, self.qos) for topic in self.topics]

    def lost(self) -> Pose | None:
        return None

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        for publisher, place in zip(
            self.bodies, (seen.body, None if seen.pusher is None else pose(seen.pusher)), strict=True
        ):
            found = self.lost() if place is None else place
            if found is not None:
                publisher.publish(PoseStamped(header=self.header(seen, stamp_s), pose=found))


class VrpnMocapBody(Bodies):
    topics, qos, loop_hz = ("/vrpn_mocap/box/pose", "/vrpn_mocap/pusher/pose"), sensor(5), 20.0


class VrpnClientRos(Bodies):
    """Behind ros1_bridge: reliable, depth 10."""

    topics = ("/vrpn_client_node/box/pose", "/vrpn_client_node/pusher/pose")


class MocapOptitrack(Bodies):
    """Both bodies have the frame's own time."""

    topics, qos = ("/box/pose", "/pusher/pose"), QoSProfile(depth=1000)

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        super().publish(seen, self._taken_s if stamp_s is None else stamp_s)


class ViconReceiver(Bodies):
    """A lost subject is a pose of zeros, its quaternion too."""

    topics, frame_id = ("/vicon/box/box", "/vicon/pusher/pusher"), "map"

    def lost(self) -> Pose:
        return LOST


class NatNetRos2(Driver):
    """Markers as points whose frame_id is a number; the pusher's body first, as Motive lists bodies before markers."""

    def make_publishers(self) -> None:
        qos = QoSProfile(depth=1000)
        self.pusher = self.create_publisher(PoseStamped, "/pusher/pose", qos)
        self.points = [
            self.create_publisher(PointStamped, f"/box/marker{number}/pose", qos) for number in range(LAYOUT.count)
        ]

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        if seen.pusher is not None:
            self.pusher.publish(PoseStamped(header=self.header(seen, stamp_s), pose=pose(seen.pusher)))
        for number, publisher in enumerate(self.points):
            if seen.visible[number]:
                header = self.header(replace(seen, frame_id=seen.frame_id or f"1{number + 1}"), stamp_s)
                publisher.publish(PointStamped(header=header, point=pose(seen.markers[number]).position))


class MotionCaptureTracking(Driver):
    """A cloud in any order, and the tracked bodies in a list without the lost ones, with a deadline on offer."""

    def make_publishers(self) -> None:
        from motion_capture_tracking_interfaces.msg import NamedPose, NamedPoseArray

        self.named, self.random = NamedPose, np.random.default_rng(1)
        self.list = NamedPoseArray
        self.cloud = self.create_publisher(PointCloud2, "/pointCloud", QoSProfile(depth=1))
        self.poses = self.create_publisher(
            NamedPoseArray, "/poses", sensor(1, deadline=Duration(nanoseconds=int(1e9 / RATE_HZ)))
        )

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        header = self.header(seen, stamp_s)
        points = np.concatenate([seen.markers[seen.visible], seen.extra])
        self.cloud.publish(cloud(header, self.random.permutation(points)))
        bodies = [] if seen.body is None else [self.named(name="box", pose=seen.body)]
        if seen.pusher is not None:
            single = pose(seen.pusher, np.nan)  # a body of one marker has no orientation
            bodies.append(self.named(name="pusher", pose=single))
        if bodies:
            self.poses.publish(self.list(header=header, poses=bodies))


def cloud(header: Header, points: np.ndarray) -> PointCloud2:
    data = np.ascontiguousarray(points, dtype="<f4").tobytes()
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=[
            PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
            for place, name in enumerate("xyz")
        ],
        point_step=12,
        row_step=12 * len(points),
        data=data,
        is_dense=True,
    )


class Mocap4Ros2Vicon(Driver):
    """Markers by name, zeros for hidden ones; the bodies right after them."""

    frame_id, pusher_name = "vicon_world", "pusher.pusher"

    def make_publishers(self) -> None:
        from mocap4r2_msgs.msg import Marker, Markers, RigidBodies, RigidBody

        self.kinds = Marker, Markers, RigidBodies, RigidBody
        self.markers = self.create_publisher(Markers, "/markers", QoSProfile(depth=1000))
        self.bodies = self.create_publisher(RigidBodies, "/rigid_bodies", QoSProfile(depth=1000))

    def marker_list(self, seen: Seen) -> list[Any]:
        marker, zero = self.kinds[0], np.zeros(3)
        places = [at if visible else zero for at, visible in zip(seen.markers, seen.visible, strict=True)]
        return [
            marker(id_type=marker.USE_NAME, marker_name=name, translation=pose(at).position)
            for name, at in zip(LAYOUT.names, places, strict=True)
        ]

    def publish(self, seen: Seen, stamp_s: float | None = None) -> None:
        _, markers, bodies, body = self.kinds
        if self.markers.get_subscription_count():
            self.markers.publish(markers(header=self.header(seen, stamp_s), markers=self.marker_list(seen)))
        if self.bodies.get_subscription_count():
            pusher = LOST if seen.pusher is None else pose(seen.pusher)
            found = [body(rigid_body_name=self.pusher_name, pose=pusher)]
            self.bodies.publish(bodies(header=self.header(seen, stamp_s), rigidbodies=found))


class Mocap4Ros2Optitrack(Mocap4Ros2Vicon):
    """Markers by their place in the frame; hidden ones are left out, and the others move up."""

    frame_id, pusher_name = "map", "2"

    def marker_list(self, seen: Seen) -> list[Any]:
        marker = self.kinds[0]
        points = np.concatenate([seen.extra, seen.markers[seen.visible]])
        return [
            marker(id_type=marker.USE_INDEX, marker_index=index, translation=pose(at).position)
            for index, at in enumerate(points)
        ]


DRIVERS: dict[str, type[Driver]] = {
    "vrpn_mocap": VrpnMocap,
    "vrpn_mocap_body": VrpnMocapBody,
    "vrpn_client_ros": VrpnClientRos,
    "natnet_ros2": NatNetRos2,
    "mocap_optitrack": MocapOptitrack,
    "vicon_receiver": ViconReceiver,
    "motion_capture_tracking": MotionCaptureTracking,
    "mocap4ros2": Mocap4Ros2Vicon,
    "mocap4ros2_optitrack": Mocap4Ros2Optitrack,
}


def main() -> None:
    rclpy.init()
    with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(DRIVERS[sys.argv[1]]())


if __name__ == "__main__":
    main()
