"""A day of the nodes: started in any order, stopped and released, given other goals, settings and bundles meanwhile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from ros_bench import MANY_QOS, Bench, Controller, Pusher, values_of
from ros_graph import Graph
from std_srvs.srv import SetBool, Trigger

from sgp_core.bundle_index import INDEX
from sgp_core.reading import sha256_of
from sgp_core.trust import trust
from sgp_core.types import Reason

pytestmark = pytest.mark.ros

STEP_LIMIT_M = 0.005
PLANNER = {"beta": 0.0, "step_limit_m": STEP_LIMIT_M, "restarts": 1, "iterations": 10}
NODE = {"rate_hz": 4.0, "state_timeout_s": 2.0}


def another(source: Path, path: Path, change: Callable[[dict[str, Any]], object], *, trusted: bool = True) -> str:
    """A bundle with another bundle.json; returns its sha256."""
    shutil.copytree(source, path)
    index = json.loads((path / INDEX).read_text())
    change(index)
    (path / INDEX).write_text(json.dumps(index))
    sha256 = sha256_of((path / INDEX).read_bytes())
    if trusted:
        trust(sha256, path)
    return sha256


def renamed(index: dict[str, Any]) -> None:
    index["metrics"]["note"] = "made again"


@pytest.fixture(scope="class")
def bench(graph: Graph, bundle_path: Path) -> Bench:
    """Camera and arm; the camera sees nothing yet."""
    graph.start("mpc_node", bundle=bundle_path, **NODE, **PLANNER)
    bench = Bench(graph, states=True)
    bench.seeing = False
    return bench


@pytest.fixture(scope="class")
def controller(graph: Graph, bench: Bench) -> Controller:
    """mpc_node comes first, and each status names what it waits for; no step before all is there."""
    controller = Controller(graph)
    assert "is mocap_node running" in controller.wait_for(Reason.NO_STATE).message
    bench.seeing = True
    controller.wait_for(Reason.NO_GOAL)
    controller.set_goal(0.80, 0.0, 0.0)
    assert "is pusher_node running" in controller.wait_for(Reason.NO_PUSHER).message
    graph.start("pusher_node", step_timeout_s=2.0, pusher_timeout_s=1.0, enabled=False)
    controller.wait_for(Reason.PUSHER_DISABLED)
    assert not controller.steps
    # Refused until the pusher was measured and the arm listens.
    release = SetBool.Request(data=True)
    graph.wait("release", lambda: graph.call(SetBool, "pusher_node/enable", release).success)
    controller.wait_for(Reason.RUNNING)
    return controller


@pytest.fixture(scope="class")
def reports(graph: Graph) -> list[DiagnosticArray]:
    return graph.record(DiagnosticArray, "/diagnostics", MANY_QOS)


def told(graph: Graph, reports: list[DiagnosticArray], key: str, value: str) -> dict[str, str]:
    """The next report of mpc_node with this value."""
    known = len(reports)

    def found() -> dict[str, str] | None:
        own = [s for message in reports[known:] for s in message.status if s.name == "sgp/mpc_node"]
        return next((v for s in own if value in (v := values_of(s))[key]), None)

    return graph.wait(f"{key} = {value}", found)  # type: ignore[no-any-return]


class TestWhilePushing:
    def test_another_bundle_takes_over_in_one_step(
        self, graph: Graph, bundle_path: Path, tmp_path: Path, controller: Controller, reports: list[DiagnosticArray]
    ) -> None:
        old = told(graph, reports, "bundle", str(bundle_path))["bundle_sha256"]
        new = another(bundle_path, tmp_path / "new", renamed)
        assert new != old
        known = len(controller.statuses)
        assert graph.set_parameters("mpc_node", bundle=str(tmp_path / "new")).successful
        told(graph, reports, "bundle_sha256", new)
        controller.wait_for(Reason.RUNNING)
        # The old one planned until the new one did: no other reason in between.
        assert {values_of(status)["reason"] for status in controller.statuses[known:]} == {"RUNNING"}

    def test_a_bad_bundle_leaves_the_old_one_planning(
        self, graph: Graph, bundle_path: Path, tmp_path: Path, controller: Controller, reports: list[DiagnosticArray]
    ) -> None:
        old = told(graph, reports, "bundle_refused", "")["bundle_sha256"]
        another(bundle_path, tmp_path / "strangers", lambda i: i["metrics"].update(note="x"), trusted=False)
        another(bundle_path, tmp_path / "damaged", lambda i: i["metrics"].update(note="y"))
        raw = bytearray((tmp_path / "damaged" / "score.pt").read_bytes())
        raw[len(raw) // 2] ^= 1
        (tmp_path / "damaged" / "score.pt").write_bytes(raw)
        another(bundle_path, tmp_path / "other_box", lambda i: i["layout"].update(pusher_radius_m=0.03))
        another(bundle_path, tmp_path / "slow", lambda i: i.update(step_duration_s=2.0))
        for name, words in (
            ("strangers", "sgp trust"),
            ("damaged", "score.pt has sha256"),
            ("other_box", "is of another box"),
            ("slow", "step_duration_s = 2"),
            ("nowhere", "holds no bundle.json"),
        ):
            refused = graph.set_parameters("mpc_node", bundle=str(tmp_path / name))
            assert not refused.successful
            assert words in refused.reason
            controller.wait_for(Reason.RUNNING)
        assert told(graph, reports, "bundle_refused", "")["bundle_sha256"] == old

    def test_a_bundle_that_cannot_plan_is_told_and_the_parameter_is_set_back(
        self, graph: Graph, bundle_path: Path, tmp_path: Path, controller: Controller, reports: list[DiagnosticArray]
    ) -> None:
        old = told(graph, reports, "bundle_sha256", "")
        another(bundle_path, tmp_path / "short", lambda i: i["limits"].update(step_limit_m=0.001))
        assert graph.set_parameters("mpc_node", bundle=str(tmp_path / "short")).successful  # its files are sound
        values = told(graph, reports, "bundle_refused", "step_limit_m = 0.005 exceeds 0.001")
        assert (values["bundle"], values["bundle_sha256"]) == (old["bundle"], old["bundle_sha256"])
        answer = graph.call(GetParameters, "mpc_node/get_parameters", GetParameters.Request(names=["bundle"]))
        assert answer.values[0].string_value == old["bundle"]
        controller.wait_for(Reason.RUNNING)

    def test_settings_and_goals_change_in_the_middle_of_plans(self, graph: Graph, controller: Controller) -> None:
        assert graph.set_parameters("mpc_node", iterations=200).successful  # a plan is under way most of the time
        known = len(controller.statuses)
        for number in range(6):
            assert graph.set_parameters("mpc_node", horizon=3 + number % 3, beta=0.01 * number).successful
            controller.set_goal(0.80, 0.02 * (-1) ** number, 0.0)
        values = values_of(controller.wait_for(Reason.RUNNING))
        while abs(float(values["marker_error_mm"]) - 300.7) > 1.0:  # 300 mm along x, 20 mm along y
            values = values_of(controller.wait_for(Reason.RUNNING))
        assert {values_of(status)["reason"] for status in controller.statuses[known:]} <= {"RUNNING", "LATE_STEP"}
        assert graph.set_parameters("mpc_node", iterations=10).successful

    def test_reset_stops_the_step_and_planning_goes_on(self, graph: Graph, controller: Controller) -> None:
        controller.wait_for(Reason.RUNNING)
        known = len(controller.steps)
        assert graph.call(Trigger, "mpc_node/reset", Trigger.Request()).success
        graph.wait("hold", lambda: any(controller.is_hold(step) for step in controller.steps[known:]))
        controller.wait_for(Reason.RUNNING)
        graph.wait("next step", lambda: not controller.is_hold(controller.steps[-1]))

    def test_a_stop_latches_until_it_is_cleared(self, graph: Graph, bench: Bench, controller: Controller) -> None:
        pusher = Pusher(graph, bench)
        controller.wait_for(Reason.RUNNING)
        assert graph.call(Trigger, "pusher_node/stop", Trigger.Request()).success
        assert pusher.wait_for(Reason.STOPPED).faulted
        assert "STOPPED" in controller.wait_for(Reason.PUSHER_FAULT).message
        known = len(controller.steps)
        refused = graph.call(SetBool, "pusher_node/enable", SetBool.Request(data=True))
        assert not refused.success
        assert "clear_fault" in refused.message
        graph.never(lambda: len(controller.steps) > known, 0.6)
        assert graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success
        controller.wait_for(Reason.RUNNING)
