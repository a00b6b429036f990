"""Listens for `sgp doctor`: every message of the topics that matter, with the time it came."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from sgp_core.errors import InputError
from sgp_ros import convert
from sgp_ros.optional import message_class

POLL_S = 0.02
LOOK_EVERY_S = 0.3
DEPTH = 200  # room for the messages between two polls, of a camera at 500 Hz on a busy machine


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One message."""

    topic: str
    arrived_s: float  # system time
    ros_s: float  # ROS time then: system time, or that of the last /clock
    message: Any

    @property
    def stamp_s(self) -> float | None:
        """When its sender says that it was measured; None for a message without header."""
        header = getattr(self.message, "header", None)
        return None if header is None else convert.seconds(header.stamp)


@dataclass(kw_only=True)
class Record:
    """All that was heard."""

    began_s: float = 0.0  # system time
    ended_s: float = 0.0
    poll_gap_s: float = 0.0  # longest time between two polls: how much this machine kept the doctor waiting
    heard: list[Heard] = field(default_factory=list)  # in the order of arrival

    def of(self, topic: str) -> list[Heard]:
        """What came on one topic."""
        return [one for one in self.heard if one.topic == topic]

    def arrivals_s(self, topic: str) -> Float[ndarray, "K"]:
        """When [s; system time]."""
        return np.array([one.arrived_s for one in self.of(topic)])

    def rate_hz(self, topic: str) -> float:
        """Messages a second; 0 for fewer than two."""
        arrivals_s = self.arrivals_s(topic)
        return 0.0 if len(arrivals_s) < 2 else float((len(arrivals_s) - 1) / max(np.ptp(arrivals_s), 1e-9))

    def longest_gap_s(self, topic: str) -> float:
        """Longest time without a message after the first one [s]."""
        arrivals_s = self.arrivals_s(topic)
        return 0.0 if not len(arrivals_s) else float(np.diff([*arrivals_s, self.ended_s]).max())


class Ears:
    """Takes the messages of topics, in batches: that costs less than an executor, and nothing waits for it.

    Args:
        node: subscribes; must not be spun meanwhile.
        topics: absolute name and type of each.
        sim_time: whether ROS time is that of /clock.

    Attributes:
        deaf: types of messages that are not installed here.
    """

    def __init__(self, node: Node, topics: Iterable[tuple[str, str]], *, sim_time: bool) -> None:
        self._node, self._sim_time = node, sim_time
        self._wanted = dict(topics) | {"/clock": "rosgraph_msgs/msg/Clock"}
        self._open: dict[str, tuple[Subscription, type]] = {}
        self._clock_s = 0.0
        self.deaf: set[str] = set()

    def listen(self, seconds: float, tell: Callable[[float], None]) -> Record:
        """Listen for a time [s]; `tell` is called with how much of it has passed, now and then."""
        record, look_s = Record(began_s=time.time()), 0.0
        polled_s = began_s = time.monotonic()
        while (now_s := time.monotonic()) < began_s + seconds:
            if now_s >= look_s:
                self._look()
                tell(now_s - began_s)
                look_s = now_s + LOOK_EVERY_S
            record.poll_gap_s = max(record.poll_gap_s, now_s - polled_s)
            polled_s = now_s
            self._poll(record)
            time.sleep(POLL_S)
        self._poll(record)
        record.ended_s = time.time()
        record.heard.sort(key=lambda one: one.arrived_s)
        for subscription, _ in self._open.values():
            self._node.destroy_subscription(subscription)
        return record

    def _look(self) -> None:
        """Subscribe to what has a publisher of the right type by now, in the way it publishes."""
        for topic, kind in self._wanted.items():
            if topic in self._open or kind in self.deaf:
                continue
            publishers = [end for end in self._node.get_publishers_info_by_topic(topic) if end.topic_type == kind]
            if not publishers:
                continue
            latched = all(end.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for end in publishers)
            profile = QoSProfile(
                history=HistoryPolicy.KEEP_LAST,
                depth=DEPTH,
                reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
            )
            try:
                found = message_class(kind)
            except InputError:
                self.deaf.add(kind)
                continue
            self._open[topic] = (self._node.create_subscription(found, topic, _never_called, profile), found)

    def _poll(self, record: Record) -> None:
        # /clock first: what follows is judged by it.
        for topic, (subscription, kind) in sorted(self._open.items(), key=lambda pair: pair[0] != "/clock"):
            handle = subscription.handle
            with handle:
                while (taken := handle.take_message(kind, False)) is not None:
                    message, about = taken
                    arrived_s = convert.clock_seconds(int(about["received_timestamp"]))
                    if topic == "/clock":
                        self._clock_s = convert.seconds(message.clock)
                    ros_s = self._clock_s if self._sim_time else arrived_s
                    record.heard.append(Heard(topic=topic, arrived_s=arrived_s, ros_s=ros_s, message=message))


def _never_called(_message: Any) -> None:
    """The callback rclpy asks for; without an executor nobody calls it."""
