"""Hands what a live graph says to `sgp view`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped
from nav_msgs.msg import Path
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from visualization_msgs.msg import MarkerArray

from sgp_ros.bag_states import Take
from sgp_ros.rig_files import resolved

POLL_S = 0.1
LOOK_EVERY_S = 0.5
SILENT_S = 2.0
DEPTH = 100  # room for the messages between two polls
KINDS = {
    "state": PoseArray,
    "plan": Path,
    "plan_markers": MarkerArray,
    "status": DiagnosticStatus,
    "goal_pose": PoseStamped,
    "goal_markers": PoseArray,
}
NEEDED = {"state": "mocap_node", "status": "mpc_node"}  # without these there is little to see


class Listener:
    """Takes the messages of nodes that may come and go.

    Args:
        node: subscribes; must not be spun: messages are taken in batches, which costs less than an executor.
        namespace: of the topics.
        takers: by relative name, see `view_scene.Scene`.
    """

    def __init__(self, node: Node, namespace: str, takers: Mapping[str, Take]) -> None:
        self._node, self._takers = node, takers
        self._topics = {name: resolved(name, namespace) for name in KINDS}
        self._subscriptions: dict[str, Subscription] = {}
        self._heard_s: dict[str, float] = {}  # monotonic
        self.refused: dict[str, str] = {}  # by topic: why the last message could not be shown

    def look(self) -> None:
        """Subscribe to what has a publisher by now, in the way it publishes."""
        for name, topic in self._topics.items():
            publishers = [] if name in self._subscriptions else self._node.get_publishers_info_by_topic(topic)
            if publishers:
                latched = all(info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in publishers)
                profile = QoSProfile(
                    history=HistoryPolicy.KEEP_LAST,
                    depth=DEPTH,
                    reliability=ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT,
                    durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
                )
                self._subscriptions[name] = self._node.create_subscription(KINDS[name], topic, _never_called, profile)

    def poll(self) -> None:
        """Hand on everything that has come in since the last call."""
        for name, subscription in self._subscriptions.items():
            handle = subscription.handle
            with handle:
                while (taken := handle.take_message(KINDS[name], False)) is not None:
                    message, info = taken
                    self._heard_s[name] = time.monotonic()
                    try:
                        self._takers[name](message, int(info["received_timestamp"]) * 1e-9)
                    except (TypeError, ValueError) as error:  # of another layout, or another version's
                        self.refused[self._topics[name]] = str(error)
                    else:
                        self.refused.pop(self._topics[name], None)

    @property
    def words(self) -> str:
        """What is being waited for, and what could not be shown; empty when all is well."""
        words = [f"{topic} cannot be shown: {why}" for topic, why in self.refused.items()]
        for name, publisher in NEEDED.items():
            topic = self._topics[name]
            if not self._node.count_publishers(topic):
                words.append(f"waiting for {topic}: no {publisher} is there; see --namespace")
            elif name == "state" and time.monotonic() - self._heard_s.get(name, 0.0) > SILENT_S:
                words.append(f"waiting for {topic}: {publisher} is silent; do the cameras see markers and pusher?")
        return "\n".join(words)


def watch(takers: Mapping[str, Take], namespace: str, asked: threading.Event, tell: Callable[[str], None]) -> None:
    """Hand on messages until asked to end.

    Args:
        takers: by relative name of the topic.
        namespace: of the topics.
        asked: set when it is time to end.
        tell: called with what is being waited for, whenever that changes; "" when all is there.
    """
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node("view", context=context, enable_rosout=False, start_parameter_services=False)
    try:
        listener = Listener(node, namespace, takers)
        look_s, told = 0.0, None
        while not asked.wait(POLL_S):
            listener.poll()
            if time.monotonic() >= look_s:
                look_s = time.monotonic() + LOOK_EVERY_S
                listener.look()
                if (words := listener.words) != told:
                    tell(words)
                    told = words
    finally:
        node.destroy_node()
        context.try_shutdown()


def _never_called(_message: object) -> None:
    """The callback rclpy asks for; without an executor nobody calls it."""
