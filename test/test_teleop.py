"""The keyboard, by a real terminal: keys become steps through a real pusher_node, and marks."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from geometry_msgs.msg import PoseArray, Vector3Stamped
from ros_graph import Graph
from std_msgs.msg import Header

from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SENSOR_QOS

pytestmark = pytest.mark.ros


class Keyboard:
    """teleop_node at the other end of a pseudo terminal."""

    def __init__(self, graph: Graph) -> None:
        self.master, slave = pty.openpty()
        command = [sys.executable, "-P", "-m", "sgp_ros.teleop_node", "--ros-args", "-r", "__ns:=/sgp"]
        self.process = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, env=graph.environment)
        os.close(slave)

    def press(self, keys: str, times: int = 1, every_s: float = 0.05) -> None:
        for _ in range(times):
            os.write(self.master, keys.encode())
            time.sleep(every_s)

    def quit(self, number: signal.Signals | None = None) -> str:
        if number is None:
            self.press("q")
        else:
            self.process.send_signal(number)
        told, _ = self.process.communicate(timeout=10.0)
        assert self.process.returncode == 0
        return told.decode()


@pytest.fixture
def keyboard(graph: Graph):
    made = Keyboard(graph)
    yield made
    made.process.kill()
    os.close(made.master)


class TestTeleop:
    def test_keys_push_through_the_pusher_node_and_are_marked(self, graph: Graph, keyboard: Keyboard) -> None:
        steps = graph.record(Vector3Stamped, "step", RELIABLE_QOS)
        marks = graph.record(Header, "demonstration", REPORT_QOS)
        states = graph.record(PoseArray, "state", SENSOR_QOS)
        graph.start("rig_sim_node", pusher_start="[0.35,0.2]")
        graph.start("mocap_node")
        graph.start("pusher_node", enabled="true")
        graph.wait("states", lambda: len(states) > 5)
        graph.wait("the keyboard", lambda: graph.probe.count_publishers("demonstration") > 0)
        graph.wait("pusher and keyboard", lambda: graph.probe.count_subscribers("step") >= 2)
        start = pusher_of(states[-1])
        time.sleep(1.0)  # what the graph knows is not yet connected, and a mark is said once
        keyboard.press("1")
        # Held until it moves: pusher_node refuses steps as long as nobody takes its commands.
        graph.wait("a motion along x", lambda: keyboard.press("w") or pusher_of(states[-1])[0] > start[0] + 0.03)
        left = "\x1b[D"  # arrow
        graph.wait("a motion along y", lambda: keyboard.press(left) or pusher_of(states[-1])[1] > start[1] + 0.03)
        graph.wait("the release", lambda: not any(step_of(steps[-1])))
        keyboard.press("2")
        graph.wait("both marks", lambda: [mark.frame_id for mark in marks] == ["start", "stop"])
        assert {tuple(np.sign(step_of(step))) for step in steps} == {(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)}
        assert max(np.abs(step_of(step)).max() for step in steps) == pytest.approx(0.04)
        keyboard.press("+")
        keyboard.press("w", times=2)
        graph.wait("a longer step", lambda: step_of(steps[-1])[0] == pytest.approx(0.05))
        keyboard.press("1")
        told = keyboard.quit()
        graph.wait("its last words", lambda: [mark.frame_id for mark in marks][2:] == ["start", "discard"])
        assert not any(step_of(steps[-1]))
        assert "demonstration kept; 40 mm/s" in told
        assert "50 mm/s" in told

    def test_a_signal_leaves_the_pusher_standing(self, graph: Graph, keyboard: Keyboard) -> None:
        steps = graph.record(Vector3Stamped, "step", RELIABLE_QOS)
        graph.wait("the keyboard", lambda: graph.probe.count_publishers("demonstration") > 0)
        graph.wait("its steps", lambda: keyboard.press("s") or len(steps) > 0)
        keyboard.quit(signal.SIGTERM)
        graph.wait("the last step", lambda: not any(step_of(steps[-1])))

    def test_without_a_terminal_it_says_so(self, graph: Graph) -> None:
        graph.start("teleop_node")
        assert graph.wait_exit("teleop_node") == 2
        assert "needs a terminal" in graph.output("teleop_node")


def step_of(message: Vector3Stamped) -> np.ndarray:
    return np.array([message.vector.x, message.vector.y])


def pusher_of(message: PoseArray) -> np.ndarray:
    last = message.poses[-1].position
    return np.array([last.x, last.y])
