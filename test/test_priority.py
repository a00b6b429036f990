"""Real-time scheduling of a node: every thread has it, or the node says why not and runs on."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from ros_graph import Graph

from sgp_ros.priority import take_priority

SAY = "from sgp_ros.priority import take_priority; print(take_priority(10))"
_PR_CAPBSET_DROP, _CAP_SYS_NICE = 24, 23
_LIBC = ctypes.CDLL(None)


def may() -> bool:
    """Whether this user may run with priority 10, tried in a process of its own."""
    try:
        return subprocess.run(["chrt", "--fifo", "10", "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def without_the_right() -> None:
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    _LIBC.prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE, 0, 0, 0)  # of root: from the next program on


def test_refusal_names_value_and_remedy() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SAY], preexec_fn=without_the_right, capture_output=True, text=True, check=True
    )
    assert "realtime_priority = 10 is refused" in run.stdout
    assert "rtprio 10" in run.stdout
    assert "limits.d" in run.stdout


def test_zero_leaves_everything_as_it_is() -> None:
    before = os.sched_getscheduler(0)
    assert take_priority(0) == ""
    assert os.sched_getscheduler(0) == before


class TestNode:
    def test_every_thread_has_it_or_the_node_says_why_not(self, graph: Graph) -> None:
        graph.start("mocap_node", realtime_priority=10)
        if not may():
            graph.wait("a warning", lambda: "realtime_priority = 10 is refused" in graph.output("mocap_node"))
            return
        tasks = Path(f"/proc/{graph.pid('mocap_node')}/task")

        def policies() -> set[int]:
            return {os.sched_getscheduler(int(thread.name)) for thread in tasks.iterdir()}

        graph.wait("real-time scheduling of every thread", lambda: policies() == {os.SCHED_FIFO})
