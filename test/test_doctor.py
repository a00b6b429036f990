"""`sgp doctor` on real nodes: nothing to say of a graph that is well, and the words for several faults at once.

`benchmarks/doctor_cases.py` goes through every case of `doctor_cases`, one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from builtin_interfaces.msg import Time
from doctor_cases import CASES, Room
from geometry_msgs.msg import PoseStamped, Quaternion, Transform, TransformStamped, Vector3
from ros_graph import Graph
from std_msgs.msg import Header
from typer.testing import CliRunner

from sgp_core.safety import Fault
from sgp_core.types import Reason
from sgp_ros import doctor_graph
from sgp_ros.bag_states import TF, TF_KIND
from sgp_ros.cli import app
from sgp_ros.doctor_ears import Heard, Record
from sgp_ros.doctor_findings import REMEDIES
from sgp_ros.doctor_graph import End
from sgp_ros.doctor_samples import Samples
from sgp_ros.doctor_tf import check_tf

pytestmark = pytest.mark.ros

TOGETHER = ("unit", "limits", "budget", "goal qos", "two commanders", "two planners")


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with Graph(tmp_path_factory.mktemp("doctor")) as graph:
        yield Room(graph)


def look(*options: str) -> tuple[int, list[dict[str, str]]]:
    """Exit code and findings of `sgp doctor --json`."""
    result = CliRunner().invoke(app, ["doctor", "--json", "--seconds", "3", *options])
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.usefixtures("room")
def test_a_graph_that_is_well_has_no_finding() -> None:
    code, findings = look()
    # How busy this machine is, is not the graph's fault.
    wrong = [one for one in findings if one["severity"] != "INFO" and one["check"] != "processor"]
    assert not wrong
    assert code == 0
    waits = {one["words"].split(":")[0] for one in findings if one["check"] == "status"}
    assert waits == {"mpc_node says DRY_RUN", "pusher_node says PUSHER_DISABLED"}


def test_faults_are_named_with_what_helps_and_gone_when_mended(room: Room) -> None:
    cases = [case for case in CASES if case.name in TOGETHER]
    mends = [case.breaks(room) for case in cases]
    code, findings = look()
    for mend in mends:
        mend()
    assert code == 1
    told = "\n".join(f"{one['severity']} {one['check']}: {one['words']}" for one in findings)
    for case in cases:
        assert case.found_in(findings) is not None, f"not {case.name}, but\n{told}"
    assert [one["severity"] for one in findings] == sorted((one["severity"] for one in findings), key="EWI".find)


@pytest.mark.usefixtures("room")
def test_an_empty_namespace_names_who_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_graph, "SEEK_S", 2.0)
    code, findings = look("--namespace", "elsewhere")
    (only,) = findings
    assert code == 1
    assert only["severity"] == "ERROR"
    assert "none of mocap_node, mpc_node, pusher_node is in the namespace /elsewhere" in only["words"]
    for word in ("--namespace sgp", "ROS_DOMAIN_ID = ", "RMW_IMPLEMENTATION", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        assert word in only["remedy"]


def test_every_reason_that_stops_has_a_remedy() -> None:
    assert set(Reason) - set(REMEDIES) == {Reason.RUNNING, Reason.GOAL_REACHED}


def heard_tf(*pairs: tuple[str, str]) -> Record:
    """The package of tf's messages has no wheel; a message with the same field stands for it."""
    sent = [
        TransformStamped(
            header=Header(stamp=Time(sec=number + 1), frame_id=parent),
            child_frame_id=child,
            transform=Transform(translation=Vector3(x=0.5), rotation=Quaternion(w=1.0)),
        )
        for number in range(2)
        for parent, child in pairs
    ]
    return Record(heard=[Heard(topic=TF, arrived_s=0.0, ros_s=0.0, message=SimpleNamespace(transforms=sent))])


class Known(doctor_graph.Graph):
    """Of which only parameters are asked for, and who publishes."""

    def publishers(self, topic: str) -> list[End]:  # noqa: ARG002 - nobody does
        return []


def of_tf(**parameters: Any) -> doctor_graph.Graph:
    graph = Known(None, "sgp")  # type: ignore[arg-type]
    graph.parameters["mocap_node"] = {"pusher_input": "tf", "pusher_name": "tool", **parameters}
    return graph


