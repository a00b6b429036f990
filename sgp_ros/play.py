"""`sgp play`: what `ros2 bag play --clock` does for replay.launch.py, where there is no ROS installation.

Only what was measured is said again, and goals: a bag of a rig holds commands to the arm as well.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rclpy
from geometry_msgs.msg import PoseArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rosgraph_msgs.msg import Clock

from sgp_core.errors import InputError
from sgp_ros import convert, messages
from sgp_ros.bag_states import TF_STATIC, Follower, Reading, check_topics
from sgp_ros.bags import Bag, Raw
from sgp_ros.optional import message_class
from sgp_ros.rig_files import resolved
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS

CLOCK_PERIOD_S = 0.01
FOUND_WAIT_S = 5.0  # for the nodes to be discovered
ANSWER_WAIT_S = 1.0  # for a state
UNSEEN_WAIT_S = 0.1  # for samples that give none
FIRST_WAIT_S, FIRST_WAITS = 0.5, 10  # for the first of them: a node's first callbacks of all take long
MATCHED_WAIT_S = 1.0  # after this side knows of a listener, until the listener and all others know of this side
LIVE_CHECK_S = 0.1  # a rig that was discovered late, or started meanwhile
STAMPS_PER_S = 1e6
POLL_S = 0.0005
GOALS = ("goal_pose", "goal_markers")
MANY_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
console = Console(highlight=False)


def play_bag(path: Path, reading: Reading, *, rate: float, step: bool, loop: bool) -> None:
    """Publish what mocap_node took, goals, and /clock.

    Args:
        path: of the bag.
        reading: how mocap_node is to understand it.
        rate: times real time.
        step: wait after each instant until mocap_node has published the states that come of it, so that none is lost.
        loop: again and again, until Ctrl-C.

    Raises:
        InputError: the bag does not have the topics, nobody listens, or the rig is live, or comes alive meanwhile.
    """
    namespace = reading.namespace
    if path.suffix == ".bag":
        raise InputError(f"{path} is a bag of ROS 1, which nobody here understands; `sgp dataset` reads it")
    asked = threading.Event()  # a flag, because an exception could strike while a lock is held
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("play", namespace=namespace, context=context, enable_rosout=False, start_parameter_services=False)
    try:
        with Bag(path) as bag:
            follower = Follower(reading)
            check_topics(bag, follower)
            goals = [topic for name in GOALS if (topic := resolved(name, namespace)) in bag.topics]
            measured = [topic for topic in (*follower.inputs, *follower.tf) if topic in bag.topics]
            topics = {topic: bag.topics[topic] for topic in (*measured, *goals)}
            player = _Player(node, topics, {*goals, TF_STATIC})
            player.wait_until_ready()
            told, again = _tell(bag, ""), True
            while again and not asked.is_set():
                led = Follower(reading) if step else None
                _once(player, bag, set(topics), rate=rate, follower=led, asked=asked)
                told = _tell(bag, told)  # some is only found on the way
                again = loop
    finally:
        node.destroy_node()
        context.try_shutdown()


def _tell(bag: Bag, told: str) -> str:
    """What could not be read of a bag, if that is news."""
    wrong = [f"{count} messages of {topic} cannot be decoded" for topic, count in bag.malformed.items()]
    words = "; ".join([bag.damage] * bool(bag.damage) + wrong)
    if words != told:
        console.print(f"[yellow]note:[/] {escape(words)}")
    return words


def _once(
    player: _Player, bag: Bag, topics: set[str], *, rate: float, follower: Follower | None, asked: threading.Event
) -> None:
    columns = [TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.1f} s"), TimeElapsedColumn()]
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(str(bag.path), total=None)
        first_ns = None
        began_s = time.monotonic()
        for group in _instants(bag.raw(topics)):
            if asked.is_set():
                return
            now_ns = group[-1].received_ns
            first_ns = now_ns if first_ns is None else first_ns
            along_s = (now_ns - first_ns) / convert.NS
            if follower is not None:
                known = len(follower.recorded.states)
                for raw in group:
                    if raw.topic in (*follower.inputs, *follower.tf) and (message := bag.decoded(raw)) is not None:
                        follower.take(raw.topic, message, convert.clock_seconds(raw.received_ns))
                player.say(group)
                player.wait_for({round(state.stamp_s * STAMPS_PER_S) for state in follower.recorded.states[known:]})
            else:
                player.sleep_until(began_s, along_s, rate, first_ns)
                player.say(group)
            bar.update(task, completed=along_s)
    if first_ns is None:
        raise InputError(f"bag {bag.path} has no message on {', '.join(sorted(topics))}")


def _instants(raws: Iterator[Raw]) -> Iterator[list[Raw]]:
    """Messages that were recorded within half a millisecond belong together."""
    group: list[Raw] = []
    for raw in raws:
        if group and raw.received_ns - group[0].received_ns > convert.NS // 2000:
            yield group
            group = []
        group.append(raw)
    if group:
        yield group


class _Player:
    """Publishers for some topics and the clock."""

    def __init__(self, node: Node, topics: dict[str, str], latched: set[str]) -> None:
        self._node = node
        self._clock = node.create_publisher(Clock, "/clock", RELIABLE_QOS)
        self._publishers: dict[str, Publisher] = {
            topic: node.create_publisher(message_class(kind), topic, LATCHED_QOS if topic in latched else RELIABLE_QOS)
            for topic, kind in topics.items()
        }
        self._measured = [publisher for topic, publisher in self._publishers.items() if topic not in latched]
        self._states = node.create_subscription(PoseArray, "state", _never_called, MANY_QOS)
        self._checked_s = -math.inf
        self._unseen = 0

    def wait_until_ready(self) -> None:
        """Until somebody listens to what was measured; raises InputError when nobody does, or the rig is live."""
        deadline_s = time.monotonic() + FOUND_WAIT_S
        while not all(publisher.get_subscription_count() for publisher in self._measured):
            if time.monotonic() > deadline_s:
                silent = [p.topic_name for p in self._measured if not p.get_subscription_count()]
                raise InputError(
                    f"nobody listens to {', '.join(silent)}; start the nodes first, with use_sim_time:=true"
                    " (`ros2 launch sgp_ros replay.launch.py` does that)"
                )
            time.sleep(0.05)
        time.sleep(MATCHED_WAIT_S)
        self._refuse_live_rig()

    def _refuse_live_rig(self) -> None:
        # On a rig's network, yesterday's goal and markers would move today's arm.
        self._checked_s = time.monotonic()
        live = [name for name in (*self._publishers, "/clock") if self._node.count_publishers(name) > 1]
        live += ["pusher_state"] * self._node.count_publishers("pusher_state")
        if live:
            raise InputError(
                f"{', '.join(dict.fromkeys(live))}: somebody publishes that already, and a bag is never played to a"
                " live rig; give the nodes of the replay a ROS_DOMAIN_ID of their own"
            )

    def say(self, group: list[Raw]) -> None:
        """Messages of an instant, and what time it is; raises InputError when the rig is live."""
        if time.monotonic() - self._checked_s > LIVE_CHECK_S:
            self._refuse_live_rig()
        self._tell(group[-1].received_ns)
        for raw in group:
            self._publishers[raw.topic].publish(raw.data)

    def _tell(self, now_ns: int) -> None:
        self._clock.publish(Clock(clock=messages.stamp(convert.clock_seconds(now_ns))))

    def sleep_until(self, began_s: float, along_s: float, rate: float, first_ns: int) -> None:
        """Until it is time, while the clock goes on."""
        while (left_s := began_s + along_s / rate - time.monotonic()) > 0.0:
            self._tell(first_ns + round((along_s - left_s * rate) * convert.NS))
            time.sleep(min(left_s, CLOCK_PERIOD_S))

    def wait_for(self, stamps: set[int]) -> None:
        """Until mocap_node has published states of these stamps [us], or has had the time for it."""
        if not stamps:
            # Nothing tells when it has read what gives no state.
            time.sleep(FIRST_WAIT_S if self._unseen < FIRST_WAITS else UNSEEN_WAIT_S)
            self._unseen += 1
        deadline_s = time.monotonic() + ANSWER_WAIT_S
        while stamps and time.monotonic() < deadline_s:
            with self._states.handle:
                while (taken := self._states.handle.take_message(PoseArray, False)) is not None:
                    stamps.discard(round(convert.seconds(taken[0].header.stamp) * STAMPS_PER_S))
            time.sleep(POLL_S)


def _never_called(_message: Any) -> None:
    """The callback rclpy asks for; the subscription is read by hand."""
