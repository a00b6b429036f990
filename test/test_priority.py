"""Real-time scheduling of a node: every thread has it, or the node says why not and runs on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from ros_graph import Graph

from sgp_ros.priority import take_priority

pytestmark = pytest.mark.ros

SAY = "from sgp_ros.priority import take_priority; print(take_priority(10))"
_PR_CAPBSET_DROP, _CAP_SYS_NICE = 24, 23
_LIBC = ctypes.CDLL(None)


def may() -> bool:
    """Whether this user may run with priority 10, tried in a process of its own."""
    attempt = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))"
    return subprocess.run([sys.executable, "-c", attempt], capture_output=True, check=False).returncode == 0


def without_the_right() -> None:
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    _LIBC.prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE, 0, 0, 0)  # of root: from the next program on


def test_refusal_names_value_and_remedy() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SAY], preexec_fn=without_the_right, capture_output=True, text=True, check=True
    )
    assert "realtime_priority = 10 is refused" in run.stdout
    assert "it runs as any other" in run.stdout
    assert "rtprio 90" in run.stdout  # enough for every node: the planner must not be the only one that has it
    assert "limits.d" in run.stdout


def test_a_right_to_less_is_used_up_and_told() -> None:
    """So no node that asks for more ends below one that asks for less."""

    def with_five() -> None:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (5, 5))
        _LIBC.prctl(_PR_CAPBSET_DROP, _CAP_SYS_NICE, 0, 0, 0)

    if resource.getrlimit(resource.RLIMIT_RTPRIO)[1] < 5:
        pytest.skip("RLIMIT_RTPRIO of this user is below 5, and so is that of any program it starts")
    say = SAY + "; import os; print(os.sched_getscheduler(0) == os.SCHED_FIFO, os.sched_getparam(0).sched_priority)"
    run = subprocess.run([sys.executable, "-c", say], preexec_fn=with_five, capture_output=True, text=True, check=True)
    assert "realtime_priority = 10 is refused" in run.stdout
    assert "it runs with 5" in run.stdout
    assert "True 5" in run.stdout


def test_zero_leaves_everything_as_it_is() -> None:
    before = os.sched_getscheduler(0)
    assert take_priority(0) == ""
    assert os.sched_getscheduler(0) == before


def priorities(tasks: Path) -> set[str]:
    """Real-time priorities of the threads of a process, as /proc tells them; 0 for ordinary ones."""
    found = set()
    for thread in tasks.iterdir():
        with contextlib.suppress(OSError):  # it has ended
            found.add((thread / "stat").read_text().rpartition(")")[2].split()[37])
    return found


class TestNode:
    def test_every_thread_has_it_or_the_node_says_why_not(self, graph: Graph) -> None:
        graph.start("mocap_node", realtime_priority=10)
        if not may():
            graph.wait("a warning", lambda: "realtime_priority = 10 is refused" in graph.output("mocap_node"))
            return
        tasks = Path(f"/proc/{graph.pid('mocap_node')}/task")

        graph.wait("real-time scheduling of every thread", lambda: priorities(tasks) == {"10"})

    def test_the_planners_thread_comes_after_the_others_and_a_new_bundle_s_too(
        self, graph: Graph, bundle_path: Path, tmp_path: Path
    ) -> None:
        if not may():
            pytest.skip("this user has no right to a real-time priority")
        graph.start("mpc_node", bundle=bundle_path, realtime_priority=10)
        tasks = Path(f"/proc/{graph.pid('mpc_node')}/task")
        graph.wait("two priorities", lambda: priorities(tasks) == {"10", "9"})
        shutil.copytree(bundle_path, tmp_path / "copy")
        assert graph.set_parameters("mpc_node", bundle=str(tmp_path / "copy")).successful
        graph.wait("the other bundle", lambda: f"{tmp_path / 'copy'} took" in graph.output("mpc_node"))
        graph.wait("two priorities again", lambda: priorities(tasks) == {"10", "9"})
