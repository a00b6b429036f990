"""Records every topic of a closed loop, byte by byte, into a rosbag2 folder, and hands the messages on.

Messages are fetched in batches rather than by an executor: rclpy builds its wait set again for every single message,
which for the 800 messages/s of one rig costs half a core, taken from the loop that is being watched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription

from sgp_core.errors import InputError
from sgp_ros.bag_writer import BagWriter
from sgp_ros.optional import message_class

# Room for the messages between two calls of `poll`, at up to 500 Hz and 10 polls a second.
DEPTH = 100
COMMON_TOPICS = {"/diagnostics", "/rosout", "/parameter_events", "/clock", "/tf", "/tf_static"}


@dataclass(frozen=True, kw_only=True)
class Received:
    """One message as it came over the wire."""

    topic: str
    received_ns: int  # system time
    kind: type[Any]
    raw: bytes

    @property
    def message(self) -> Any:
        """The message itself."""
        return deserialize_message(self.raw, self.kind)


@dataclass(kw_only=True)
class _Channel:
    subscription: Subscription
    kind: type[Any]


class Recorder:
    """Finds topics as they appear, records them, and returns what came in.

    Args:
        node: subscribes; must not be spun, its subscriptions are read here.
        writer: of the bag; it is closed with the recorder.
        namespace: topics below it are recorded, and those that all ROS systems share.
        topics: absolute names of further ones.

    Attributes:
        left_out: topics that cannot be recorded, and why.
    """

    def __init__(self, node: Node, writer: BagWriter, namespace: str, topics: Sequence[str] = ()) -> None:
        self._node, self._namespace = node, f"/{namespace}/" if namespace else "/"
        self._topics = COMMON_TOPICS | set(topics)
        self.left_out: dict[str, str] = {}
        self._channels: dict[str, _Channel] = {}
        self._writer = writer

    def look_for_topics(self) -> None:
        """Subscribe to every topic that has a publisher by now."""
        for topic, types in self._node.get_topic_names_and_types():
            wanted = topic.startswith(self._namespace) or topic in self._topics
            known = topic in self._channels or topic in self.left_out
            publishers = self._node.get_publishers_info_by_topic(topic) if wanted and not known else []
            if publishers:
                reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
                latched = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
                try:
                    self._channels[topic] = self._subscribe(topic, types[0], reliable, latched)
                except (InputError, AttributeError, ValueError) as error:  # one of many must not end the recording
                    self.left_out[topic] = str(error)

    def _subscribe(self, topic: str, type_name: str, reliable: bool, latched: bool) -> _Channel:
        kind = message_class(type_name)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        self._writer.add_topic(topic, type_name, reliable=reliable, latched=latched)
        subscription = self._node.create_subscription(kind, topic, _never_called, profile, raw=True)
        return _Channel(subscription=subscription, kind=kind)

    def poll(self) -> Iterator[Received]:
        """Record and return everything that has come in since the last call, topic by topic."""
        for topic, channel in self._channels.items():
            handle = channel.subscription.handle
            with handle:
                while (taken := handle.take_message(channel.kind, True)) is not None:
                    raw, info = bytes(taken[0]), taken[1]
                    received_ns = int(info["received_timestamp"])
                    self._writer.write(topic, received_ns, raw)
                    yield Received(topic=topic, received_ns=received_ns, kind=channel.kind, raw=raw)

    def close(self) -> None:
        """Finish the bag; the subscriptions end with their node."""
        self._writer.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _never_called(_message: bytes) -> None:
    """The callback rclpy asks for; without an executor nobody calls it."""
