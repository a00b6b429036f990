"""The launch files: what they offer, and that the processes they start form a working loop."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="no launch_ros: it comes with a ROS installation, not with the ROS wheels")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from diagnostic_msgs.msg import DiagnosticStatus
from launch import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from rcl_interfaces.srv import GetParameters
from ros_graph import Graph

from sgp_ros.rig_files import ARGUMENTS, presets
from sgp_ros.running import REPORT_QOS

pytestmark = pytest.mark.ros
ROOT = Path(__file__).parents[1]
SIM = {"namespace", "layout", "bundle", "goal", "goals_file", "params_file", "rviz"}
OFFERED = {
    "sim.launch.py": SIM,
    "rig.launch.py": set(ARGUMENTS),
    "replay.launch.py": set(ARGUMENTS) - {"arm_topic"},
}
NODES = ("mocap_node", "mpc_node", "pusher_node", "rig_sim_node")
GOAL = "0.54,0.0,0.0"


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    """The launch files look for the nodes in the ament index."""
    try:
        get_package_prefix("sgp_ros")
    except PackageNotFoundError:
        pytest.skip(
            "sgp_ros is not in the ament index: `pip install .` or colcon puts it there, `pip install -e .` not"
        )


@pytest.mark.parametrize("name", OFFERED)
def test_every_argument_is_described_and_has_a_default(name: str) -> None:
    description = get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert set(arguments) == OFFERED[name]
    for argument in arguments.values():
        assert argument.description.endswith(".")
        default = perform_substitutions(LaunchContext(), argument.default_value)
        assert default == (
            "" if (name, argument.name) == ("replay.launch.py", "mocap") else ARGUMENTS[argument.name][0]
        )


@contextmanager
def launched(tmp_path: Path, *arguments: str) -> Iterator[Path]:
    """`ros2 launch` of this checkout's file; ends with Ctrl-C, as a user does. Gives the file with its output."""
    output = tmp_path / f"launch{len(list(tmp_path.iterdir()))}.log"
    command = ["ros2", "launch", str(ROOT / "launch" / arguments[0]), *arguments[1:]]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        yield output
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, output.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def parameters(graph: Graph, node: str, *names: str) -> list[object]:
    """Values of string, boolean or float-array parameters."""
    response = graph.call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=list(names)))
    kinds = {1: "bool_value", 4: "string_value", 8: "double_array_value"}
    found = [getattr(value, kinds[value.type]) for value in response.values]
    return [value if isinstance(value, (str, bool)) else list(value) for value in found]


def test_sim_launch_pushes_the_box_to_a_goal(graph: Graph, bundle_path: Path, tmp_path: Path) -> None:
    status = graph.record(DiagnosticStatus, "status", REPORT_QOS)
    with launched(tmp_path, "sim.launch.py", f"bundle:={bundle_path}", f"goal:={GOAL}") as output:
        graph.wait("arrival", lambda: status and status[-1].message.startswith("goal reached"), 90.0)
    text = output.read_text()
    for node in NODES:
        (line,) = (line for line in text.splitlines() if f"[{node}-" in line and "process has finished" in line)
        assert "cleanly" in line


def test_two_rigs_side_by_side_reach_their_goals(graph: Graph, bundle_path: Path, tmp_path: Path) -> None:
    rigs = {name: graph.record(DiagnosticStatus, f"/{name}/status", REPORT_QOS) for name in ("left", "right")}
    with ExitStack() as both:
        for name in rigs:
            arguments = (f"namespace:={name}", f"bundle:={bundle_path}", f"goal:={GOAL}")
            both.enter_context(launched(tmp_path, "sim.launch.py", *arguments))
        for name, status in rigs.items():
            graph.wait(f"arrival of {name}", lambda s=status: s and s[-1].message.startswith("goal reached"), 100.0)
        topics = {topic for topic, _ in graph.probe.get_topic_names_and_types()}
    shared = {"/diagnostics", "/parameter_events", "/rosout"}
    assert {topic.split("/")[1] for topic in topics - shared} - {"sgp"} == set(rigs)


def test_replay_waits_for_the_clock_of_the_bag_and_sends_no_steps(
    graph: Graph, bundle_path: Path, tmp_path: Path
) -> None:
    status = graph.record(DiagnosticStatus, "status", REPORT_QOS)
    with launched(tmp_path, "replay.launch.py", f"bundle:={bundle_path}"):
        graph.wait("a status", lambda: status, 60.0)
        names = {name for name, _ in graph.probe.get_node_names_and_namespaces()}
    assert "/clock" in status[-1].message
    assert {pair.key: pair.value for pair in status[-1].values}["enabled"] == "false"
    assert names.isdisjoint({"pusher_node", "rig_sim_node"})


def test_rig_launch_puts_file_upon_file(graph: Graph, bundle_path: Path, tmp_path: Path) -> None:
    table, own = tmp_path / "calibration.yaml", tmp_path / "own.yaml"
    place = [1.0, 2.0, 0.5, 0.0, 0.0, 0.1]
    table.write_text(
        "".join(
            f"/**/{node}:\n  ros__parameters:\n    table_from_mocap: {place}\n"
            for node in ("mocap_node", "pusher_node")
        )
    )
    own.write_text("/**/mpc_node:\n  ros__parameters:\n    goal: left\n    workspace_m: [0.2, 0.9, -0.3, 0.3]\n")
    files = ("mocap:=vrpn_mocap_body", "arm:=lbr_fri_twist", f"table:={table}", f"params_file:={own}")
    single = (f"bundle:={bundle_path}", "pusher:=/tool", "arm_topic:=/my_arm", "goal:=right")
    with launched(tmp_path, "rig.launch.py", *files, *single):
        assert parameters(graph, "mocap_node", "input", "table_from_mocap") == ["body_pose", place]
        assert parameters(graph, "mocap_node", "pusher_input", "pusher_topic") == ["pose", "/tool"]
        assert parameters(graph, "mpc_node", "goal", "workspace_m") == ["right", [0.2, 0.9, -0.3, 0.3]]
        assert parameters(graph, "pusher_node", "output", "arm_topic") == ["twist_unstamped", "/my_arm"]
        for node in ("mpc_node", "pusher_node"):
            assert parameters(graph, node, "enabled") == [False]


def ended_by_itself(*arguments: str) -> str:
    """What a launch prints that cannot go on."""
    command = ["ros2", "launch", str(ROOT / "launch" / arguments[0]), *arguments[1:]]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return done.stdout


def test_node_that_refuses_its_settings_ends_the_launch(graph: Graph) -> None:
    assert graph.probe
    told = ended_by_itself("rig.launch.py", "goal:=nowhere")
    assert "'nowhere' is not known" in told
    assert "process[mpc_node-2] was required" in told


def test_unknown_driver_is_told_with_the_known_ones(graph: Graph) -> None:
    assert graph.probe
    told = ended_by_itself("rig.launch.py", "mocap:=vrpn")
    assert all(name in told for name in presets("mocap"))
