"""Subscriptions to motion-capture drivers: stamp, frame and unit of their messages, what was refused, who is silent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rclpy.node import Node
from std_msgs.msg import Header

from sgp_core.errors import InputError
from sgp_core.frames import Frames, Transform
from sgp_ros import convert
from sgp_ros.mocap_settings import MocapNodeConfig
from sgp_ros.running import SENSOR_QOS

TOLD_EVERY_S = 5.0


@dataclass
class Topic:
    """One subscription, and what came from it."""

    name: str  # resolved
    kind: str  # as in `ros2 topic list -t`
    setting: str  # the parameter that names it
    heard_s: float = -np.inf  # monotonic time of the last one


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


class Listener:
    """Listens to topics and gives each message its time and its frame.

    Args:
        node: gets the subscriptions.
        config: `stamp_source` and `unit_m` are used.
        frames: where the frames of the messages are.

    Attributes:
        counts: since the start: `missing` (samples that say "hidden"), `wrong_frame`, `unstamped`, `malformed`.
        refusal: why the last of these was refused, in words; `refused_s` is the monotonic time of it.
        topics: what was subscribed to.
    """

    def __init__(self, node: Node, config: MocapNodeConfig, frames: Frames) -> None:
        self.counts: Counter[str] = Counter()
        self.refusal, self.refused_s = "", -np.inf
        self.topics: list[Topic] = []
        self._node, self._config, self._frames = node, config, frames
        self._places: dict[str, Place] = {}

    def listen(self, kind: Any, topic: str, setting: str, take: Callable[[Any, float, Place], None]) -> None:
        """Subscribe; `take` gets the messages whose stamp [s] and frame are accepted; `setting` names the topic."""
        package = kind.__module__.split(".")[0]
        state = Topic(self._node.resolve_topic_name(topic), f"{package}/msg/{kind.__name__}", setting)
        self.topics.append(state)

        def on_message(message: Any) -> None:
            state.heard_s = time.monotonic()
            place = self.place(message.header.frame_id)
            stamp_s = self.stamp_s(message.header)
            if place is not None and stamp_s is not None:
                take(message, stamp_s, place)

        self._node.create_subscription(kind, topic, on_message, SENSOR_QOS)

    def silence(self, after_s: float) -> str:
        """Which topics send nothing since `after_s`, why, and what to do; empty while all do."""
        told: dict[str, list[str]] = {}
        for topic in self.topics:
            if topic.heard_s > time.monotonic() - after_s:
                continue
            others = {info.topic_type for info in self._node.get_publishers_info_by_topic(topic.name)}
            if not others:
                why = f"has no publisher: start the driver, or correct {topic.setting}"
            elif topic.kind not in others:
                setting = "input" if topic.setting == "marker_topic" else "pusher_input"
                why = f"carries {', '.join(sorted(others))} instead of {topic.kind}: correct {setting}"
            else:
                why = "is silent: see whether the driver is activated, connected and tracks the object"
            told.setdefault(why, []).append(topic.name)
        return "; ".join(
            f"{names[0]}{f' (and {len(names) - 1} more)' if len(names) > 1 else ''} {why}"
            for why, names in told.items()
        )

    def place(self, frame_id: str) -> Place | None:
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

    def stamp_s(self, header: Header) -> float | None:
        """When a message was measured [s; ROS time]; None, counted and told, when it does not say so."""
        if self._config.stamp_source == "receive":
            return convert.clock_seconds(self._node.get_clock().now().nanoseconds)
        stamp_s = convert.seconds(header.stamp)
        if stamp_s > 0.0:
            return stamp_s
        self.refuse("unstamped", "the driver sends no stamps; set stamp_source: receive")
        return None

    def refuse(self, what: str, why: str) -> None:
        """Count a sample that should not have come, and warn."""
        self.note(what, why)
        self._node.get_logger().warning(f"sample refused: {why}", throttle_duration_sec=TOLD_EVERY_S)

    def note(self, what: str, why: str) -> None:
        """Count a sample that is of no use, and remember why."""
        self.counts[what] += 1
        self.refusal, self.refused_s = why, time.monotonic()
