"""`sgp doctor` on nodes and topics: who is missing, doubled, deaf to the other's type or quality of service."""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rclpy.qos import QoSCompatibility, qos_check_compatible

from sgp_ros.arm_output import MESSAGES, PusherNodeConfig
from sgp_ros.doctor_findings import Finding, error, info, several, warn
from sgp_ros.doctor_graph import NEEDED, End, Graph
from sgp_ros.rig_files import NODES, resolved
from sgp_ros.samples import Input

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
POSES, POSE, VECTOR = "geometry_msgs/msg/PoseArray", "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/Vector3Stamped"
# Between our own nodes: topic, type, who publishes, who listens.
OWN = (
    ("state", POSES, "mocap_node", "mpc_node"),
    ("pusher_pose", POSE, "mocap_node", "pusher_node"),
    ("step", VECTOR, "mpc_node", "pusher_node"),
    ("pusher_state", DIAGNOSTICS, "pusher_node", "mpc_node"),
)
ALIKE = 0.8  # of two names, as difflib measures it
OTHERS_SHOWN = 6


@dataclass(frozen=True, kw_only=True)
class Link:
    """A topic over which something has to flow."""

    topic: str  # absolute
    kind: str  # as in `ros2 topic list -t`
    sender: str = ""  # one of our nodes; "" for a driver
    listener: str = ""  # one of our nodes; "" for the arm
    setting: str = ""  # the parameter that names the topic; "" where the name is fixed
    optional: bool = False  # whether it may be without a publisher


def links_of(graph: Graph, inputs: Mapping[str, Input]) -> list[Link]:
    """Every link that the nodes which are there need."""
    links = [
        Link(topic=topic, kind=source.kind, listener="mocap_node", setting=source.setting)
        for topic, source in inputs.items()
    ]
    links += [
        Link(topic=resolved(topic, graph.namespace), kind=kind, sender=sender, listener=listener)
        for topic, kind, sender, listener in OWN
    ]
    links += [
        Link(topic=resolved(topic, graph.namespace), kind=kind, listener="mpc_node", optional=True)
        for topic, kind in (("goal_pose", POSE), ("goal_markers", POSES))
    ]
    if "pusher_node" in graph.parameters:
        links.append(arm_link(graph))
    return [link for link in links if all(node in graph.parameters for node in (link.sender, link.listener) if node)]


def arm_link(graph: Graph) -> Link:
    """The commands for the arm."""
    config = graph.config("pusher_node", PusherNodeConfig)
    return Link(
        topic=resolved(config.arm_topic, graph.namespace),
        kind=f"geometry_msgs/msg/{MESSAGES[config.output].__name__}",
        sender="pusher_node",
        setting="arm_topic",
    )


def check_nodes(graph: Graph) -> list[Finding]:
    """Who is missing, there twice, or does not answer."""
    missing = [node for node in NEEDED if not graph.has(node)]
    if len(missing) == len(NEEDED):
        return [_nobody(graph)]
    found = [
        error(
            "nodes",
            f"{node} is missing in the namespace /{graph.namespace}",
            f"start it: ros2 run sgp_ros {node} --ros-args -r __ns:=/{graph.namespace}, or rig.launch.py with the rest;"
            f" one that runs and is not seen hangs, or has another ROS_DOMAIN_ID{_elsewhere(graph, [node])}",
        )
        for node in missing
    ]
    for name, count in Counter(graph.nodes).items():
        if count > 1 and name.rsplit("/", 1)[1] in NODES:
            found.append(
                error(
                    "nodes",
                    f"{name} is there {count} times; both act, and services and parameters reach one of them",
                    "end all but one (ps shows them), or give the second rig a namespace or ROS_DOMAIN_ID of its own",
                )
            )
    for node in graph.unanswered:
        words = f"{node} does not tell its parameters: it still starts, hangs, has died, or its processor is too busy"
        found.append(error("nodes", words, f"look at its log and at `top`; if it stays so, start {node} anew"))
    return found


