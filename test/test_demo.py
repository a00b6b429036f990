"""`sgp demo` as a user starts it: its report, and that nothing stays behind however it ends."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from demo_process import demo
from geometry_msgs.msg import PoseStamped, Vector3Stamped
from ros_graph import Graph
from rosbags.highlevel import AnyReader

from sgp_ros.running import REPORT_QOS

pytestmark = pytest.mark.ros

NODES = {"rig_sim_node", "mocap_node", "pusher_node", "mpc_node"}
READY = "nodes ready"


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Output up to the line that holds the words, or to the end."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if words in line:
            return read
    raise AssertionError(f"the demo ended without {words!r}:\n{read}")


def children(process: subprocess.Popen[str]) -> dict[str, int]:
    """Node processes of a demo by node."""
    pids = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    lines = {pid: Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids}
    return {word.removeprefix("sgp_ros."): pid for pid, words in lines.items() for word in words if "sgp_ros." in word}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def bag_counts(bag: Path) -> dict[str, int]:
    """Messages per topic, each of them read back."""
    with AnyReader([bag]) as reader:
        for connection, _, raw in reader.messages():
            reader.deserialize(raw, connection.msgtype)
        return {connection.topic: connection.msgcount for connection in reader.connections}


@pytest.mark.timeout(240)
def test_demo_reaches_the_goal_and_reports_it(finished_demo: Path) -> None:
    summary = json.loads((finished_demo / "summary.json").read_text())
    assert summary["success"] is True
    assert summary["initial_cost_cm2"] == pytest.approx(5 * 21.0**2, rel=0.01)  # five markers, 21 cm from their goals
    assert summary["final_cost_cm2"] <= 5.0
    assert 1 <= summary["steps"] <= 25
    assert 0.0 < summary["plan_ms"]["p50"] <= summary["plan_ms"]["p95"] <= summary["plan_ms"]["max"]
    assert summary["seed"] == 3
    assert set(summary["versions"]) == {"python", "torch", "mujoco", "rclpy", "sgp_ros"}
    assert (finished_demo / "trajectory.png").read_bytes().startswith(b"\x89PNG")
    counts = bag_counts(finished_demo / "bag")
    assert counts["/sgp/goal_pose"] == 1
    # The last step of all may be a hold: a step of zero.
    assert summary["steps"] <= counts["/sgp/step"]
    for topic in ("state", "status", "pusher_state", "arm_target", "plan", "rig/box_pose", "vrpn_mocap/marker1/pose"):
        assert counts[f"/sgp/{topic}"] > 0, topic
    assert counts["/diagnostics"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_no_process_and_a_whole_bag(
    tmp_path: Path, bundle_path: Path, number: signal.Signals
) -> None:
    with demo(tmp_path, "--bundle", str(bundle_path)) as process:
        read_until(process, READY)
        nodes = children(process)
        assert set(nodes) == NODES
        process.send_signal(number)
        output, _ = process.communicate()
    assert process.returncode == 130, output
    assert not [node for node, pid in nodes.items() if alive(pid)]
    assert bag_counts(tmp_path / "bag")["/sgp/state"] > 0
    assert not (tmp_path / "summary.json").exists()


def test_killed_demo_takes_its_nodes_along(tmp_path: Path, bundle_path: Path) -> None:
    with demo(tmp_path, "--bundle", str(bundle_path)) as process:
        read_until(process, READY)
        nodes = children(process)
        handles = [os.pidfd_open(pid) for pid in nodes.values()]
        process.kill()
    for handle in handles:  # readable once the process has ended
        assert select.select([handle], [], [], 20.0)[0]
        os.close(handle)


def test_demo_names_the_node_that_died_and_shows_its_log(tmp_path: Path, bundle_path: Path) -> None:
    with demo(tmp_path, "--bundle", str(bundle_path)) as process:
        read_until(process, READY)
        nodes = children(process)
        os.kill(nodes["mpc_node"], signal.SIGKILL)
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "mpc_node ended by itself with exit code -9" in output
    assert "ready, bundle" in output  # from its log
    assert not [node for node, pid in nodes.items() if alive(pid)]


class TestDomain:
    def test_a_demo_beside_another_rig_gives_up_before_anything_moves(
        self, tmp_path: Path, bundle_path: Path, graph: Graph
    ) -> None:
        """Whoever has set ROS_DOMAIN_ID for a rig must not drive it with a demo."""
        steps = graph.record(Vector3Stamped, "step", REPORT_QOS)
        goals = graph.record(PoseStamped, "goal_pose", REPORT_QOS)
        graph.start("mocap_node")
        graph.wait("the other rig", lambda: graph.probe.count_publishers("state"))
        with demo(tmp_path, "--bundle", str(bundle_path), domain=graph.environment["ROS_DOMAIN_ID"]) as process:
            output, _ = process.communicate()
        assert process.returncode == 1
        assert "somebody else publishes" in output
        assert "/sgp/state" in output
        assert (steps, goals) == ([], [])


def test_demo_without_a_bundle_says_so(tmp_path: Path) -> None:
    with demo(tmp_path / "out", "--bundle", str(tmp_path / "nothing")) as process:
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "holds no bundle.json" in output


def test_demo_shows_the_complaint_of_a_node_that_refuses_its_settings(tmp_path: Path, bundle_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("/**/pusher_node:\n  ros__parameters:\n    step_limit_m: 0.4\n")
    with demo(tmp_path / "out", "--bundle", str(bundle_path), "--params-file", str(wrong)) as process:
        output, _ = process.communicate()
    assert process.returncode == 1
    assert "pusher_node ended by itself with exit code 2" in output
    assert "step_limit_m = 0.4" in output
