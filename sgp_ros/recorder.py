"""Records every topic of a closed loop, byte by byte, into a rosbag2 folder, and hands the messages on.

Messages are fetched in batches rather than by an executor: rclpy builds its wait set again for every single message,
which for the 800 messages/s of one rig costs half a core, taken from the loop that is being watched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
# Topics that are recorded already are looked at again with every so many looks: each takes a query, and a loop waits.
KNOWN_EVERY = 8
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
    kind: type[Any]
    subscriptions: list[Subscription] = field(default_factory=list)
    reliable: bool = True
    latched: bool = True
    sent_ns: deque[int] = field(default_factory=lambda: deque(maxlen=4 * DEPTH))  # of the last messages, by the sender

    def is_news(self, sent_ns: int) -> bool:
        """Whether no other of the subscriptions has brought it."""
        if len(self.subscriptions) > 1:
            if sent_ns in self.sent_ns:
                return False
            self.sent_ns.append(sent_ns)
        return True


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
        self._writer, self._looks = writer, 0

    def look_for_topics(self) -> None:
        """Subscribe to every topic that has a publisher by now, so that all of its publishers are heard."""
        self._looks += 1
        again = self._looks % KNOWN_EVERY == 0
        for topic, types in self._node.get_topic_names_and_types():
            wanted = topic.startswith(self._namespace) or topic in self._topics
            look = wanted and topic not in self.left_out and (again or topic not in self._channels)
            publishers = self._node.get_publishers_info_by_topic(topic) if look else []
            if publishers:
                reliable = all(info.qos_profile.reliability == ReliabilityPolicy.RELIABLE for info in publishers)
                latched = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
                try:
                    self._hear(topic, types[0], reliable, latched)
                except (InputError, AttributeError, ValueError) as error:  # one of many must not end the recording
                    self.left_out[topic] = str(error)

    def _hear(self, topic: str, type_name: str, reliable: bool, latched: bool) -> None:
        channel = self._channels.get(topic)
        if channel is None:
            channel = _Channel(kind=message_class(type_name))
            self._writer.add_topic(topic, type_name, reliable=reliable, latched=latched)
            self._channels[topic] = channel
        elif reliable >= channel.reliable and latched >= channel.latched:
            return
        # A publisher that came later promises less, as RViz does for goals: a second subscription asks for less, too.
        channel.reliable, channel.latched = channel.reliable and reliable, channel.latched and latched
        channel.subscriptions.append(self._subscribe(topic, channel.kind, channel.reliable, channel.latched))

    def _subscribe(self, topic: str, kind: type[Any], reliable: bool, latched: bool) -> Subscription:
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=DEPTH,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        )
        return self._node.create_subscription(kind, topic, _never_called, profile, raw=True)

    def poll(self) -> Iterator[Received]:
        """Record and return everything that has come in since the last call, topic by topic."""
        pairs = [(topic, channel, of) for topic, channel in self._channels.items() for of in channel.subscriptions]
        for topic, channel, subscription in pairs:
            handle = subscription.handle
            with handle:
                while (taken := handle.take_message(channel.kind, True)) is not None:
                    raw, info = bytes(taken[0]), taken[1]
                    if not channel.is_news(int(info["source_timestamp"])):
                        continue
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
