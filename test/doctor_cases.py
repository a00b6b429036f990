"""Broken set-ups for `sgp doctor`: real nodes, started or changed so that one thing is wrong, and what has to be found.

`benchmarks/doctor_cases.py` goes through all of them and prints the table; the tests take some.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Vector3Stamped
from mocap_drivers import LATCHED
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_bench import MANY_QOS
from ros_graph import Graph
from std_msgs.msg import Float64, String

from sgp_core.share import share_path
from sgp_ros.doctor_graph import NEEDED
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS

SECOND_LAYOUT = share_path("config", "examples") / "second_rig" / "layout.yaml"
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
STUCK = "import rclpy, signal; rclpy.init(); n = rclpy.create_node('pusher_node', namespace='stuck'); signal.pause()"
Mend = Callable[[], object]
START_S = 300.0  # on a machine that does much else besides; for the tests pytest has a limit of its own
DRIVER: dict[str, object] = {"marker_topic": "/vrpn_mocap/{name}/pose", "pusher_topic": "/vrpn_mocap/pusher/pose"}
SLOW: dict[str, object] = {"marker_rate_hz": 5.0, "dropout": 0.7}
FAR: dict[str, object] = {"table_from_mocap": "[3.0,0.0,0.0,0.0,0.0,0.0]"}


def start(graph: Graph, node: str, namespace: str, *, label: str = "", **parameters: object) -> None:
    """One of our nodes in a namespace of its own."""
    single = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    command = [sys.executable, "-P", "-m", f"sgp_ros.{node}", "--ros-args", "-r", f"__ns:=/{namespace}", *single]
    graph.run(label or f"{node}_{namespace}", *command)


class Room:
    """A driver with two bodies in its room, all of our nodes in /sgp, and an arm that listens. Nothing moves."""

    def __init__(self, graph: Graph, *, complete: bool = True) -> None:
        self.graph = graph
        self._fault = graph.probe.create_publisher(String, "/mocap_fault", LATCHED)
        self._told = graph.record(DiagnosticArray, "/diagnostics", MANY_QOS)
        self._since = graph.record(Float64, "/mocap_fault_since", LATCHED)
        script = str(Path(__file__).with_name("mocap_drivers.py"))
        graph.run("driver", sys.executable, script, "vrpn_mocap")
        if complete:
            self.mocap("sgp", mocap_frame="world")
            # Time for a busy machine: what is looked for is something else.
            start(graph, "pusher_node", "sgp", enabled=False, pusher_timeout_s=2.0, output_rate_hz=50.0)
            start(graph, "mpc_node", "sgp", enabled=False, state_timeout_s=2.0, budget_ms=200.0, goal="center")
            self.arm = graph.probe.create_subscription(PoseStamped, "arm_target", lambda _: None, RELIABLE_QOS)
            for node in NEEDED:
                self.reports(f"sgp/{node}")
        graph.wait("the driver", lambda: self._fault.get_subscription_count() > 0)

    def reports(self, name: str) -> None:
        """Wait until a node says something on /diagnostics: its executor runs by then."""

        def told() -> bool:
            return any(status.name == name for array in self._told for status in array.status)

        self.graph.wait(f"report of {name}", told, START_S)

    def mocap(self, namespace: str, *, label: str = "", **parameters: object) -> None:
        """A mocap_node that listens to the driver."""
        start(self.graph, "mocap_node", namespace, label=label, **DRIVER, **parameters)

    def fault(self, name: str) -> Mend:
        """From the next frame of the cameras on; returns how to end it."""
        known = len(self._since)
        self._fault.publish(String(data=name))
        self.graph.wait(f"fault {name}", lambda: len(self._since) > known)
        return (lambda: self.fault("ok")) if name != "ok" else (lambda: None)

    def publisher(self, kind: type, topic: str, qos: QoSProfile) -> Mend:
        """Somebody else who publishes."""
        # rclpy's own words about the mismatch go through a call that it deprecates itself.
        unheard = PublisherEventCallbacks(incompatible_qos=lambda _: None)
        made = self.graph.probe.create_publisher(kind, topic, qos, event_callbacks=unheard)
        return lambda: self.graph.probe.destroy_publisher(made)

    def other_arm(self, qos: QoSProfile) -> Mend:
        """An arm that listens in another way."""
        probe = self.graph.probe
        probe.destroy_subscription(self.arm)
        unheard = SubscriptionEventCallbacks(incompatible_qos=lambda _: None)
        other = probe.create_subscription(PoseStamped, "arm_target", lambda _: None, qos, event_callbacks=unheard)

        def mend() -> None:
            probe.destroy_subscription(other)
            self.arm = probe.create_subscription(PoseStamped, "arm_target", lambda _: None, RELIABLE_QOS)

        return mend

    def other_type(self) -> Mend:
        """An arm that listens for something else than pusher_node sends."""
        end, probe = self.nodes("arm", pusher_node={"output": "twist"}), self.graph.probe
        made = probe.create_subscription(PoseStamped, "/arm/arm_target", lambda _: None, RELIABLE_QOS)
        return lambda: (probe.destroy_subscription(made), end())

    def setting(self, node: str, name: str, wrong: Any, right: Any) -> Mend:
        """A parameter changed while the node runs."""
        assert self.graph.set_parameters(node, **{name: wrong}).successful
        return lambda: self.graph.set_parameters(node, **{name: right})

    def hang(self, label: str) -> Mend:
        """A process that stands still."""
        self.graph.send(label, signal.SIGSTOP)
        return lambda: self.graph.send(label, signal.SIGCONT)

    def nodes(self, namespace: str, **parameters: dict[str, object]) -> Mend:
        """Start these nodes in a namespace, mocap_node with the driver's topics, and wait until they are there."""
        for node, own in parameters.items():
            start(self.graph, node, namespace, **own)
        for node in parameters:
            self.reports(f"{namespace}/{node}")
        return self._there(namespace, {node: f"{node}_{namespace}" for node in parameters})

    def stuck(self) -> Mend:
        """A node whose executor stands still."""
        self.graph.run("stuck", sys.executable, "-c", STUCK)
        return self._there("stuck", {"pusher_node": "stuck"})

    def _there(self, namespace: str, labels: dict[str, str]) -> Mend:
        """Wait for nodes of a namespace; how to end their processes."""
        probe = self.graph.probe

        def there() -> bool:
            return labels.keys() <= {
                name for name, space in probe.get_node_names_and_namespaces() if space == f"/{namespace}"
            }

        self.graph.wait(f"the nodes of {namespace}", there, START_S)
        return lambda: [self.graph.stop(label, signal.SIGTERM) for label in labels.values()]

    def end(self, label: str) -> Mend:
        """A process that ends; for good, so such a case comes last."""
        self.graph.stop(label, signal.SIGINT)
        return lambda: None

    def doubled(self) -> Mend:
        """Somebody starts mocap_node once more."""
        self.mocap("sgp", label="again", mocap_frame="world")
        found = self.graph.probe.get_publishers_info_by_topic
        self.graph.wait("the second one", lambda: len(found("/sgp/state")) > 1)
        return lambda: self.graph.stop("again", signal.SIGINT)


