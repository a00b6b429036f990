"""`sgp doctor` on what the nodes say of themselves, and on how punctually they say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus

from sgp_core.config import MpcConfig, PusherConfig
from sgp_core.types import Reason
from sgp_ros.arm_output import PusherNodeConfig
from sgp_ros.doctor_ears import Record
from sgp_ros.doctor_findings import WAITING, Finding, Severity, error, info, remedy_of, warn
from sgp_ros.doctor_graph import NEEDED, Graph
from sgp_ros.doctor_links import DIAGNOSTICS, arm_link
from sgp_ros.rig_files import resolved

STATUS = "diagnostic_msgs/msg/DiagnosticStatus"
REPORTS_HZ = 20.0  # of pusher_state
# A timer that comes less often than this share of its rate waits for the processor.
PUNCTUAL = 0.6
MISSED = 0.3  # share of the control cycles
KEPT_WAITING_S = 0.5
_WAITING = {str(reason) for reason in WAITING}
# Warnings of a node that nobody has to wait for: something has stopped.
_STOPPED = {str(reason) for reason in (Reason.NO_STATE, Reason.STALE_STATE, Reason.NO_PUSHER)}


def topics_of(graph: Graph) -> list[tuple[str, str]]:
    """What has to be heard for this."""
    own = [(resolved("status", graph.namespace), STATUS), (resolved("pusher_state", graph.namespace), DIAGNOSTICS)]
    arm = [(link.topic, link.kind) for link in [arm_link(graph)]] if "pusher_node" in graph.parameters else []
    return [*own, *arm, ("/diagnostics", DIAGNOSTICS)]


def check_words(graph: Graph, record: Record, others: Sequence[Finding]) -> list[Finding]:
    """The last words of each node that is not well.

    Args:
        graph: who is there.
        record: what was heard.
        others: what was found otherwise; where an error is among them, a node's complaint is only what follows of it.
    """
    explained = any(finding.severity == Severity.ERROR for finding in others)
    told = last_words(graph, record)
    reasons = {node: values_of(status).get("reason", "") for node, status in told.items()}
    # What mpc_node only passes on of pusher_node is told once.
    if "pusher_node" in told and reasons.get("mpc_node") in (reasons["pusher_node"], Reason.PUSHER_FAULT):
        del told["mpc_node"]
    found = []
    for node, status in told.items():
        reason = reasons[node]
        if status.level == DiagnosticStatus.OK:
            continue
        if reason in _WAITING or explained:
            level = info
        else:
            level = error if status.level == DiagnosticStatus.ERROR or reason in _STOPPED else warn
        found.append(level("status", f"{node} says {reason}: {status.message}", remedy_of(reason)))
    return found


def last_words(graph: Graph, record: Record) -> dict[str, DiagnosticStatus]:
    """The last status of each of our nodes that said something."""
    found: dict[str, DiagnosticStatus] = {}
    for one in record.of("/diagnostics"):
        for status in one.message.status:
            node = status.name.rsplit("/", 1)[-1]
            if node in NEEDED and status.name.strip("/").removesuffix(node).strip("/") == graph.namespace:
                found[node] = status
    for topic, node in (("status", "mpc_node"), ("pusher_state", "pusher_node")):
        for one in record.of(resolved(topic, graph.namespace)):
            found[node] = one.message if topic == "status" else one.message.status[0]
    return found


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    """The values of a status by name."""
    return {pair.key: pair.value for pair in status.values}


def check_punctuality(graph: Graph, record: Record) -> list[Finding]:
    """Timers that come late, cycles that are missed: a processor that is too busy."""
    found = []
    remedy = "end other programs, or give the node more of the processor; lower its rate if that does not help"
    listened_s = record.ended_s - record.began_s
    if "pusher_node" in graph.parameters:
        for topic, wanted_hz in _timers(graph):
            rate_hz = record.rate_hz(topic)
            if 0.0 < rate_hz < PUNCTUAL * wanted_hz and listened_s > 1.0:
                words = f"pusher_node sends {topic} {rate_hz:.0f} times a second rather than {wanted_hz:g}"
                found.append(warn("processor", f"{words}: its processor is too busy", remedy))
                break
    statuses = [values_of(one.message) for one in record.of(resolved("status", graph.namespace))]
    if len(statuses) > 1:
        missed = _count(statuses[-1], "misses") - _count(statuses[0], "misses")
        cycles = graph.config("mpc_node", MpcConfig).rate_hz * listened_s
        if missed > 1 and missed > MISSED * cycles:
            words = (
                f"mpc_node missed {missed} of about {cycles:.0f} control cycles: plans take too long, or states lack"
            )
            found.append(warn("processor", words, "lower rate_hz, iterations or horizon, or end other programs"))
    if record.poll_gap_s > KEPT_WAITING_S:
        words = f"this computer kept the doctor waiting for {record.poll_gap_s:.1f} s: it is overloaded"
        found.append(info("processor", words, "do not believe rates and gaps of this look"))
    return found


def _timers(graph: Graph) -> list[tuple[str, float]]:
    """Topics of pusher_node that a timer sends, and how often [Hz]."""
    timers = [(resolved("pusher_state", graph.namespace), REPORTS_HZ)]
    if graph.config("pusher_node", PusherNodeConfig).output != "step":
        timers.append((arm_link(graph).topic, graph.config("pusher_node", PusherConfig).output_rate_hz))
    return timers


def _count(values: dict[str, Any], name: str) -> int:
    return int(values.get(name) or 0)
