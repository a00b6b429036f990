"""Every motion-capture driver against everything that goes wrong in a mocap room.

One mocap_node per driver, with the settings that come with the package, and a stand-in process that publishes as the
driver does. Each test makes one thing go wrong, sees what becomes of the state, and that it is well again afterwards.
`pytest test/test_drivers.py -s` prints the table of what was seen.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped
from mocap_drivers import LATCHED, LAYOUT, box_at, pusher_at
from ros_bench import MANY_QOS, MANY_SENSOR_QOS, values_of
from ros_graph import Graph
from std_msgs.msg import Float64, String

from sgp_core.share import share_path
from sgp_core.types import Reason, State
from sgp_ros import convert

pytestmark = pytest.mark.ros

NEAR_M = 0.002
# Most drivers stamp when they come to it, which on a busy machine is some time after the cameras saw it.
LATE_S = np.arange(0.0, 0.3, 0.005)
# The node as it is, but with reports that do not let a hundred tests wait for a second each.
OFTEN = "import sgp_ros.running as r; r.DIAGNOSTICS_PERIOD_S = 0.1; from sgp_ros.mocap_node import main; main()"
TRUSTED = 5  # states that must come and be right
SPOILT = LAYOUT.names[1]

MARKERS = {
    "ok": "state",
    "hidden": f"{SPOILT} hidden",
    "swap": f"{LAYOUT.names[0]} swapped",
    "outlier": f"{SPOILT} outlier",
    "mm": "BAD_STATE: unit_m",
    "nan": "missing",
    "zeros": "missing",
    "frozen": "FROZEN_STATE",
    "stuck": f"{SPOILT} frozen",
    "frame": "NO_STATE: camera_link",
    "late": "late",
    "pusher": "NO_PUSHER",
}
# Labels say nothing in a cloud; what is no marker there is left out, and what is missing was never there.
CLOUD = MARKERS | {"outlier": f"{SPOILT} hidden", "nan": f"{SPOILT} hidden", "zeros": f"{SPOILT} hidden"}
del CLOUD["swap"]
# A body is seen or lost as a whole. Two exchanged markers turn it round, an outlier throws it away, for a moment.
BODY = {
    "ok": "state",
    "hidden": "NO_STATE: is silent",
    "swap": "jumps",
    "outlier": "jumps",
    "mm": "refused: unit_m",
    "nan": "BAD_STATE: does not track",
    "zeros": "BAD_STATE: does not track",
    "frozen": "FROZEN_STATE",
    "frame": "NO_STATE: camera_link",
    "late": "late",
    "pusher": "NO_PUSHER",
}


def truth(time_s: float) -> np.ndarray:
    """The state when nothing went wrong."""
    return LAYOUT.pack(LAYOUT.markers_at(*box_at(time_s)), pusher_at(time_s)[:2])


@dataclass(frozen=True)
class Case:
    """A driver: which settings, what has to be set besides, and what is expected for each fault."""

    expected: dict[str, str]
    settings: str = ""
    parameters: tuple[str, ...] = ()
    needs: str = ""


LIST = "motion_capture_tracking_interfaces"
CASES = {
    "vrpn_mocap": Case(MARKERS | {"clock": "STALE_STATE: synchronise"}),
    "vrpn_mocap_body": Case(BODY),
    "vrpn_client_ros": Case(BODY),
    # Its markers carry a number for a frame: any is taken.
    "natnet_ros2": Case(MARKERS | {"frame": "state"}),
    "mocap_optitrack": Case(BODY),
    "vicon_receiver": Case(BODY | {"hidden": "BAD_STATE: does not track", "pusher": "NO_PUSHER: no quaternion"}),
    "motion_capture_tracking": Case(CLOUD | {"pusher": "NO_PUSHER: pusher_name"}, needs=LIST),
    "motion_capture_tracking_body": Case(
        BODY | {"hidden": "BAD_STATE: body_name", "pusher": "NO_PUSHER: pusher_name"},
        "motion_capture_tracking",
        ("input:=named_poses", "marker_topic:=/poses"),
        LIST,
    ),
    "mocap4ros2": Case(MARKERS | {"hidden": "missing", "pusher": "NO_PUSHER: all zero"}, needs="mocap4r2_msgs"),
    "mocap4ros2_optitrack": Case(
        CLOUD | {"pusher": "NO_PUSHER: all zero"},
        "mocap4ros2",
        ("mocap_frame:=map", "pusher_name:='2'"),
        "mocap4r2_msgs",
    ),
}
REASONS = {"refused": (Reason.BAD_STATE, Reason.NO_PUSHER)}
COUNTERS = {"missing": "missing", "late": "late", "jumps": "BAD_STATE"}
# Before a marker has repeated itself for long, it may stay behind by as much as rigid_tolerance_m.
STUCK_NEAR_M = 0.007
# How long a driver may repeat itself, and how far a pusher sample reaches, with something for stamps of arrival.
UNTIL_REFUSED_S = {"frozen": 0.7, "pusher": 0.3}
DRIVERS = {"motion_capture_tracking_body": "motion_capture_tracking"}


class Rig:
    """A driver, mocap_node, and what it says."""

    def __init__(self, graph: Graph, name: str) -> None:
        self.case = case = CASES[name]
        self.graph = graph
        self.well_s = 0.0  # since when nothing goes wrong
        self._fault = graph.probe.create_publisher(String, "/mocap_fault", LATCHED)
        self._since = graph.record(Float64, "/mocap_fault_since", LATCHED)
        self.states = graph.record(PoseArray, "state", MANY_SENSOR_QOS)
        self.pushers = graph.record(PoseStamped, "pusher_pose", MANY_SENSOR_QOS)
        self._diagnostics = graph.record(DiagnosticArray, "/diagnostics", MANY_QOS)
        settings = share_path("config", "mocap", f"{case.settings or name}.yaml")
        single = [word for parameter in case.parameters for word in ("-p", parameter)]
        node = [sys.executable, "-P", "-c", OFTEN, "--ros-args", "-r", "__ns:=/sgp"]
        graph.run("mocap_node", *node, "--params-file", str(settings), *single)
        graph.run("driver", sys.executable, str(Path(__file__).with_name("mocap_drivers.py")), DRIVERS.get(name, name))
        graph.wait("the driver", lambda: self._fault.get_subscription_count() > 0)

    def set(self, fault: str) -> float:
        """Make this go wrong; returns the time from which on it does."""
        known = len(self._since)
        self._fault.publish(String(data=fault))
        self.graph.wait(f"fault {fault}", lambda: len(self._since) > known)
        return float(self._since[-1].data)

    def states_after(self, time_s: float) -> list[State]:
        found = [convert.state_from_msg(message, LAYOUT) for message in self.states[-200:]]
        return [state for state in found if isinstance(state, State) and state.stamp_s > time_s]

    def wait_trusted(self, since_s: float, near_m: float = NEAR_M) -> None:
        """Enough states that are right; and none that is wrong."""
        self.graph.wait("states", lambda: len(self.states_after(since_s)) >= TRUSTED)
        for state in self.states_after(since_s):
            off_m = min(np.abs(state.x - truth(state.stamp_s - late_s)).max() for late_s in LATE_S)
            assert off_m < near_m, state.x - truth(state.stamp_s)

    def wait_report(self, since_s: float, what: str, true: Callable[[str, dict[str, str]], bool]) -> None:
        """A report after this time whose message and values fit."""

        def found() -> bool:
            fresh = [m.status[0] for m in self._diagnostics[-5:] if convert.seconds(m.header.stamp) > since_s]
            return any(true(status.message, values_of(status)) for status in fresh)

        try:
            self.graph.wait(what, found, 15.0)
        except AssertionError as error:
            raise AssertionError(f"{error}\nlast report: {self._diagnostics[-1:]}") from error

    def counted(self, what: str) -> int:
        """A counter as last reported."""
        return int(values_of(self._diagnostics[-1].status[0])[what]) if self._diagnostics else 0


class Rigs:
    """One rig at a time; it stays as long as the same driver is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack = folder, ExitStack()
        self._made: dict[str, Rig] = {}

    def get(self, name: str) -> Rig:
        if name not in self._made:
            self.close()
            graph = self._stack.enter_context(Graph(self._folder))
            self._made = {name: Rig(graph, name)}
        return self._made[name]

    def close(self) -> None:
        self._made = {}
        self._stack.close()