def driver_only(graph: Graph) -> Room:
    """The driver; each case starts what it needs in a namespace of its own."""
    return Room(graph, complete=False)


RIGS: dict[str, Callable[[Graph], Room]] = {"room": Room, "driver": driver_only}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One broken set-up."""

    name: str
    broken: str  # how, for the table
    rig: str
    breaks: Callable[[Room], Mend] = lambda _: lambda: None
    namespace: str = "sgp"
    severity: str = "ERROR"
    check: str
    words: tuple[str, ...]  # that have to be in what is found, or in the remedy

    def found_in(self, findings: list[dict[str, str]]) -> dict[str, str] | None:
        """The finding that this is about."""
        for one in findings:
            right = (one["severity"], one["check"]) == (self.severity, self.check)
            if right and all(word in f"{one['words']} {one['remedy']}" for word in self.words):
                return one
        return None


TIGHT_M = [0.30, 0.70, -0.35, 0.35]
WIDE_M = [0.30, 0.95, -0.35, 0.35]
CASES = [
    Case(
        name="unit", rig="room", breaks=lambda r: r.fault("mm"), broken="driver sends millimetres",
        check="unit", words=("the driver sends millimetres", "unit_m: 0.001"),
    ),
    Case(
        name="frame", rig="room", breaks=lambda r: r.fault("frame"),
        broken="driver sends frame_id `camera_link`, `mocap_frame` is `world`",
        check="frame", words=("camera_link", "mocap_frame"),
    ),
    Case(
        name="stamps", rig="room", breaks=lambda r: r.fault("clock"), broken="driver's clock is 3 s behind",
        check="stamps", words=("3.0", "synchronise"),
    ),
    Case(
        name="labels", rig="room", breaks=lambda r: r.fault("swap"), broken="two markers have each other's names",
        severity="WARN", check="markers", words=("marker1, marker3", "labels of other markers"),
    ),
    Case(
        name="hidden", rig="room", breaks=lambda r: r.fault("hidden"), broken="driver does not see one marker",
        severity="WARN", check="driver", words=("/vrpn_mocap/marker2/pose", "silent", "tracks the object"),
    ),
    Case(
        name="frozen", rig="room", breaks=lambda r: r.fault("frozen"), broken="driver repeats its last frame",
        check="box", words=("give no state", "restart the driver"),
    ),
    Case(
        name="limits", rig="room", broken="`workspace_m` of pusher_node is smaller than that of mpc_node",
        breaks=lambda r: r.setting("pusher_node", "workspace_m", TIGHT_M, WIDE_M),
        check="limits", words=("workspace_m is [0.3, 0.95", "0.7", "alike"),
    ),
    Case(
        name="budget", rig="room", broken="`budget_ms` is longer than a control period",
        breaks=lambda r: r.setting("mpc_node", "budget_ms", 1500.0, 200.0),
        severity="WARN", check="budget", words=("budget_ms = 1500", "1000 ms", "lower budget_ms"),
    ),
    Case(
        name="goal qos", rig="room", broken="goal published with best effort",
        breaks=lambda r: r.publisher(PoseStamped, "goal_pose", BEST_EFFORT),
        check="qos", words=("mpc_node hears nothing of /sgp/probe on /sgp/goal_pose", "reliably"),
    ),
    Case(
        name="arm qos", rig="room", broken="arm listens with durability transient local",
        breaks=lambda r: r.other_arm(LATCHED_QOS),
        check="qos", words=("probe hears nothing of /sgp/pusher_node on /sgp/arm_target", "volatile"),
    ),
    Case(
        name="two commanders", rig="room", broken="a second node commands the arm",
        breaks=lambda r: r.publisher(PoseStamped, "arm_target", RELIABLE_QOS),
        check="two publishers", words=("/sgp/probe", "command the arm", "end all but pusher_node"),
    ),
    Case(
        name="two planners", rig="room", broken="a second node sends steps",
        breaks=lambda r: r.publisher(Vector3Stamped, "step", RELIABLE_QOS),
        check="two publishers", words=("/sgp/step", "/sgp/probe"),
    ),
    Case(
        name="nobody", rig="room", namespace="elsewhere", broken="none of the nodes is in this namespace",
        check="nodes", words=("none of mocap_node", "--namespace", "ROS_DOMAIN_ID"),
    ),
    Case(
        name="doubled", rig="room", broken="mocap_node was started twice", breaks=Room.doubled,
        check="nodes", words=("/sgp/mocap_node is there 2 times",),
    ),
    Case(
        name="hangs", rig="room", broken="mpc_node hangs (stopped process)",
        breaks=lambda r: r.hang("mpc_node_sgp"),
        check="nodes", words=("mpc_node is missing", "is not seen hangs"),
    ),
    Case(
        name="missing", rig="room", broken="pusher_node is not there", breaks=lambda r: r.end("pusher_node_sgp"),
        check="nodes", words=("pusher_node is missing", "ros2 run sgp_ros pusher_node"),
    ),
    Case(
        name="stuck", rig="driver", namespace="stuck", broken="pusher_node answers nobody (its executor stands still)",
        breaks=Room.stuck,
        check="nodes", words=("pusher_node does not tell its parameters", "start pusher_node anew"),
    ),
    Case(
        name="no driver", rig="room", broken="the driver is not there", breaks=lambda r: r.end("driver"),
        check="driver", words=("has no publisher", "start the driver"),
    ),
    Case(
        name="slash", rig="driver", namespace="slash",
        broken="`marker_topic` relative, the driver's topics are not in our namespace",
        breaks=lambda r: r.nodes("slash", mocap_node={}),
        check="driver", words=("/slash/vrpn_mocap/marker1/pose", "/vrpn_mocap/marker", "leading slash"),
    ),
    Case(
        name="type", rig="driver", namespace="type", broken="`input: marker_points`, the driver sends poses",
        breaks=lambda r: r.nodes("type", mocap_node={**DRIVER, "input": "marker_points"}),
        check="type", words=("carries geometry_msgs/msg/PoseStamped", "PointStamped", "correct input"),
    ),
    Case(
        name="place", rig="driver", namespace="place", broken="`table_from_mocap` is 3 m off",
        breaks=lambda r: r.nodes("place", mocap_node={**DRIVER, **FAR}),
        check="place", words=("the pusher is at", "outside workspace_m", "sgp calibrate frames"),
    ),
    Case(
        name="clock", rig="driver", namespace="clock", broken="`use_sim_time` on a real rig",
        breaks=lambda r: r.nodes("clock", mocap_node={**DRIVER, "use_sim_time": True}),
        check="clock", words=("nobody publishes /clock", "use_sim_time: false"),
    ),
    Case(
        name="layout", rig="driver", namespace="layout", broken="mocap_node has the layout of another box",
        breaks=lambda r: r.nodes("layout", mocap_node={**DRIVER, "layout_file": SECOND_LAYOUT}, mpc_node={}),
        check="bundle", words=("8 markers", "trained with 5"),
    ),
    Case(
        name="step duration", rig="driver", namespace="steps",
        broken="`step_duration_s` of pusher_node is not the bundle's",
        breaks=lambda r: r.nodes("steps", pusher_node={"step_duration_s": 2.0}, mpc_node={}),
        check="bundle", words=("step_duration_s = 2", "step_duration_s: 1.0"),
    ),
    Case(
        name="no arm", rig="driver", namespace="alone", broken="no arm listens to the commands",
        breaks=lambda r: r.nodes("alone", pusher_node={}),
        check="arm", words=("nobody listens to /alone/arm_target", "arm_topic"),
    ),
    Case(
        name="arm type", rig="driver", namespace="arm", broken="arm listens for poses, pusher_node sends velocities",
        breaks=Room.other_type,
        check="type", words=("/sgp/probe listens to /arm/arm_target", "TwistStamped", "output: pose"),
    ),
    Case(
        name="slow", rig="driver", namespace="slow", broken="driver sends 1 or 2 frames a second",
        breaks=lambda r: r.nodes("slow", rig_sim_node=SLOW, mocap_node={}),
        check="rate", words=("/slow/vrpn_mocap/pusher/pose", "times a second", "pusher_timeout_s"),
    ),
]  # fmt: skip
