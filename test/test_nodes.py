"""The nodes as real processes over real DDS; mpc_node has a file of its own."""

from __future__ import annotations

import json
import math
import shutil
import signal
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped
from ros_bench import LAYOUT, MANY_QOS, MANY_SENSOR_QOS, PUSHER, START, Bench, Controller, Pusher, enable, values_of, xy
from ros_graph import Graph
from std_srvs.srv import SetBool, Trigger

from sgp_core.reading import sha256_of
from sgp_core.share import share_path
from sgp_core.trust import trust
from sgp_core.types import Reason, State
from sgp_ros import convert, messages
from sgp_ros.running import RELIABLE_QOS

pytestmark = pytest.mark.ros


@pytest.fixture(scope="class")
def camera(graph: Graph) -> Bench:
    graph.start("mocap_node", betta=0.5)
    return Bench(graph, states=False)


@pytest.fixture(scope="class")
def states(graph: Graph, camera: Bench) -> list[PoseArray]:
    assert camera.seeing
    states = graph.record(PoseArray, "state", MANY_SENSOR_QOS)
    graph.wait("first state", lambda: states)
    return states


class TestMocapNode:
    def test_state_from_reliable_and_best_effort_publishers(self, camera: Bench, states: list[PoseArray]) -> None:
        message = states[-1]
        assert message.header.frame_id == "table"
        assert abs(camera.now_s() - convert.seconds(message.header.stamp)) < 5.0
        state = convert.state_from_msg(message, LAYOUT)
        assert isinstance(state, State)
        np.testing.assert_allclose(state.x, LAYOUT.pack(LAYOUT.markers_at(*START), PUSHER), atol=1e-5)

    def test_hidden_marker_is_rebuilt(self, graph: Graph, camera: Bench, states: list[PoseArray]) -> None:
        diagnostics = graph.record(DiagnosticArray, "/diagnostics", MANY_QOS)
        hidden = LAYOUT.names[1]
        camera.hidden = {hidden}

        def reported() -> bool:
            return bool(diagnostics) and f"{LAYOUT.count - 1} of {LAYOUT.count}" in diagnostics[-1].status[0].message

        graph.wait("report of a hidden marker", reported)
        state = convert.state_from_msg(states[-1], LAYOUT)
        assert isinstance(state, State)
        np.testing.assert_allclose(state.x, LAYOUT.pack(LAYOUT.markers_at(*START), PUSHER), atol=1e-5)
        camera.hidden = set()

    def test_markers_that_are_no_box_give_no_state(self, graph: Graph, camera: Bench, states: list[PoseArray]) -> None:
        diagnostics = graph.record(DiagnosticArray, "/diagnostics", MANY_QOS)
        camera.box = (math.nan, 0.0, 0.0)
        status = graph.wait("BAD_STATE", lambda: diagnostics and bad_state(diagnostics[-1]))
        assert "0 of 5 markers visible" in status.message
        assert int(values_of(status)["BAD_STATE"]) > 0
        count = len(states)
        graph.never(lambda: len(states) > count, 0.2)
        camera.box = START
        graph.wait("recovery", lambda: len(states) > count)

    def test_unknown_parameter_is_told_by_name(self, graph: Graph, states: list[PoseArray]) -> None:
        assert states
        assert "'betta' is not known" in graph.output("mocap_node")

    def test_parameters_are_described(self, graph: Graph, states: list[PoseArray]) -> None:
        assert states
        tolerance, topic = graph.describe("mocap_node", "sync_tolerance_s", "marker_topic")
        assert "[s]" in tolerance.description
        assert tolerance.floating_point_range[0].to_value == 1.0
        assert topic.read_only


def bad_state(message: DiagnosticArray) -> DiagnosticStatus | None:
    status = message.status[0]
    return status if values_of(status)["reason"] == Reason.BAD_STATE else None


@pytest.fixture(scope="class")
def pusher(graph: Graph) -> Pusher:
    graph.start("pusher_node")
    pusher = Pusher(graph, Bench(graph, states=True))
    graph.wait("step subscription", lambda: pusher.step.get_subscription_count() == 1)
    pusher.wait_for(Reason.RUNNING)
    return pusher