TABLE: dict[str, dict[str, str]] = {}  # what was seen to come true


@pytest.fixture(scope="module")
def rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rigs]:
    made = Rigs(tmp_path_factory.mktemp("ros"))
    yield made
    made.close()
    columns = dict.fromkeys(fault for case in CASES.values() for fault in case.expected)
    print("\n| driver | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))  # noqa: T201
    for name, row in TABLE.items():
        print(f"| {name} | " + " | ".join(row.get(column, "") for column in columns) + " |")  # noqa: T201


CELLS = [pytest.param(name, fault, id=f"{name}-{fault}") for name, case in CASES.items() for fault in case.expected]


@pytest.mark.parametrize(("name", "fault"), CELLS)
def test_driver(rigs: Rigs, name: str, fault: str) -> None:
    needs = CASES[name].needs
    if needs and importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed; no registry has it: build it in a ROS workspace and source that")
    rig = rigs.get(name)
    rig.wait_trusted(rig.well_s)
    if fault == "ok":
        rig.wait_report(0.0, "RUNNING", lambda _, values: values["reason"] == "RUNNING")
        check_pusher(rig.pushers[-1])
        TABLE[name] = {fault: "accepted"}
        return
    verdict, _, words = rig.case.expected[fault].partition(": ")
    counted = rig.counted(COUNTERS[verdict]) if verdict in COUNTERS else 0
    since_s = rig.set(fault)
    if refused(verdict):
        rig.wait_report(
            since_s,
            rig.case.expected[fault],
            lambda text, values: words in text and values["reason"] in REASONS.get(verdict, (verdict,)),
        )
        assert not rig.states_after(since_s + UNTIL_REFUSED_S.get(fault, 0.0))
    else:
        rig.wait_trusted(since_s, STUCK_NEAR_M if fault == "stuck" else NEAR_M)
        if verdict in COUNTERS:
            rig.wait_report(since_s, verdict, lambda _, values: int(values[COUNTERS[verdict]]) > counted)
        elif verdict != "state":
            marker, what = verdict.split()
            rig.wait_report(since_s, verdict, lambda _, values: f"now {what}" in values[marker])
    rig.well_s = rig.set("ok")
    rig.wait_trusted(rig.well_s)
    TABLE.setdefault(name, {})[fault] = verdict if refused(verdict) else f"goes on, {verdict}"


def refused(verdict: str) -> bool:
    """Whether no state comes for as long as this goes wrong; else states go on, and are right."""
    return verdict == "refused" or verdict.isupper()


def check_pusher(message: PoseStamped) -> None:
    turn = message.pose.orientation
    assert message.header.frame_id == "table"
    assert (turn.x, turn.y, turn.z, turn.w) == (0.0, 0.0, 0.0, 0.0)  # a camera does not know the arm's tool
    off_m = convert.point_of(message) - pusher_at(convert.seconds(message.header.stamp))
    assert np.abs(off_m).max() < NEAR_M
