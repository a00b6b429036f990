"""One visit of `sgp doctor`: looks round, listens, judges."""

from __future__ import annotations

from collections.abc import Callable

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from sgp_core.errors import InputError
from sgp_ros.doctor_ears import Ears
from sgp_ros.doctor_findings import Finding, info, ordered
from sgp_ros.doctor_graph import OWN_NAME, Graph
from sgp_ros.doctor_links import check_goal_given, check_links, check_nodes, links_of
from sgp_ros.doctor_samples import Samples
from sgp_ros.doctor_settings import check_settings, sim_time
from sgp_ros.doctor_tf import TF_TOPICS, check_tf
from sgp_ros.doctor_words import check_punctuality, check_words, topics_of

LOOKS = 2  # a second one where a node was found late


def visit(namespace: str, seconds: float, tell: Callable[[str], None]) -> list[Finding]:
    """Everything that is wrong in a namespace, the worst first.

    Args:
        namespace: of the nodes.
        seconds: how long to listen [s].
        tell: called with what is being done.
    """
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(OWN_NAME, context=context, enable_rosout=False, start_parameter_services=False)
    try:
        graph = Graph(node, namespace)
        for _ in range(LOOKS):
            graph.look()
            findings = _look(node, graph, seconds, tell)
            if not graph.newcomers():
                break
        return ordered(findings)
    finally:
        node.destroy_node()
        context.try_shutdown()


def _look(node: Node, graph: Graph, seconds: float, tell: Callable[[str], None]) -> list[Finding]:
    found = check_nodes(graph)
    if not graph.parameters:
        return found
    samples, problems = _samples(graph)
    inputs = dict(samples.inputs) if samples else {}
    topics = [*((topic, source.kind) for topic, source in inputs.items()), *topics_of(graph), *TF_TOPICS]
    ears = Ears(node, topics, sim_time=sim_time(graph))
    record = ears.listen(seconds, lambda passed_s: tell(f"listening: {passed_s:.0f} of {seconds:g} s"))
    tell("judging")
    found += problems
    found += check_links(graph, links_of(graph, inputs))
    found += check_settings(graph, record)
    found += samples.findings(record, ears.deaf) if samples else []
    found += [*check_tf(graph, record, ears.deaf), *check_punctuality(graph, record)]
    found += check_goal_given(graph)
    return found + check_words(graph, record, found)


def _samples(graph: Graph) -> tuple[Samples | None, list[Finding]]:
    """What judges the driver; None where mocap_node is not there, or its layout lies on another computer."""
    if "mocap_node" not in graph.parameters:
        return None, []
    try:
        return Samples(graph), []
    except InputError as problem:
        words = f"the driver cannot be judged from here: {problem}"
        return None, [info("driver", words, "run `sgp doctor` on the computer of mocap_node, from the same folder")]