class TestPusherNode:
    def test_step_moves_the_arm_and_the_pusher_stands_when_steps_stop(self, graph: Graph, pusher: Pusher) -> None:
        begin = pusher.bench.pusher.copy()
        stamp_ns = pusher.send(0.04, -0.02)
        pusher.wait_accepted(stamp_ns)
        end = begin + np.array([0.04, -0.02])

        def there() -> bool:
            return bool(np.abs(xy(pusher.targets[-1]) - end).max() < 1e-9)

        graph.wait("end of the step", there)
        late = convert.seconds(pusher.targets[-1].header.stamp) - stamp_ns * 1e-9
        assert late >= 1.0
        graph.never(lambda: not there(), 0.3)
        path = np.array([xy(target) for target in pusher.targets])
        off_line = (path - begin) @ np.array([0.02, 0.04])
        assert np.abs(off_line).max() < 1e-9  # straight
        assert all(target.header.frame_id == "table" for target in pusher.targets)
        assert pusher.targets[-1].pose.position.z == 0.02

    def test_fault_latches_and_clears(self, graph: Graph, pusher: Pusher) -> None:
        pusher.wait_for(Reason.RUNNING)
        pusher.send(0.08, 0.0)
        fault = pusher.wait_for(Reason.STEP_TOO_LARGE)
        assert fault.faulted
        assert "80.0 mm" in fault.condition.text
        accepted = fault.step_stamp_ns
        pusher.send(0.01, 0.0)
        graph.never(lambda: pusher.report().step_stamp_ns != accepted, 0.3)  # type: ignore[union-attr]
        cleared = graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request())
        assert cleared.success
        assert "STEP_TOO_LARGE" in cleared.message
        assert not pusher.wait_for(Reason.RUNNING).faulted
        pusher.wait_accepted(pusher.send(0.01, 0.0))

    def test_non_finite_step_latches(self, graph: Graph, pusher: Pusher) -> None:
        pusher.wait_for(Reason.RUNNING)
        pusher.send(math.nan, 0.0)
        pusher.wait_for(Reason.NON_FINITE)
        assert graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success

    def test_silent_pusher_source_stops_the_arm(self, graph: Graph, pusher: Pusher) -> None:
        pusher.wait_for(Reason.RUNNING)
        pusher.wait_accepted(pusher.send(0.04, 0.0))
        pusher.bench.hidden = {"pusher"}
        fault = pusher.wait_for(Reason.NO_PUSHER)
        assert fault.faulted
        assert "pusher_timeout_s" in fault.condition.text
        count = len(pusher.targets)  # the reference goes back to the last measured position, and stays
        graph.wait("hold", lambda: len(pusher.targets) > count + 50)
        held = xy(pusher.targets[-1])
        graph.never(lambda: not np.array_equal(xy(pusher.targets[-1]), held), 0.3)
        assert not graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success
        pusher.bench.hidden = set()
        graph.wait("cleared fault", lambda: graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success)

    def test_disabled_pusher_holds(self, graph: Graph, pusher: Pusher) -> None:
        enable(graph, "pusher_node", False)
        report = pusher.wait_for(Reason.PUSHER_DISABLED)
        pusher.send(0.01, 0.0)
        graph.never(lambda: pusher.report().step_stamp_ns != report.step_stamp_ns, 0.2)  # type: ignore[union-attr]
        enable(graph, "pusher_node", True)
        pusher.wait_for(Reason.RUNNING)

    def test_parameters_are_refused_with_the_reason(self, graph: Graph, pusher: Pusher) -> None:
        assert pusher.report()
        crossed = graph.set_parameters("pusher_node", step_limit_m=0.2)
        assert not crossed.successful
        assert "speed_limit_mps" in crossed.reason
        workspace = graph.set_parameters("pusher_node", workspace_m=[0.9, 0.3, -0.3, 0.3])
        assert not workspace.successful
        assert "workspace_m" in workspace.reason
        assert graph.set_parameters("pusher_node", step_limit_m=0.06, speed_limit_mps=0.2).successful
        assert not graph.set_parameters("pusher_node", step_duration_s=2.0).successful  # read-only