def _nobody(graph: Graph) -> Finding:
    domain = os.environ.get("ROS_DOMAIN_ID") or "0 (not set)"
    middleware = os.environ.get("RMW_IMPLEMENTATION") or "the default (not set)"
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET (not set)"
    local = os.environ.get("ROS_LOCALHOST_ONLY") or "not set"
    others = (
        f"; {len(graph.nodes)} other nodes are there: {', '.join(graph.nodes[:OTHERS_SHOWN])}" if graph.nodes else ""
    )
    return error(
        "nodes",
        f"none of {', '.join(NEEDED)} is in the namespace /{graph.namespace}{others}",
        "start them (`ros2 launch sgp_ros rig.launch.py`)"
        f"{_elsewhere(graph, NEEDED)}. If they run, compare this terminal with theirs: ROS_DOMAIN_ID = {domain},"
        f" RMW_IMPLEMENTATION = {middleware}, ROS_AUTOMATIC_DISCOVERY_RANGE = {reach}, ROS_LOCALHOST_ONLY = {local}",
    )


def _elsewhere(graph: Graph, nodes: Sequence[str]) -> str:
    """A hint at namespaces in which such nodes are."""
    spaces = sorted({name.rsplit("/", 1)[0] for name in graph.nodes if name.rsplit("/", 1)[1] in nodes})
    return f"; or look there with --namespace {' or '.join(s.strip('/') or '/' for s in spaces)}" if spaces else ""


def check_links(graph: Graph, links: Sequence[Link]) -> list[Finding]:
    """Publishers and listeners of every link."""
    found: list[Finding] = []
    deaf: dict[str, list[str]] = {}
    for link in links:
        publishers, listeners = graph.publishers(link.topic), graph.listeners(link.topic)
        if not publishers and not link.optional:
            deaf.setdefault(link.setting or link.topic, []).append(link.topic)
        found += _types(link, publishers, listeners)
        found += _quality(link, publishers, listeners)
        found += _doubled(link, publishers)
        if link.setting == "arm_topic" and not listeners:
            words = f"nobody listens to {link.topic}: the arm's controller is not there, and pusher_node waits for it"
            remedy = "start and activate the arm's controller, or correct arm_topic of pusher_node"
            found.append(error("arm", words, remedy + _similar(graph, link, publish=False)))
        elif link.listener and not any(end.node == resolved(link.listener, graph.namespace) for end in listeners):
            words = f"{link.listener} does not listen to {link.topic}: the name was remapped, or it is ending"
            found.append(error("topics", words, f"start {link.listener} without remapping {link.topic}"))
    for topics in deaf.values():
        link = next(one for one in links if one.topic == topics[0])
        if link.sender:
            words = f"{link.sender} does not publish {link.topic}: the name was remapped, or it is ending"
            found.append(error("topics", words, f"start {link.sender} without remapping {link.topic}"))
            continue
        words = f"{several(topics)} has no publisher, and mocap_node waits for it"
        remedy = f"start the driver, or correct {link.setting} of mocap_node{_similar(graph, link, publish=True)}"
        found.append(error("driver", words, remedy))
    return _merged(found)


def _types(link: Link, publishers: Sequence[End], listeners: Sequence[End]) -> list[Finding]:
    found = []
    wrong = sorted({end.kind for end in publishers if end.kind != link.kind})
    if wrong and not link.setting:
        words = f"{_who(publishers, wrong[0])} publishes {wrong[0]} on {link.topic}, where {link.kind} belongs"
        found.append(error("type", words, f"let it publish {link.kind}, or on a topic of another name"))
    elif wrong and not link.sender:
        setting = "input" if link.setting == "marker_topic" else "pusher_input"
        words = f"{link.topic} carries {', '.join(wrong)}, and mocap_node expects {link.kind}"
        found.append(error("type", words, f"correct {setting} of mocap_node; config/mocap has it for each driver"))
    if link.setting == "arm_topic":
        wrong = sorted({end.kind for end in listeners if end.kind != link.kind})
        outputs = {f"geometry_msgs/msg/{kind.__name__}": output for output, kind in MESSAGES.items()}
        for kind in wrong:
            words = f"{_who(listeners, kind)} listens to {link.topic} for {kind}, and pusher_node sends {link.kind}"
            hint = f"output: {outputs[kind]} of pusher_node" if kind in outputs else "another output of pusher_node"
            found.append(error("type", words, f"set {hint}; config/arm has it for each controller"))
    return found


