"""Where marker and pusher samples come from: the topics of motion-capture drivers, of an arm, or tf.

Drivers differ in topic, type, QoS, stamp, frame, unit, and in how they say that they do not see a marker. Behind this
module a sample is a point in the frame `table` [m], NaN when hidden, with the time of its measurement.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from geometry_msgs.msg import Point, PointStamped, Pose, PoseStamped
from jaxtyping import Float
from numpy import ndarray
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from sgp_core.errors import InputError
from sgp_core.frames import Frames, Transform
from sgp_core.layout import MarkerLayout
from sgp_core.pusher_gate import is_missing
from sgp_core.safety import Fault
from sgp_ros import convert_mocap
from sgp_ros.listening import Listener, Place
from sgp_ros.mocap_settings import PER_MARKER, MocapNodeConfig
from sgp_ros.optional import mocap4r2_message, named_pose_array, watch_tf


class Sink(Protocol):
    """Takes samples [m; table] with the time they were measured; a hidden marker is NaN."""

    def marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> None:
        """One marker."""

    def frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> None:
        """All markers of one instant, in the order of the layout."""

    def points(self, stamp_s: float, points_m: Float[ndarray, "M 2"]) -> None:
        """All that was seen at one instant, in no order, reflections included."""

    def pusher(self, stamp_s: float, position_m: Float[ndarray, "3"], turn: Float[ndarray, "3 3"] | None) -> None:
        """The pusher; `turn` is the rotation `table_from_tool` where the source knows the arm's tool, else None."""