class TestTime:
    def test_nothing_happens_before_the_clock_and_all_goes_on_after_it_was_set_back(
        self, graph: Graph, bundle_path: Path
    ) -> None:
        bench = Bench(graph, states=True, clock_from_s=1000.0)
        bench.clock_running = False
        graph.start("mpc_node", bundle=bundle_path, rate_hz=5.0, use_sim_time=True, enabled=False, state_timeout_s=2.0)
        controller = Controller(graph)
        assert "ROS time is 0" in controller.wait_for(Reason.NO_STATE).message
        bench.clock_running = True
        controller.set_goal(0.80, 0.0, 0.0)
        controller.wait_for(Reason.DRY_RUN)
        bench.set_clock_back(500.0)
        graph.wait("warning", lambda: "set back" in graph.output("mpc_node"))
        for _ in range(3):
            controller.wait_for(Reason.DRY_RUN)
        assert not controller.steps
        code, duration_s = graph.stop("mpc_node", signal.SIGTERM)
        assert (code, duration_s < 2.0) == (0, True), graph.output("mpc_node")


def taken_s(report: DiagnosticArray) -> float:
    """Stamp of the last step that the pusher took [s]."""
    return convert.pusher_report_from_msg(report).step_stamp_ns / convert.NS


def in_graph(graph: Graph, node: str) -> dict[str, set[str]]:
    """What a node publishes, subscribes to and serves, by full names."""
    probe = graph.probe
    found = {
        "publish": probe.get_publisher_names_and_types_by_node(node, "/sgp"),
        "subscribe": probe.get_subscriber_names_and_types_by_node(node, "/sgp"),
        "reply": probe.get_service_names_and_types_by_node(node, "/sgp"),
    }
    return {what: {name for name, _ in pairs} - {"/clock"} for what, pairs in found.items()}


def in_policy(node: str) -> dict[str, set[str]]:
    """What config/security/policy.xml allows it; /clock is for use_sim_time only."""
    policy = ElementTree.parse(share_path("config", "security", "policy.xml"))
    (profile,) = policy.iterfind(f".//enclave[@path='/sgp/{node}']/profiles/profile[@node='{node}'][@ns='/sgp']")
    found: dict[str, set[str]] = {}
    for rule in profile:
        (what,) = rule.attrib
        names = [entry.text or "" for entry in rule]
        full = [n if n.startswith("/") else f"/sgp/{n.replace('~', node)}" for n in names]
        found[what] = set(full) - {"/clock"}
    return found


