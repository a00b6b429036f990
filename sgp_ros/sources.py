"""Where samples come from in a node: topics of motion-capture drivers, of an arm, or tf; and who of them is silent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.node import Node

from sgp_core.frames import Frames
from sgp_core.layout import MarkerLayout
from sgp_ros import convert
from sgp_ros.mocap_settings import MocapNodeConfig
from sgp_ros.optional import message_class, watch_tf
from sgp_ros.running import SENSOR_QOS
from sgp_ros.samples import Input, SampleReader, Sink

TOLD_EVERY_S = 5.0


@dataclass
class Topic:
    """One subscription, and what came from it."""

    name: str  # resolved
    source: Input
    heard_s: float = -np.inf  # monotonic time of the last one


class Sources(SampleReader):
    """The subscriptions of one configuration.

    Args:
        node: gets the subscriptions.
        config: what the driver publishes.
        frames: where the frames of the messages are.
        layout: names of the markers.
        sink: gets the samples.

    Attributes:
        topics: what was subscribed to.

    Raises:
        InputError: a package for the chosen input is not installed.
    """

    def __init__(self, node: Node, config: MocapNodeConfig, frames: Frames, layout: MarkerLayout, sink: Sink) -> None:
        super().__init__(config, frames, layout, sink)
        self._node = node
        self.topics = [Topic(node.resolve_topic_name(source.topic), source) for source in self.inputs]
        for topic in self.topics:
            kind = message_class(topic.source.kind)
            node.create_subscription(kind, topic.source.topic, self._reader(topic), SENSOR_QOS)
        if config.pusher_input == "tf":

            def take(found: Any) -> None:
                self.take_transform(found, self._received_s())

            self._tf = watch_tf(node, frames.base_frame, config.pusher_name, take)

    def _reader(self, topic: Topic) -> Callable[[Any], None]:
        def on_message(message: Any) -> None:
            topic.heard_s = time.monotonic()
            self.take(topic.source, message, self._received_s())

        return on_message

    def _received_s(self) -> float:
        if self._config.stamp_source == "header":
            return 0.0  # nobody asks, a hundred times a second
        return convert.clock_seconds(self._node.get_clock().now().nanoseconds)

    def refuse(self, what: str, why: str) -> None:
        """Count a sample that should not have come, and warn."""
        super().refuse(what, why)
        self._node.get_logger().warning(f"sample refused: {why}", throttle_duration_sec=TOLD_EVERY_S)

    def silence(self, after_s: float) -> str:
        """Which topics send nothing since `after_s`, why, and what to do; empty while all do."""
        told: dict[str, list[str]] = {}
        for topic in self.topics:
            if topic.heard_s > time.monotonic() - after_s:
                continue
            others = {info.topic_type for info in self._node.get_publishers_info_by_topic(topic.name)}
            if not others:
                why = f"has no publisher: start the driver, or correct {topic.source.setting}"
            elif topic.source.kind not in others:
                setting = "input" if topic.source.setting == "marker_topic" else "pusher_input"
                why = f"carries {', '.join(sorted(others))} instead of {topic.source.kind}: correct {setting}"
            else:
                why = "is silent: see whether the driver is activated, connected and tracks the object"
            told.setdefault(why, []).append(topic.name)
        return "; ".join(
            f"{names[0]}{f' (and {len(names) - 1} more)' if len(names) > 1 else ''} {why}"
            for why, names in told.items()
        )
