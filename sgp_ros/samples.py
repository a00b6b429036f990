"""Marker and pusher samples out of messages, whoever brings them: subscriptions (`sources`) or a bag (`bag_states`).

Drivers differ in topic, type, stamp, frame, unit, and in how they say that they do not see a marker. Behind this module
a sample is a point in the frame `table` [m], NaN when hidden, with the time of its measurement. Nothing here needs ROS.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.frames import Frames, Transform
from sgp_core.layout import MarkerLayout
from sgp_core.pusher_gate import is_missing
from sgp_core.safety import Fault
from sgp_ros import convert, convert_mocap
from sgp_ros.mocap_settings import PER_MARKER, MocapNodeConfig

POSE, POINT = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PointStamped"
CLOUD = "sensor_msgs/msg/PointCloud2"
NAMED_POSES = "motion_capture_tracking_interfaces/msg/NamedPoseArray"
MARKERS, RIGID_BODIES = "mocap4r2_msgs/msg/Markers", "mocap4r2_msgs/msg/RigidBodies"


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


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a frame_id stands for."""

    table_from: Transform
    unit_m: float
    of_arm: bool
    of_mocap: bool

    def point(self, raw: Float[ndarray, "*k 3"]) -> Float[ndarray, "*k 3"]:
        """Points (..., 3) of a message [its unit; its frame] as points [m; table]."""
        return self.table_from.apply(raw * self.unit_m)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A topic to be read."""

    topic: str  # as configured
    kind: str  # as in `ros2 topic list -t`
    setting: str  # the parameter that names the topic
    take: Callable[[Any, float, Place], None]


class SampleReader:
    """Gives each message of a configuration's topics its time and its frame, and its samples to a sink.

    Args:
        config: what the driver publishes.
        frames: where the frames of the messages are.
        layout: names of the markers.
        sink: gets the samples.

    Attributes:
        inputs: the topics to be read; none for a pusher that comes from tf.
        counts: since the start: `missing` (samples that say "hidden"), `wrong_frame`, `unstamped`, `malformed`.
        refusal: why the last of these was refused, in words; `refused_s` is the monotonic time of it.
    """

    def __init__(self, config: MocapNodeConfig, frames: Frames, layout: MarkerLayout, sink: Sink) -> None:
        self.counts: Counter[str] = Counter()
        self.refusal, self.refused_s = "", -np.inf
        self._config, self._frames, self._layout, self._sink = config, frames, layout, sink
        self._places: dict[str, Place] = {}
        self._body_from_box = Transform.from_numbers(config.body_from_box)
        self.inputs = [*self._marker_inputs(), *self._pusher_inputs()]

    def take(self, source: Input, message: Any, received_s: float) -> None:
        """One message of one of the `inputs`; `received_s` is when it came [s; ROS time]."""
        place = self._place(message.header.frame_id)
        stamp_s = self._measured_s(convert.seconds(message.header.stamp), received_s)
        if place is not None and stamp_s is not None:
            source.take(message, stamp_s, place)

    def take_transform(self, message: Any, received_s: float) -> None:
        """A tf frame of the pusher, seen from the arm's base."""
        turned = convert_mocap.transform_of(convert_mocap.pose_in(message), 1.0)
        position = convert_mocap.position_of(message.transform.translation)
        self.take_tool(position, turned, convert.seconds(message.header.stamp), received_s)

    def take_tool(
        self, position_m: Float[ndarray, "3"], turned: Transform | None, stamp_s: float, received_s: float
    ) -> None:
        """The pusher, seen from the arm's base [m]; it was there at `stamp_s`, and one heard of it at `received_s`."""
        place = self._place(self._frames.base_frame)
        measured_s = self._measured_s(stamp_s, received_s)
        if place is not None and measured_s is not None:
            self._pusher(position_m, turned, measured_s, place)

    # --- topics

    def _marker_inputs(self) -> list[Input]:
        config, setting = self._config, "marker_topic"
        if config.input in PER_MARKER:
            kind, read = (POSE, _of_pose) if config.input == "marker_poses" else (POINT, _of_point)
            return [
                Input(topic=topic, kind=kind, setting=setting, take=self._marker_reader(name, read))
                for name, topic in zip(self._layout.names, config.marker_topics(self._layout), strict=True)
            ]
        kind, take = {
            "point_cloud": (CLOUD, self._on_cloud),
            "body_pose": (POSE, self._on_body),
            "named_poses": (NAMED_POSES, self._on_named_box),
            "mocap4r2_markers": (MARKERS, self._on_marker_list),
        }[config.input]
        return [Input(topic=config.marker_topic, kind=kind, setting=setting, take=take)]

    def _pusher_inputs(self) -> list[Input]:
        config = self._config
        if config.pusher_input == "tf":
            return []
        lists = RIGID_BODIES if config.input == "mocap4r2_markers" else NAMED_POSES
        kind, take = {
            "pose": (POSE, self._on_pusher_pose),
            "point": (POINT, self._on_pusher_point),
            "named": (lists, self._on_named_pusher),
        }[config.pusher_input]
        return [Input(topic=config.pusher_topic, kind=kind, setting="pusher_topic", take=take)]

    # --- time, frame, refusals

    def _place(self, frame_id: str) -> Place | None:
        """What a frame_id stands for; None, counted and told, when it must not be there."""
        known = self._places.get(frame_id)
        if known is not None:
            return known
        try:
            table_from = self._frames.table_from(frame_id)
        except InputError as error:
            self.refuse("wrong_frame", str(error))
            return None
        of_mocap = table_from is self._frames.table_from_mocap
        self._places[frame_id] = place = Place(
            table_from=table_from,
            unit_m=self._config.unit_m if of_mocap else 1.0,
            of_arm=table_from is self._frames.table_from_base,
            of_mocap=of_mocap,
        )
        return place

    def _measured_s(self, stamp_s: float, received_s: float) -> float | None:
        """When a message was measured [s; ROS time]; None, counted and told, when it does not say so."""
        if self._config.stamp_source == "receive":
            return received_s
        if stamp_s > 0.0:
            return stamp_s
        self.refuse("unstamped", "the driver sends no stamps; set stamp_source: receive")
        return None

    def refuse(self, what: str, why: str) -> None:
        """Count a sample that should not have come."""
        self.note(what, why)

    def note(self, what: str, why: str) -> None:
        """Count a sample that is of no use, and remember why."""
        self.counts[what] += 1
        self.refusal, self.refused_s = why, time.monotonic()

    def _points(self, raw: Float[ndarray, "M 3"], place: Place) -> Float[ndarray, "M 2"]:
        """Points on the table; NaN where the driver says that it sees nothing."""
        hidden = ~np.isfinite(raw).all(axis=1) | ~raw.any(axis=1)
        self.counts["missing"] += int(hidden.sum())
        placed: Float[ndarray, "M 2"] = place.point(raw)[:, :2]
        placed[hidden] = np.nan
        return placed

    # --- markers

    def _marker_reader(self, name: str, read: Callable[[Any], Any]) -> Callable[[Any, float, Place], None]:
        def take(message: Any, stamp_s: float, place: Place) -> None:
            raw = convert_mocap.position_of(read(message))
            if is_missing(raw):
                self.counts["missing"] += 1
                self._sink.marker(name, stamp_s, np.full(2, np.nan))
                return
            self._sink.marker(name, stamp_s, place.point(raw)[:2])

        return take

    def _on_cloud(self, message: Any, stamp_s: float, place: Place) -> None:
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

    def _on_body(self, message: Any, stamp_s: float, place: Place) -> None:
        self._body(message.pose, stamp_s, place)

    def _on_named_box(self, message: Any, stamp_s: float, place: Place) -> None:
        pose = convert_mocap.named_pose(message, self._config.body_name)
        if pose is None:
            self.note("missing", f"the list of bodies has no body_name = '{self._config.body_name}'")
            self._sink.frame(stamp_s, np.full((self._layout.count, 2), np.nan))
        else:
            self._body(pose, stamp_s, place)

    def _body(self, pose: Any, stamp_s: float, place: Place) -> None:
        found = convert_mocap.box_pose_of(pose, place.unit_m, place.table_from, self._body_from_box)
        if isinstance(found, Fault):
            self.note("missing", found.text)
            self._sink.frame(stamp_s, np.full((self._layout.count, 2), np.nan))
        else:
            self._sink.frame(stamp_s, self._layout.markers_at(*found))

    # --- pusher

    def _on_pusher_point(self, message: Any, stamp_s: float, place: Place) -> None:
        self._pusher(convert_mocap.position_of(message.point), None, stamp_s, place)

    def _on_pusher_pose(self, message: Any, stamp_s: float, place: Place) -> None:
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

    def _pusher(self, raw: Float[ndarray, "3"], turned: Transform | None, stamp_s: float, place: Place) -> None:
        if is_missing(raw):
            self.note("missing", "the pusher is not tracked: its position has NaN, or is all zero")
            return
        turn = place.table_from.rotation @ turned.rotation if place.of_arm and turned is not None else None
        self._sink.pusher(stamp_s, place.point(raw), turn)


def _of_pose(message: Any) -> Any:
    return message.pose.position


def _of_point(message: Any) -> Any:
    return message.point
