"""Every arm interface in the full loop: goal reached, stale input stops, caps kept, faults latch and clear.

The arms are processes that behave as the controllers' sources say; the files of config/arm/ are used as they come.
`SGP_EVERY_ARM=1 pytest test/test_arms.py -s` prints the table of what was measured; without the variable it is one arm
for each type of message.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from arm_standins import ARMS, START_M, TABLE_FROM_BASE, Kind
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped, Vector3Stamped
from rclpy.qos import QoSProfile
from ros_bench import MANY_QOS, MANY_SENSOR_QOS, Controller
from ros_graph import Graph
from std_msgs.msg import String
from std_srvs.srv import SetBool, Trigger

from sgp_core.config import PusherConfig
from sgp_core.frames import Transform
from sgp_core.share import share_path
from sgp_core.types import Reason
from sgp_ros import convert, messages

pytestmark = pytest.mark.ros

GOAL = (0.54, 0.0, 0.0)
STOPS_WITHIN_S = 1.2  # of silence: pusher_timeout_s, braking, the arm's own lag, and a busy machine
RESTS_WITHIN_S = 2.2  # with the way back to where it was measured last, or with what is left of a step
TABLE: dict[str, dict[str, str]] = {}
ONE_OF_EACH = {kind.message: name for name, kind in reversed(ARMS.items())}.values()  # message type
RATE_HZ = 50.0  # of the commands
PERIOD_S = 1.0 / RATE_HZ


@pytest.fixture(scope="module", autouse=True)
def printed() -> Iterator[None]:
    yield
    columns = ("goal", "stale input stops within", "at rest after", "speed", "acceleration", "fault", "node killed")
    print("\n| arm | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))  # noqa: T201
    for name, row in TABLE.items():
        print(f"| {name} | " + " | ".join(row.get(column, "-") for column in columns) + " |")  # noqa: T201


@dataclass
class Loop:
    """The five processes of one arm, seen from outside."""

    name: str
    graph: Graph
    planner: Controller
    kind: Kind
    commands: list[Any]
    tool: list[PoseStamped]
    reported: list[PoseStamped]
    states: list[DiagnosticArray]
    refused: list[String]
    fault: Any
    step: Any
    row: dict[str, str] = field(default_factory=dict)

    def report(self) -> convert.PusherReport | None:
        return convert.pusher_report_from_msg(self.states[-1]) if self.states else None

    def wait_for(self, reason: Reason) -> convert.PusherReport:
        def found() -> convert.PusherReport | None:
            report = self.report()
            return report if report is not None and report.condition.reason == reason else None

        return self.graph.wait(f"{self.name}: pusher {reason}", found)

    def wait_until_running(self) -> None:
        """A machine that stops for a third of a second is a silent pusher, a fault in a motion; somebody clears it."""
        asked_s = self.now_s()

        def found() -> convert.PusherReport | None:
            report = self.report()
            if report is None or report.stamp_s < asked_s:  # of before the last fault was cleared
                return None
            return report if report.faulted or report.condition.reason == Reason.RUNNING else None

        while (report := self.graph.wait(f"{self.name}: pusher RUNNING", found)).faulted:
            assert report.condition.reason == Reason.NO_PUSHER, report.condition
            self.graph.wait("cleared", lambda: clear(self))
            asked_s = self.now_s()

    def now_s(self) -> float:
        return convert.clock_seconds(self.graph.probe.get_clock().now().nanoseconds)

    def send(self, x_m: float, y_m: float) -> None:
        """A step, and wait until it is under way."""
        message = messages.step_to_msg(self.now_s(), np.array([x_m, y_m]))
        self.step.publish(message)
        stamp_ns = convert.stamp_ns(message.header.stamp)
        self.graph.wait(f"{self.name}: accepted step", lambda: (r := self.report()) and r.step_stamp_ns == stamp_ns)

    def moved_since(self, index: int) -> float:
        return float(np.linalg.norm(place(self.tool[-1]) - place(self.tool[index])))

    def standing_for(self, duration_s: float) -> bool:
        """Less than 0.2 mm of motion."""
        last = [m for m in self.tool if stamp_s(m) >= stamp_s(self.tool[-1]) - duration_s]
        return len(last) > 5 and float(np.ptp([place(m) for m in last], axis=0).max()) < 2e-4

    def stop_after(self, since_s: float) -> float:
        """How long after a time the tool moved for the last time [s]; waits until it stands."""
        self.graph.wait(f"{self.name}: stop", lambda: self.standing_for(0.4))
        places = np.array([place(m) for m in self.tool])
        moving = np.linalg.norm(places - places[-1], axis=1) > 3e-4
        return stamp_s(self.tool[int(np.flatnonzero(moving).max(initial=0))]) - since_s


def place(message: PoseStamped) -> np.ndarray:
    return convert.point_of(message)


def stamp_s(message: Any) -> float:
    return convert.seconds(message.header.stamp)


@pytest.fixture(scope="class")
def planner(graph: Graph, bundle_path: Path) -> Controller:
    """What stays from arm to arm."""
    limits = {"speed_limit_mps": 0.1}
    graph.start("mpc_node", bundle=bundle_path, state_timeout_s=2.0, iterations=20, restarts=2, **limits)
    return Controller(graph)


@pytest.fixture(scope="class", params=list(ARMS) if os.environ.get("SGP_EVERY_ARM") else list(ONE_OF_EACH))
def loop(graph: Graph, planner: Controller, request: pytest.FixtureRequest) -> Iterator[Loop]:
    name, kind = request.param, ARMS[request.param]
    params = ("--params-file", str(share_path("config", "arm", f"{name}.yaml")))
    base = f"table_from_base:=[{', '.join(str(number) for number in TABLE_FROM_BASE)}]"
    # Where tf2_ros has no wheel, the tool's pose comes on a topic.
    pose = ("pusher_input:=pose", f"pusher_topic:={kind.pose_topic}", base)
    start(graph, "mocap_node", params, *pose)
    patient = ("enabled:=false", "pusher_timeout_s:=0.3", "step_timeout_s:=2.0", f"output_rate_hz:={RATE_HZ}", base)
    start(graph, "pusher_node", params, *patient)
    graph.start("rig_sim_node", marker_rate_hz=50.0, pusher_start=list(kind.start_m))
    graph.run("arm", sys.executable, "-P", str(Path(__file__).with_name("arm_standins.py")), name)
    probe, heard, said = graph.probe, [], []

    def record(message: type, topic: str, qos: QoSProfile = MANY_QOS) -> list[Any]:
        messages: list[Any] = []
        heard.append(probe.create_subscription(message, topic, messages.append, qos))
        return messages

    def publisher(message: type, topic: str) -> Any:
        said.append(probe.create_publisher(message, topic, MANY_QOS))
        return said[-1]

    made = Loop(
        name=name,
        graph=graph,
        planner=planner,
        kind=kind,
        commands=record(kind.message, kind.topic),
        tool=record(PoseStamped, "standin_tool"),
        reported=record(PoseStamped, kind.pose_topic, MANY_SENSOR_QOS),
        states=record(DiagnosticArray, "pusher_state"),
        refused=record(String, "standin_refused"),
        fault=publisher(String, "standin_fault"),
        step=publisher(Vector3Stamped, "step"),
    )
    TABLE[name] = made.row
    yield made
    for label in ("arm", "rig_sim_node", "mocap_node", "pusher_node"):
        with contextlib.suppress(KeyError):  # one of the tests has ended pusher_node
            graph.stop(label, signal.SIGKILL)
    for subscription in heard:
        probe.destroy_subscription(subscription)
    for one in said:
        probe.destroy_publisher(one)


def start(graph: Graph, node: str, params: tuple[str, str], *single: str) -> None:
    command = [sys.executable, "-P", "-m", f"sgp_ros.{node}", "--ros-args", "-r", "__ns:=/sgp", *params]
    graph.run(node, *command, *(word for value in single for word in ("-p", value)))


class TestArms:
    def test_reaches_the_goal_within_the_caps(self, loop: Loop) -> None:
        graph = loop.graph
        loop.wait_for(Reason.PUSHER_DISABLED)
        graph.wait("pose of the tool", lambda: loop.reported)
        graph.wait("step subscription", lambda: loop.step.get_subscription_count() >= 2)
        # This process listens, too; and a tool that is led without an arm behind it is a fault.
        graph.wait("the arm listens", lambda: graph.probe.count_subscribers(loop.kind.topic) >= 2)
        time.sleep(1.0)  # what the graph knows is not yet connected; an arm that does not follow down is a fault
        assert not loop.commands  # nothing before somebody asks for it
        graph.wait("release", lambda: released(graph))
        if loop.kind.message is not Vector3Stamped:
            loop.wait_for(Reason.APPROACHING)
        loop.wait_until_running()
        loop.planner.set_goal(*GOAL)
        began_s = loop.now_s()
        while loop.planner.wait_for_any(Reason.GOAL_REACHED, Reason.PUSHER_FAULT) == Reason.PUSHER_FAULT:
            loop.wait_until_running()
        loop.row["goal"] = f"{loop.now_s() - began_s:.1f} s"
        # On a busy machine a command may be late now and then, which the controllers are right to drop.
        late = [m.data for m in loop.refused if m.data.endswith(" s old")]
        assert [m.data for m in loop.refused] == late
        assert len(late) <= 0.05 * len(loop.commands)
        if loop.kind.message is not Vector3Stamped:
            heights = np.array([place(m)[2] for m in loop.tool])
            assert heights[0] == pytest.approx(START_M[2], abs=1e-3)
            assert heights[-1] == pytest.approx(PusherConfig().tool_height_m, abs=2e-3)

    def test_stale_pusher_stops_the_arm(self, loop: Loop) -> None:
        loop.wait_until_running()
        index = len(loop.tool) - 1
        loop.send(-0.045, 0.0)
        loop.graph.wait("motion", lambda: loop.moved_since(index) > 0.003)
        loop.fault.publish(String(data="deaf"))
        fault = loop.wait_for(Reason.NO_PUSHER)
        assert fault.faulted
        silent_s = stamp_s(loop.reported[-1])
        rest_s = loop.stop_after(silent_s)
        # It goes on until the silence is noticed, brakes, and returns to where it was measured last.
        after = [m for m in loop.tool if stamp_s(m) >= silent_s]
        way = np.linalg.norm([place(m) - place(after[0]) for m in after], axis=1)
        # An arm with a filter creeps on towards its target for ever: what it does below 0.3 mm is rest.
        took_s = stamp_s(after[int((way > way.max() - 3e-4).argmax())]) - silent_s
        loop.row["stale input stops within"] = f"{took_s:.2f} s, {way.max() * 1e3:.0f} mm"
        loop.row["at rest after"] = f"{rest_s:.2f} s"
        assert took_s < STOPS_WITHIN_S
        assert rest_s < RESTS_WITHIN_S
        assert way.max() < PusherConfig().tracking_limit_m + 0.015
        assert not loop.graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success
        loop.fault.publish(String(data="well"))
        loop.graph.wait("cleared", lambda: clear(loop))
        loop.wait_until_running()

    def test_a_blocked_arm_latches_a_fault_and_goes_on_once_cleared(self, loop: Loop) -> None:
        loop.graph.wait("stop", lambda: loop.standing_for(0.2))
        loop.wait_until_running()
        loop.fault.publish(String(data="blocked"))
        loop.send(-0.045, 0.0)
        fault = loop.wait_for(Reason.TRACKING_ERROR)
        assert fault.faulted
        accepted = fault.step_stamp_ns
        loop.fault.publish(String(data="well"))
        loop.step.publish(messages.step_to_msg(loop.now_s(), np.array([0.01, 0.0])))
        loop.graph.never(lambda: loop.report().step_stamp_ns != accepted, 0.2)  # type: ignore[union-attr]
        assert loop.report().faulted  # type: ignore[union-attr]
        assert clear(loop)
        loop.wait_until_running()
        loop.graph.wait("stop", lambda: loop.standing_for(0.2))
        index = len(loop.tool) - 1
        loop.send(0.02, 0.0)
        loop.graph.wait("motion after the fault", lambda: loop.moved_since(index) > 0.015)
        loop.row["fault"] = "latches, clears"

    def test_killed_node_leaves_the_arm_at_rest(self, loop: Loop) -> None:
        loop.graph.wait("stop", lambda: loop.standing_for(0.2))
        loop.wait_until_running()
        index = len(loop.tool) - 1
        loop.send(-0.03, 0.0)
        loop.graph.wait("motion", lambda: loop.moved_since(index) > 0.005)
        assert loop.graph.stop("pusher_node", signal.SIGKILL)[0] == -signal.SIGKILL
        killed_s = loop.now_s()
        took_s = loop.stop_after(killed_s)
        loop.row["node killed"] = f"{max(took_s, 0.0):.2f} s"
        # A raw arm ends the displacement it was given.
        assert took_s < RESTS_WITHIN_S

    def test_speed_and_acceleration_of_all_that_was_commanded(self, loop: Loop) -> None:
        config = PusherConfig()
        limit = 0.1 if loop.name.startswith("lbr") else config.speed_limit_mps
        if loop.kind.message is Vector3Stamped:
            steps = np.array([in_table(vector(m)) for m in loop.commands])
            assert np.abs(steps[:, :2]).max() <= config.step_limit_m + 1e-6
            assert np.abs(steps[:, 2]).max() <= 1e-9
            loop.row["speed"], loop.row["acceleration"] = f"steps <= {np.abs(steps).max() * 1e3:.0f} mm", "-"
            return
        velocity, change = motion(loop.commands, loop.kind.message)
        vectors = np.array([in_table(vector(m)) for m in loop.commands])
        jumps = np.diff(vectors, axis=0)
        moves_m = 2.0 * PERIOD_S * np.hypot(limit, config.approach_speed_mps)
        changes_mps = 2.0 * PERIOD_S * config.acceleration_limit_mps2
        largest_jump = 1.001 * (changes_mps if loop.kind.message in (Twist, TwistStamped) else moves_m)
        speed, climb = np.linalg.norm(velocity[:, :2], axis=1), np.abs(velocity[:, 2])
        assert speed.max() > 0.3 * limit
        caps = {"v": limit, "z": config.approach_speed_mps, "a": config.acceleration_limit_mps2}
        seen = {"v": speed, "z": climb, "a": change}
        # How much time passed between two commands is known to within the jitter of this machine, so that nine of ten
        # have to keep the caps. What one command may do in all, twice the period's worth, does not depend on it;
        # test_arm.py proves the caps themselves with a clock of its own.
        most = {name: float(np.quantile(of, 0.9)) for name, of in seen.items()}
        assert {name: most[name] <= 1.1 * cap for name, cap in caps.items()} == dict.fromkeys(caps, True), most
        # After a pause of the process a velocity starts from rest, whatever it was before.
        sudden = np.linalg.norm(jumps, axis=1) > largest_jump
        assert not (sudden & (np.linalg.norm(vectors[1:], axis=1) > largest_jump)).any()
        loop.row["speed"] = f"{most['v']:.3f} of {limit:g} m/s"
        loop.row["acceleration"] = f"{most['a']:.2f} of {config.acceleration_limit_mps2:g} m/s^2"


def released(graph: Graph) -> bool:
    """Refused for as long as the pusher is not measured."""
    return graph.call(SetBool, "pusher_node/enable", SetBool.Request(data=True)).success


def clear(loop: Loop) -> bool:
    return loop.graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success


def at(messages: list[PoseStamped], time_s: float) -> np.ndarray:
    return place(min(messages, key=lambda m: abs(stamp_s(m) - time_s)))


def vector(message: Any) -> np.ndarray:
    inner = message
    for part in ("pose", "twist", "position", "linear", "vector"):
        inner = getattr(inner, part, inner)
    return np.array([inner.x, inner.y, inner.z])


def in_table(vector: np.ndarray) -> np.ndarray:
    """A displacement or velocity of the base frame."""
    turned: np.ndarray = Transform.from_numbers(TABLE_FROM_BASE).rotation @ vector
    return turned


def motion(commands: list[Any], message: type) -> tuple[np.ndarray, np.ndarray]:
    """Commanded velocities in the table frame [m/s] and sizes of the accelerations [m/s^2]."""
    vectors = np.array([in_table(vector(m)) for m in commands])
    if message in (Twist, TwistStamped):
        return vectors, np.linalg.norm(np.diff(vectors, axis=0), axis=1) / PERIOD_S
    nominal = np.arange(len(commands)) * PERIOD_S
    times = nominal if message is Pose else np.array([stamp_s(m) for m in commands])
    passed = np.diff(times)
    velocity = np.diff(vectors, axis=0) / passed[:, None]
    # Later than two periods a tick is not caught up with, and the velocity between its stamps is none.
    regular = (passed > 0.3 * PERIOD_S) & (passed < 2.0 * PERIOD_S)
    both = regular[1:] & regular[:-1]
    change = np.linalg.norm(np.diff(velocity, axis=0), axis=1)[both] / passed[1:][both]
    return velocity[regular], change