class Sources(Listener):
    """The subscriptions of one configuration.

    Args:
        node: gets the subscriptions.
        config: what the driver publishes.
        frames: where the frames of the messages are.
        layout: names of the markers.
        sink: gets the samples.

    Raises:
        InputError: a package for the chosen input is not installed.
    """

    def __init__(self, node: Node, config: MocapNodeConfig, frames: Frames, layout: MarkerLayout, sink: Sink) -> None:
        super().__init__(node, config, frames)
        self._layout, self._sink = layout, sink
        self._body_from_box = Transform.from_numbers(config.body_from_box)
        self._connect_markers()
        self._connect_pusher()

    # --- subscriptions

    def _connect_markers(self) -> None:
        config = self._config
        if config.input in PER_MARKER:
            kind, read = (PoseStamped, _of_pose) if config.input == "marker_poses" else (PointStamped, _of_point)
            for name, topic in zip(self._layout.names, config.marker_topics(self._layout), strict=True):
                self.listen(kind, topic, "marker_topic", self._marker_reader(name, read))
            return
        if config.input == "point_cloud":
            kind, take = PointCloud2, self._on_cloud
        elif config.input == "body_pose":
            kind, take = PoseStamped, self._on_body
        elif config.input == "named_poses":
            kind, take = named_pose_array(), self._on_named_box
        else:
            kind, take = mocap4r2_message("Markers"), self._on_marker_list
        self.listen(kind, config.marker_topic, "marker_topic", take)

    def _connect_pusher(self) -> None:
        config = self._config
        if config.pusher_input == "tf":
            self._tf = watch_tf(self._node, self._frames.base_frame, config.pusher_name, self._on_tf)
            return
        if config.pusher_input == "pose":
            kind, take = PoseStamped, self._on_pusher_pose
        elif config.pusher_input == "point":
            kind, take = PointStamped, self._on_pusher_point
        elif config.input == "mocap4r2_markers":
            kind, take = mocap4r2_message("RigidBodies"), self._on_named_pusher
        else:
            kind, take = named_pose_array(), self._on_named_pusher
        self.listen(kind, config.pusher_topic, "pusher_topic", take)

    def _points(self, raw: Float[ndarray, "M 3"], place: Place) -> Float[ndarray, "M 2"]:
        """Points on the table; NaN where the driver says that it sees nothing."""
        hidden = ~np.isfinite(raw).all(axis=1) | ~raw.any(axis=1)
        self.counts["missing"] += int(hidden.sum())
        placed: Float[ndarray, "M 2"] = place.point(raw)[:, :2]
        placed[hidden] = np.nan
        return placed

    # --- markers

    def _marker_reader(self, name: str, read: Callable[[Any], Point]) -> Callable[[Any, float, Place], None]:
        def take(message: Any, stamp_s: float, place: Place) -> None:
            raw = convert_mocap.position_of(read(message))
            if is_missing(raw):
                self.counts["missing"] += 1
                self._sink.marker(name, stamp_s, np.full(2, np.nan))
                return
            self._sink.marker(name, stamp_s, place.point(raw)[:2])

        return take

    def _on_cloud(self, message: PointCloud2, stamp_s: float, place: Place) -> None:
        try:
            raw = convert_mocap.cloud_points(message)
        except InputError as error:
            self.refuse("malformed", str(error))
            return
        points = self._points(raw, place)
        self._sink.points(stamp_s, points[np.isfinite(points).all(axis=1)])

    def _on_marker_list(self, message: Any, stamp_s: float, place: Place) -> None:
        named, raw = convert_mocap.marker_points(message, self._layout.names)
        points = self._points(raw, place)
        if named:
            self._sink.frame(stamp_s, points)
        else:
            self._sink.points(stamp_s, points[np.isfinite(points).all(axis=1)])

    def _on_body(self, message: PoseStamped, stamp_s: float, place: Place) -> None:
        self._body(message.pose, stamp_s, place)

    def _on_named_box(self, message: Any, stamp_s: float, place: Place) -> None:
        pose = convert_mocap.named_pose(message, self._config.body_name)
        if pose is None:
            self.note("missing", f"the list of bodies has no body_name = '{self._config.body_name}'")
            self._sink.frame(stamp_s, np.full((self._layout.count, 2), np.nan))
        else:
            self._body(pose, stamp_s, place)

    def _body(self, pose: Pose, stamp_s: float, place: Place) -> None:
        found = convert_mocap.box_pose_of(pose, place.unit_m, place.table_from, self._body_from_box)
        if isinstance(found, Fault):
            self.note("missing", found.text)
            self._sink.frame(stamp_s, np.full((self._layout.count, 2), np.nan))
        else:
            self._sink.frame(stamp_s, self._layout.markers_at(*found))

    # --- pusher

    def _on_pusher_point(self, message: PointStamped, stamp_s: float, place: Place) -> None:
        self._pusher(convert_mocap.position_of(message.point), None, stamp_s, place)

    def _on_pusher_pose(self, message: PoseStamped, stamp_s: float, place: Place) -> None:
        turned = convert_mocap.transform_of(message.pose, 1.0)
        if turned is None and place.of_mocap:
            # Vicon's receiver says "hidden" with a quaternion that is none, at the origin of its map.
            self.note("missing", "the pusher is not tracked: its pose has NaN, or an orientation that is no quaternion")
            return
        self._pusher(convert_mocap.position_of(message.pose.position), turned, stamp_s, place)

    def _on_named_pusher(self, message: Any, stamp_s: float, place: Place) -> None:
        pose = convert_mocap.named_pose(message, self._config.pusher_name)
        if pose is None:
            self.note("missing", f"the list of bodies has no pusher_name = '{self._config.pusher_name}'")
            return
        # A body of one marker has a position and NaN for its orientation.
        self._pusher(convert_mocap.position_of(pose.position), convert_mocap.transform_of(pose, 1.0), stamp_s, place)

    def _on_tf(self, message: Any) -> None:
        place, stamp_s = self.place(self._frames.base_frame), self.stamp_s(message.header)
        if place is not None and stamp_s is not None:
            pose = Pose(orientation=message.transform.rotation)
            at = message.transform.translation
            pose.position = Point(x=at.x, y=at.y, z=at.z)
            self._pusher(
                convert_mocap.position_of(pose.position), convert_mocap.transform_of(pose, 1.0), stamp_s, place
            )

    def _pusher(self, raw: Float[ndarray, "3"], turned: Transform | None, stamp_s: float, place: Place) -> None:
        if is_missing(raw):
            self.note("missing", "the pusher is not tracked: its position has NaN, or is all zero")
            return
        turn = place.table_from.rotation @ turned.rotation if place.of_arm and turned is not None else None
        self._sink.pusher(stamp_s, place.point(raw), turn)


def _of_pose(message: PoseStamped) -> Point:
    return message.pose.position


def _of_point(message: PointStamped) -> Point:
    return message.point
