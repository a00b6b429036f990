"""The launch files: what they offer, and that the processes they start form a working loop."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="no launch_ros: it comes with a ROS installation, not with the ROS wheels")

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from diagnostic_msgs.msg import DiagnosticStatus
from launch import LaunchContext
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launch.utilities import perform_substitutions
from ros_graph import Graph

from sgp_ros.running import REPORT_QOS

ROOT = Path(__file__).parents[1]
FILES = ("sim.launch.py", "rig.launch.py", "replay.launch.py")
OFFERED = {
    "sim.launch.py": {"params_file", "namespace", "bundle", "arm_target", "goal", "rviz"},
    "rig.launch.py": {"params_file", "namespace", "bundle", "arm_target", "goal", "rviz"},
    "replay.launch.py": {"params_file", "namespace", "bundle", "rviz"},
}


@pytest.fixture(scope="module")
def installed() -> None:
    """The launch files look for the package in the ament index."""
    try:
        get_package_prefix("sgp_ros")
    except PackageNotFoundError:
        pytest.skip(
            "sgp_ros is not in the ament index: `pip install .` or colcon puts it there, `pip install -e .` not"
        )


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described_and_has_a_default(name: str) -> None:
    description = get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert set(arguments) == OFFERED[name]
    for argument in arguments.values():
        assert argument.description.endswith(".")
        assert argument.default_value is not None


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", FILES)
def test_default_parameter_file_exists(name: str) -> None:
    description = get_launch_description_from_python_launch_file(str(ROOT / "launch" / name))
    (argument,) = (found for found in description.get_launch_arguments() if found.name == "params_file")
    assert Path(perform_substitutions(LaunchContext(), argument.default_value)).is_file()


@contextmanager
def launched(tmp_path: Path, *arguments: str) -> Iterator[Path]:
    """`ros2 launch` of this checkout's file; ends with Ctrl-C, as a user does. Gives the file with its output."""
    output = tmp_path / "launch.log"
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


@pytest.mark.usefixtures("installed")
def test_sim_launch_pushes_the_box_to_a_named_goal(graph: Graph, bundle_path: Path, tmp_path: Path) -> None:
    status = graph.record(DiagnosticStatus, "status", REPORT_QOS)
    with launched(tmp_path, "sim.launch.py", f"bundle:={bundle_path}", "goal:=0.54,0.0,0.0") as output:
        graph.wait("arrival", lambda: status and status[-1].message.startswith("goal reached"), 90.0)
    text = output.read_text()
    for node in ("mocap_node", "mpc_node", "pusher_node", "rig_sim_node"):
        (line,) = (line for line in text.splitlines() if f"[{node}-" in line and "process has finished" in line)
        assert "cleanly" in line


@pytest.mark.usefixtures("installed")
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
