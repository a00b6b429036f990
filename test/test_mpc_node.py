"""mpc_node as a real process over real DDS, with a real pusher_node."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from geometry_msgs.msg import PoseArray
from nav_msgs.msg import Path as PathMessage
from ros_bench import LAYOUT, PUSHER, START, Bench, Controller, enable, values_of
from ros_graph import Graph
from std_srvs.srv import Trigger

from sgp_core.config import DEFAULT_WORKSPACE_M, MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.goals import load_goals
from sgp_core.safety import Fault
from sgp_core.types import Goal, Reason, State
from sgp_ros import convert, messages
from sgp_ros.inputs import Inputs
from sgp_ros.running import REPORT_QOS

pytestmark = pytest.mark.ros

STEP_LIMIT_M = 0.005


@pytest.fixture(scope="module")
def goals_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("goals") / "goals.yaml"


@pytest.fixture(scope="class")
def bench(graph: Graph, bundle_path: Path, goals_file: Path) -> Bench:
    # Small steps, so that the pusher does not get far while the tests last; generous times, so that a busy test machine
    # does not look like a fault.
    # Plans are short, because one test allows 0.3 s from measurement to step.
    planner = {"beta": 0.0, "step_limit_m": STEP_LIMIT_M, "restarts": 1, "iterations": 10}
    graph.start("mpc_node", bundle=bundle_path, rate_hz=4.0, state_timeout_s=2.0, goals_file=goals_file, **planner)
    graph.start("pusher_node", step_timeout_s=2.0, pusher_timeout_s=1.0)
    return Bench(graph, states=True)


@pytest.fixture(scope="class")
def controller(graph: Graph, bench: Bench) -> Controller:
    assert bench.seeing
    controller = Controller(graph)
    controller.wait_for(Reason.NO_GOAL)
    controller.set_goal(0.80, 0.0, 0.0)
    return controller


class TestMpcNode:
    def test_goal_makes_steps_within_the_limit(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        values = values_of(controller.wait_for(Reason.RUNNING))
        assert int(values["steps"]) > 0
        assert float(values["marker_error_mm"]) == pytest.approx(300.0, abs=1.0)
        assert 0.0 < float(values["plan_ms_p50"]) <= float(values["plan_ms_p99"]) <= float(values["plan_ms_max"])
        # The markers were measured before the plan was made.
        assert float(values["latency_ms"]) > float(values["plan_ms"]) > 0.0
        kinds = sum(int(values[f"missed_{why}"]) for why in ("planning", "state", "asleep"))
        assert int(values["misses"]) == int(values["overruns"]) + int(values["late_steps"])
        assert int(values["overruns"]) == kinds
        assert 0.0 <= float(values["plan_waited_ms"]) < 1000.0
        graph.wait("three steps", lambda: len(controller.steps) >= 3)
        for step in controller.steps:
            assert step.header.frame_id == "table"
            assert max(abs(step.vector.x), abs(step.vector.y)) <= STEP_LIMIT_M + 1e-5
        stamps = [convert.stamp_ns(step.header.stamp) for step in controller.steps]
        assert stamps == sorted(set(stamps))
        graph.wait("motion", lambda: np.linalg.norm(bench.pusher - PUSHER) > 0.003)

    def test_plan_is_published_for_whoever_looks(self, graph: Graph, controller: Controller) -> None:
        controller.wait_for(Reason.RUNNING)
        plans = graph.record(PathMessage, "plan", REPORT_QOS)
        plan = graph.wait("plan", lambda: plans and plans[-1])
        assert len(plan.poses) == 5
        assert plan.header.frame_id == "table"

    def test_beta_changes_while_running_and_a_bad_value_is_refused(self, graph: Graph, controller: Controller) -> None:
        before = values_of(controller.wait_for(Reason.RUNNING))
        assert graph.set_parameters("mpc_node", beta=50.0).successful
        controller.wait_for(Reason.RUNNING)
        after = values_of(controller.wait_for(Reason.RUNNING))
        assert float(after["objective"]) > float(before["objective"]) + 1.0  # 50 times the distance to data
        negative = graph.set_parameters("mpc_node", beta=-1.0)
        assert not negative.successful
        assert "beta" in negative.reason
        rising = graph.set_parameters("mpc_node", sigmas=[0.01, 0.2])
        assert not rising.successful
        assert "sigmas" in rising.reason
        assert graph.set_parameters("mpc_node", beta=0.0, horizon=3).successful
        controller.wait_for(Reason.RUNNING)

    def test_stale_state_stops_the_step_under_way(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        assert graph.set_parameters("mpc_node", state_timeout_s=0.3).successful
        controller.wait_for(Reason.RUNNING)
        bench.seeing = False
        status = controller.wait_for(Reason.STALE_STATE)
        assert "state_timeout_s is 0.3" in status.message
        controller.expect_hold(bench)
        count = len(controller.steps)
        graph.never(lambda: len(controller.steps) > count, 0.6)
        bench.seeing = True
        assert graph.set_parameters("mpc_node", state_timeout_s=2.0).successful
        controller.wait_for(Reason.RUNNING)
        assert not controller.is_hold(controller.steps[-1])

    def test_non_finite_state_makes_no_step(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        bench.spoil = spoiled
        status = controller.wait_for(Reason.NON_FINITE)
        assert "poses [2]" in status.message
        controller.expect_hold(bench)
        count = len(controller.steps)
        graph.never(lambda: len(controller.steps) > count, 0.6)
        bench.spoil = lambda message: message
        controller.wait_for(Reason.RUNNING)

    def test_state_outside_the_workspace_makes_no_step(
        self, graph: Graph, bench: Bench, controller: Controller
    ) -> None:
        x_min, _, y_min, y_max = DEFAULT_WORKSPACE_M
        assert graph.set_parameters("mpc_node", workspace_m=[x_min, x_min + 0.05, y_min, y_max]).successful
        status = controller.wait_for(Reason.OUTSIDE_WORKSPACE)
        assert "workspace_m" in status.message
        controller.expect_hold(bench)
        count = len(controller.steps)
        graph.never(lambda: len(controller.steps) > count, 0.6)
        assert graph.set_parameters("mpc_node", workspace_m=list(DEFAULT_WORKSPACE_M)).successful
        controller.wait_for(Reason.RUNNING)

    def test_dry_run_plans_and_sends_nothing(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        controller.wait_for(Reason.RUNNING)
        enable(graph, "mpc_node", False)
        controller.wait_for(Reason.DRY_RUN)
        controller.expect_hold(bench)
        count = len(controller.steps)
        controller.wait_for(Reason.DRY_RUN)
        controller.wait_for(Reason.DRY_RUN)
        assert len(controller.steps) == count
        enable(graph, "mpc_node", True)
        controller.wait_for(Reason.RUNNING)

    def test_disabled_or_faulty_pusher_gets_no_steps(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        enable(graph, "pusher_node", False)
        controller.wait_for(Reason.PUSHER_DISABLED)
        enable(graph, "pusher_node", True)
        controller.wait_for(Reason.RUNNING)
        bench.moving = False  # the arm no longer follows
        assert graph.set_parameters("pusher_node", tracking_limit_m=0.002).successful
        status = controller.wait_for(Reason.PUSHER_FAULT)
        assert "TRACKING_ERROR" in status.message
        count = len(controller.steps)
        graph.never(lambda: len(controller.steps) > count, 0.5)
        assert graph.set_parameters("pusher_node", tracking_limit_m=0.03).successful
        bench.moving = True
        assert graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success
        controller.wait_for(Reason.RUNNING)

    def test_goal_from_state_is_reached_and_a_bad_goal_refused(self, graph: Graph, controller: Controller) -> None:
        assert graph.call(Trigger, "mpc_node/reset", Trigger.Request()).success
        answer = graph.call(Trigger, "mpc_node/set_goal_from_state", Trigger.Request())
        assert answer.success
        assert "x 0.500 m" in answer.message
        assert "0.0 mm" in controller.wait_for(Reason.GOAL_REACHED).message
        controller.set_goal(math.nan, 0.0, 0.0)
        graph.wait("refusal", lambda: "goal_pose refused" in graph.output("mpc_node"))
        controller.wait_for(Reason.GOAL_REACHED)

    def test_goal_is_kept_under_a_name_and_found_again(
        self, graph: Graph, controller: Controller, goals_file: Path
    ) -> None:
        controller.wait_for(Reason.GOAL_REACHED)
        assert graph.set_parameters("mpc_node", save_goal_as="here").successful
        saved = graph.call(Trigger, "mpc_node/save_goal", Trigger.Request())
        assert saved.success, saved.message
        assert load_goals(goals_file)["here"].pose == pytest.approx(START, abs=1e-3)
        assert graph.set_parameters("mpc_node", goal="0.80,0.0,0.0").successful
        controller.wait_for(Reason.RUNNING)
        assert graph.set_parameters("mpc_node", goal="here").successful
        controller.wait_for(Reason.GOAL_REACHED)
        for goal, words in (("there", "choose one of center, left, right, here"), ("9,9,0", "outside workspace_m")):
            refused = graph.set_parameters("mpc_node", goal=goal)
            assert not refused.successful
            assert words in refused.reason

    def test_signals_end_the_nodes_in_time(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        controller.set_goal(0.80, 0.0, 0.0)
        controller.wait_for(Reason.RUNNING)  # planning and pushing
        code, duration_s = graph.stop("mpc_node", signal.SIGINT, signal.SIGINT)
        assert (code, duration_s < 2.0) == (0, True), graph.output("mpc_node")
        controller.expect_hold(bench)
        code, duration_s = graph.stop("pusher_node", signal.SIGTERM)
        assert (code, duration_s < 2.0) == (0, True), graph.output("pusher_node")
        assert "Traceback" not in graph.output("mpc_node") + graph.output("pusher_node")


def spoiled(message: PoseArray) -> PoseArray:
    message.poses[2].position.x = math.nan
    return message


def test_step_duration_must_be_the_bundles() -> None:
    inputs = Inputs(LAYOUT, 1.0)
    state = State(stamp_s=50.0, x=LAYOUT.pack(LAYOUT.markers_at(*START), PUSHER))
    inputs.take_state(messages.state_to_msg(state), 7.0)
    inputs.take_goal(convert.goal_from_pose(messages.pose_to_msg(0.0, 0.7, 0.0, 0.1), LAYOUT), PlannerConfig())
    for duration_s, wanted in ((1.0, None), (0.5, Reason.STEP_DURATION_MISMATCH)):
        report = convert.PusherReport(
            stamp_s=50.0,
            condition=Fault(reason=Reason.RUNNING, text="ready"),
            reference_m=PUSHER,
            step_stamp_ns=12345678901234567,
            step_duration_s=duration_s,
            enabled=True,
            faulted=False,
        )
        inputs.take_pusher(messages.pusher_report_to_msg(report, {}), 7.0)
        assert inputs.pusher is not None
        assert inputs.pusher.step_stamp_ns == report.step_stamp_ns
        np.testing.assert_array_equal(inputs.pusher.reference_m, PUSHER)  # type: ignore[arg-type]
        fault = inputs.obstacle(50.1, 7.1, PlannerConfig(), MpcConfig(), enabled=True)
        assert (None if fault is None else fault.reason) == wanted
    late = inputs.obstacle(50.1, 8.1, PlannerConfig(), MpcConfig(state_timeout_s=5.0), enabled=True)
    assert late is not None
    assert late.reason == Reason.NO_PUSHER


def test_a_state_of_another_box_is_refused_and_a_new_goal_is_news() -> None:
    inputs = Inputs(LAYOUT, 1.0)
    other = LAYOUT.markers_at(*START)[::-1]  # the same number of markers, in another order
    inputs.take_state(messages.state_to_msg(State(stamp_s=50.0, x=LAYOUT.pack(other, PUSHER))), 7.0)
    assert inputs.state is None
    assert inputs.bad_state is not None
    assert inputs.bad_state.reason == Reason.BAD_STATE
    assert "do not form the box" in inputs.bad_state.text
    goal = convert.goal_from_pose(messages.pose_to_msg(0.0, 0.7, 0.0, 0.1), LAYOUT)
    assert inputs.take_goal(goal, PlannerConfig())
    assert not inputs.take_goal(goal, PlannerConfig())


def test_a_goal_out_of_reach_is_refused_and_the_old_one_stays() -> None:
    inputs = Inputs(LAYOUT, 1.0)
    assert inputs.take_goal(Goal.from_pose(LAYOUT, 1.05, 0.0, 0.0), PlannerConfig())  # pushed over the border
    with pytest.raises(InputError, match=r"250 mm outside workspace_m"):
        inputs.take_goal(Goal.from_pose(LAYOUT, 1.20, 0.0, 0.0), PlannerConfig())
    assert inputs.goal is not None
    assert LAYOUT.pose_of(inputs.goal.markers_m)[0] == pytest.approx(1.05)


def test_no_step_while_the_pusher_is_not_where_its_reference_says() -> None:
    inputs = Inputs(LAYOUT, 1.0)
    inputs.take_state(messages.state_to_msg(State(stamp_s=50.0, x=LAYOUT.pack(LAYOUT.markers_at(*START), PUSHER))), 7.0)
    inputs.take_goal(Goal.from_pose(LAYOUT, 0.7, 0.0, 0.0), PlannerConfig())
    for apart_m, wanted in ((0.029, None), (0.031, Reason.TRACKING_ERROR)):
        report = convert.PusherReport(
            stamp_s=50.0,
            condition=Fault(reason=Reason.RUNNING, text="ready"),
            reference_m=PUSHER + np.array([0.0, apart_m]),
            step_stamp_ns=0,
            step_duration_s=1.0,
            enabled=True,
            faulted=False,
        )
        inputs.take_pusher(messages.pusher_report_to_msg(report, {}), 7.0)
        fault = inputs.obstacle(50.1, 7.1, PlannerConfig(), MpcConfig(), enabled=True)
        assert (None if fault is None else fault.reason) == wanted