def _who(ends: Sequence[End], kind: str) -> str:
    return next(end.node for end in ends if end.kind == kind)


def _quality(link: Link, publishers: Sequence[End], listeners: Sequence[End]) -> list[Finding]:
    """A publisher that none of a node's subscriptions of the topic can match."""
    found = []
    for end in publishers:
        for name in sorted({other.node for other in listeners if other.kind == end.kind}):
            tried = [
                qos_check_compatible(end.qos, other.qos)
                for other in listeners
                if other.node == name and other.kind == end.kind
            ]
            if all(compatibility == QoSCompatibility.ERROR for compatibility, _ in tried):
                # Of several subscriptions the one that comes nearest tells what has to be mended.
                reason = min((why.replace("ERROR: ", "").strip("; ").lower() for _, why in tried), key=len)
                words = (
                    f"{name} hears nothing of {end.node} on {link.topic}: their quality of service does not match"
                    f" ({reason})"
                )
                remedy = _mend(reason, end.node, name)
                ours = link.setting == "arm_topic" or name.rsplit("/", 1)[1] in NODES
                found.append((error if ours else warn)("qos", words, remedy))
    return found


def _mend(reason: str, publisher: str, listener: str) -> str:
    if "best effort" in reason:
        return f"make {publisher} publish reliably, or {listener} listen with best effort"
    if "volatile" in reason:
        return f"make {listener} listen with durability volatile, or {publisher} publish transient local"
    return f"give {publisher} and {listener} the same quality of service"


def _doubled(link: Link, publishers: Sequence[End]) -> list[Finding]:
    if len(publishers) < 2 or link.optional:  # goals may come from several; the last one counts
        return []
    names = ", ".join(sorted(end.node for end in publishers))
    if link.setting == "arm_topic":
        words = f"{len(publishers)} publishers command the arm on {link.topic}: {names}"
        return [
            error("two publishers", words, "end all but pusher_node before anything else: the arm obeys each in turn")
        ]
    what = "drive the pusher" if link.topic.endswith("/step") else "publish"
    words = f"{len(publishers)} publishers {what} on {link.topic}: {names}"
    return [error("two publishers", words, "end all but one: what the one says, the other contradicts")]


def _similar(graph: Graph, link: Link, *, publish: bool) -> str:
    """A hint at topics of the same type that may be meant: another namespace, a slash, another spelling."""
    ends = graph.publishers if publish else graph.listeners
    last = "/" + link.topic.split("/", 2)[-1]  # without the first part, which a relative name gets from its node
    relative = link.topic.removeprefix(f"/{graph.namespace}/")
    scored = []
    for topic, kinds in graph.topics().items():
        if topic == link.topic or link.kind not in kinds or not ends(topic):
            continue
        same = topic.lower().endswith(("/" + relative.lower(), last.lower()))
        score = 2.0 if same else difflib.SequenceMatcher(None, link.topic.lower(), topic.lower()).ratio()
        scored.append((score, topic))
    near = [topic for score, topic in sorted(scored, reverse=True) if score >= ALIKE][:2]
    if not near:
        others = sorted(topic for _, topic in scored if topic.split("/")[1] != graph.namespace)[:OTHERS_SHOWN]
        return f" (of this type there are {', '.join(others)})" if others else ""
    slash = "" if near[0].startswith(f"/{graph.namespace}/") else ", with the leading slash"
    return f" (there is {' and '.join(near)}{slash})"


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """The same about several topics told once, with the first of them."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.check, finding.remedy), []).append(finding)
    return [
        replace(group[0], words=f"{group[0].words}; the same on {len(group) - 1} more") if len(group) > 1 else group[0]
        for group in groups.values()
    ]


def check_goal_given(graph: Graph) -> list[Finding]:
    """Goals on a name that nobody listens to."""
    given = [topic for topic in graph.topics() if topic.rsplit("/", 1)[1] in ("goal_pose", "goal_markers")]
    lost = [topic for topic in given if graph.publishers(topic) and not graph.listeners(topic)]
    if "mpc_node" not in graph.parameters or not lost:
        return []
    words = f"a goal is published on {several(lost)}, where nobody listens"
    return [info("goal", words, f"publish it on {resolved('goal_pose', graph.namespace)}")]