class TestWholeGraph:
    def test_box_is_pushed_by_four_processes(self, graph: Graph, bundle_path: Path) -> None:
        # Generous times: a loaded test machine must not look like a fault.
        graph.start("rig_sim_node", marker_rate_hz=50.0, occlusion=0.05)
        graph.start("mocap_node")
        graph.start("pusher_node", step_timeout_s=2.0, pusher_timeout_s=1.0)
        graph.start("mpc_node", bundle=bundle_path, beta=0.0, rate_hz=2.0, state_timeout_s=2.0)
        poses = graph.record(PoseStamped, "rig/box_pose", MANY_SENSOR_QOS)
        controller = Controller(graph)
        controller.set_goal(0.65, 0.0, 0.0)
        graph.wait("a box pushed by 1 cm", lambda: poses and poses[-1].pose.position.x > START[0] + 0.01, 60.0)
        graph.wait("three steps", lambda: len([s for s in controller.steps if not controller.is_hold(s)]) >= 3)
        self._check_replacing_steps(graph, controller)
        for node in ("rig_sim_node", "mocap_node", "pusher_node", "mpc_node"):
            assert in_graph(graph, node) == in_policy(node)
        put = graph.probe.create_publisher(PoseStamped, "rig/put_box", RELIABLE_QOS)
        graph.wait("the rig", lambda: put.get_subscription_count() > 0)
        put.publish(messages.pose_to_msg(0.0, 0.6, 0.6, 0.0))
        graph.wait("a box that a hand took away", lambda: poses[-1].pose.position.y > 0.55)
        for node, number in (
            ("mpc_node", signal.SIGTERM),
            ("pusher_node", signal.SIGINT),
            ("mocap_node", signal.SIGTERM),
            ("rig_sim_node", signal.SIGINT),
        ):
            code, duration_s = graph.stop(node, number)
            assert (code, duration_s < 2.0) == (0, True), graph.output(node)

    def _check_replacing_steps(self, graph: Graph, controller: Controller) -> None:
        """Planned more often than a step takes, each step replaces the rest of the one before."""
        reports = graph.record(DiagnosticArray, "pusher_state", MANY_QOS)
        controller.set_goal(0.75, 0.05, 0.0)
        assert graph.set_parameters("mpc_node", rate_hz=20.0, restarts=1).successful
        first = len(controller.steps)
        graph.wait("ten more steps", lambda: len(controller.steps) > first + 10)
        stamps = np.array([convert.seconds(step.header.stamp) for step in controller.steps[first:]])
        assert (np.diff(stamps) > 0.0).all()
        assert np.median(np.diff(stamps)) < 0.5  # a step takes a second
        # The pusher takes them: none is late, from the future or out of order.
        graph.wait("its stamp", lambda: reports and taken_s(reports[-1]) >= stamps[-1] - 1e-6)
        assert "LATE_STEP" not in graph.output("pusher_node")


class TestPusherNotReleased:
    def test_the_arm_is_not_commanded_before_enable(self, graph: Graph) -> None:
        graph.start("pusher_node", enabled=False)
        pusher = Pusher(graph, Bench(graph, states=True))
        pusher.wait_for(Reason.PUSHER_DISABLED)
        graph.never(lambda: len(pusher.targets) > 0, 0.5)
        assert graph.call(SetBool, "pusher_node/enable", SetBool.Request(data=True)).success
        graph.wait("arm target", lambda: len(pusher.targets) > 0)
        np.testing.assert_allclose(xy(pusher.targets[0]), pusher.bench.pusher, atol=1e-9)


class TestRefusedStart:
    def test_wrong_setting_ends_the_node_with_the_reason(self, graph: Graph) -> None:
        graph.start("pusher_node", speed_limit_mps=0.01)
        graph.start("mocap_node", layout_file="/nowhere.yaml")
        graph.start("rig_sim_node", marker_rate_hz=100000.0)
        graph.start("mpc_node", bundle="/nowhere/bundle")
        for node, words in (
            ("mpc_node", "/nowhere/bundle holds no bundle.json"),
            ("pusher_node", "speed_limit_mps"),
            ("mocap_node", "/nowhere.yaml"),
            ("rig_sim_node", "marker_rate_hz"),
        ):
            assert graph.wait_exit(node) == 2
            assert words in graph.output(node)
            assert "Traceback" not in graph.output(node)


class TestOtherBundle:
    def test_only_the_settings_given_have_to_fit_the_bundle(
        self, graph: Graph, bundle_path: Path, tmp_path: Path
    ) -> None:
        """A bundle of shorter steps than the default ones starts with settings that suit it, and not without."""
        path = tmp_path / "bundle"
        shutil.copytree(bundle_path, path)
        index = json.loads((path / "bundle.json").read_text())
        index["limits"]["step_limit_m"] = 0.03
        (path / "bundle.json").write_text(json.dumps(index))
        trust(sha256_of((path / "bundle.json").read_bytes()), path)
        graph.start("mpc_node", bundle=path, step_limit_m=0.02)
        graph.wait("ready", lambda: "ready, bundle" in graph.output("mpc_node"))
        graph.start("mpc_node", label="refused", bundle=path)
        assert graph.wait_exit("refused") == 2
        assert "step_limit_m = 0.05" in graph.output("refused")