def test_a_pusher_that_comes_from_tf_is_seen() -> None:
    """With all well there is nothing to say of the box, and without tf's package no more than that."""
    samples = Samples(of_tf())
    markers = samples.layout.markers_at(0.6, 0.0, 0.0)
    heard = []
    for number in range(20):
        stamp = Time(sec=1, nanosec=number * 10_000_000)
        place = TransformStamped(
            header=Header(stamp=stamp, frame_id="base_link"),
            child_frame_id="tool",
            transform=Transform(translation=Vector3(x=0.5, z=0.02), rotation=Quaternion(w=1.0)),
        )
        said = [(TF, SimpleNamespace(transforms=[place]))]
        for (topic, _), (x, y) in zip(samples.inputs, markers, strict=True):
            pose = PoseStamped(header=Header(stamp=stamp, frame_id="mocap"))
            pose.pose.position.x, pose.pose.position.y = float(x), float(y)
            said.append((topic, pose))
        heard += [Heard(topic=topic, arrived_s=1.0, ros_s=1.0 + 0.01 * number, message=one) for topic, one in said]
    record = Record(heard=heard)
    assert [one.words for one in samples.findings(record, set()) if one.check == "box"] == []
    assert sum(not isinstance(one.found, Fault) for one in samples.judged) > 10
    silent = Samples(of_tf())
    of_markers = Record(heard=[one for one in heard if one.topic != TF])
    assert [one.words for one in silent.findings(of_markers, {TF_KIND}) if one.check == "box"] == []


def test_a_driver_whose_messages_are_not_installed_here_is_not_called_silent() -> None:
    graph = doctor_graph.Graph(None, "sgp")  # type: ignore[arg-type]
    graph.parameters["mocap_node"] = {
        "input": "named_poses",
        "marker_topic": "/poses",
        "body_name": "box",
        "pusher_input": "named",
        "pusher_topic": "/poses",
        "pusher_name": "tool",
    }
    samples = Samples(graph)
    assert [topic for topic, _ in samples.inputs] == ["/poses", "/poses"]  # the box, and the pusher
    (found,) = samples.findings(Record(), {samples.inputs[0][1].kind})
    assert (found.severity, found.check) == ("INFO", "driver")
    assert "is not installed here" in found.words


def test_tf_has_to_lead_from_the_base_of_the_arm_to_the_pusher() -> None:
    chain = heard_tf(("base_link", "link"), ("link", "tool"))
    assert check_tf(of_tf(), chain, set()) == []
    (found,) = check_tf(of_tf(base_frame="arm_base"), chain, set())
    assert "from 'arm_base' to 'tool'; its frames are base_link, link, tool" in found.words
    assert "base_frame" in found.remedy
    (unknown,) = check_tf(of_tf(), Record(), {TF_KIND})
    assert unknown.severity == "INFO"
    assert check_tf(of_tf(pusher_input="pose"), Record(), set()) == []


@pytest.mark.parametrize(
    ("age_s", "words"), [(0.05, []), (0.3, ["/rig/pusher is stamped 0.30 s"]), (0.7, ["(and 5 more)"])]
)
def test_each_topic_is_judged_by_the_age_that_its_node_refuses(age_s: float, words: list[str]) -> None:
    """pusher_node takes no pusher older than 0.2 s, mpc_node no state older than 0.5 s."""
    graph = Known(None, "sgp")  # type: ignore[arg-type]
    graph.parameters["mocap_node"] = {"pusher_input": "pose", "pusher_topic": "/rig/pusher"}
    samples = Samples(graph)
    heard = []
    for number in range(5):
        header = Header(stamp=Time(sec=100, nanosec=number * 10_000_000), frame_id="mocap")
        ros_s = 100.0 + 0.01 * number + age_s
        for topic, _ in samples.inputs:
            heard.append(Heard(topic=topic, arrived_s=ros_s, ros_s=ros_s, message=PoseStamped(header=header)))
    found = [one.words for one in samples.findings(Record(heard=heard), set()) if one.check == "stamps"]
    assert len(found) == len(words)
    assert all(part in one for part, one in zip(words, found, strict=True))
