"""The ROS graph as `sgp doctor` sees it at one instant: nodes, who talks to whom and how, and the nodes' parameters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile
from rclpy.task import Future

from sgp_core.config import Config
from sgp_ros.rig_files import NODES, resolved

ConfigT = TypeVar("ConfigT", bound=Config)
# Without these nothing moves.
NEEDED = ("mocap_node", "mpc_node", "pusher_node")
# Looking ends when all of these are there and nothing was added for SETTLED_S. Who has not been found after SEEK_S is
# missing: a participant whose first announcements are lost in the rush is announced again after 3 s.
SETTLED_S, SEEK_S = 0.7, 5.0
ANSWER_S = 5.0
POLL_S = 0.05
OWN_NAME = "doctor"


@dataclass(frozen=True, kw_only=True)
class End:
    """One publisher or subscription."""

    node: str  # absolute name
    kind: str  # as in `ros2 topic list -t`
    qos: QoSProfile


class Graph:
    """What is there.

    Args:
        node: looks; not spun by anybody else.
        namespace: in which the nodes are expected.

    Attributes:
        namespace: without slashes at its ends.
        nodes: absolute names, one for each node, so that a name may come twice; without the doctor's own.
        parameters: of those of our nodes that answered, by name of the node and of the parameter.
        unanswered: those of our nodes that did not answer.
    """

    def __init__(self, node: Node, namespace: str) -> None:
        self._node = node
        self.namespace = namespace.strip("/")
        self.nodes: list[str] = []
        self.parameters: dict[str, dict[str, Any]] = {}
        self.unanswered: list[str] = []

    # --- looking

    def look(self) -> None:
        """Wait until the graph has settled, and ask our nodes for their parameters."""
        began_s = changed_s = time.monotonic()
        while (now_s := time.monotonic()) < began_s + SEEK_S:
            found = self._names()
            if found != self.nodes:
                self.nodes, changed_s = found, now_s
            if all(self.has(node) for node in NEEDED) and now_s > changed_s + SETTLED_S:
                break
            time.sleep(POLL_S)
        self._ask()

    def newcomers(self) -> list[str]:
        """Those of our nodes that have come since `look`; `nodes` is brought up to date."""
        before, self.nodes = set(self.nodes), self._names()
        return [node for node in NEEDED if self.has(node) and resolved(node, self.namespace) not in before]

    def _names(self) -> list[str]:
        own = self._node.get_fully_qualified_name()
        pairs = self._node.get_node_names_and_namespaces()
        names = sorted(f"{namespace.rstrip('/')}/{name}" for name, namespace in pairs)
        return [name for name in names if name != own and not name.rsplit("/", 1)[1].startswith("_")]

    def _ask(self) -> None:
        wanted = {node: resolved(node, self.namespace) for node in NODES}
        clients = {node: AsyncParameterClient(self._node, name) for node, name in wanted.items() if name in self.nodes}
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        deadline_s = time.monotonic() + ANSWER_S

        def until(done: Callable[[], bool]) -> bool:
            while not done() and time.monotonic() < deadline_s:
                executor.spin_once(timeout_sec=POLL_S)
            return done()

        try:
            until(lambda: all(client.services_are_ready() for client in clients.values()))
            ready = {node: client for node, client in clients.items() if client.services_are_ready()}
            listed: dict[str, Future] = {node: client.list_parameters() for node, client in ready.items()}
            until(lambda: all(future.done() for future in listed.values()))
            names = {node: list(future.result().result.names) for node, future in listed.items() if future.done()}
            got = {node: ready[node].get_parameters(known) for node, known in names.items()}
            until(lambda: all(future.done() for future in got.values()))
            for node, future in got.items():
                if future.done():
                    values = map(parameter_value_to_python, future.result().values)
                    self.parameters[node] = dict(zip(names[node], values, strict=False))
        finally:
            executor.remove_node(self._node)
            executor.shutdown()
        self.unanswered = [node for node in clients if node not in self.parameters]

    # --- answering

    def has(self, node: str) -> bool:
        """Whether one of our nodes is there."""
        return resolved(node, self.namespace) in self.nodes

    def config(self, node: str, kind: type[ConfigT]) -> ConfigT:
        """The settings that a node has now; the defaults of what it did not tell. Raises InputError."""
        given = self.parameters.get(node, {})
        known = {field.name for field in fields(kind)}
        return kind().replaced(**{name: value for name, value in given.items() if name in known})

    def topics(self) -> dict[str, list[str]]:
        """Types of every topic, by absolute name."""
        return dict(self._node.get_topic_names_and_types())

    def publishers(self, topic: str) -> list[End]:
        """Who publishes on an absolute topic."""
        return self._ends(self._node.get_publishers_info_by_topic(topic))

    def listeners(self, topic: str) -> list[End]:
        """Who listens to an absolute topic."""
        return self._ends(self._node.get_subscriptions_info_by_topic(topic))

    def _ends(self, found: list[Any]) -> list[End]:
        own = self._node.get_fully_qualified_name()
        ends = [
            End(
                node=f"{one.node_namespace.rstrip('/')}/{one.node_name}",
                kind=one.topic_type,
                qos=one.qos_profile,
            )
            for one in found
        ]
        return [end for end in ends if end.node != own]
