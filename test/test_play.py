"""A bag played to the nodes, and one recorded from them: real processes, real DDS."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from bag_maker import START_S, BagMaker, pushed
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from ros_graph import Graph

from sgp_core.types import State
from sgp_ros import convert, messages
from sgp_ros.bag_states import Reading, read
from sgp_ros.bags import Bag
from sgp_ros.mocap_settings import load_layout
from sgp_ros.running import LATCHED_QOS, SENSOR_QOS

pytestmark = pytest.mark.ros

LAYOUT = load_layout("")
MANY_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT)
STEPS = [np.array([0.04, 0.0]), np.array([0.03, 0.01])]


def command(*words: object) -> list[str]:
    return [sys.executable, "-c", "from sgp_ros.cli import main; main()", *map(str, words)]


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("play") / "bag"
    with BagMaker(path, LAYOUT) as maker:
        pushed(maker, STEPS)
    return path


def offline(bag: Path) -> dict[int, np.ndarray]:
    """States by stamp [us], without ROS."""
    with Bag(bag) as opened:
        return by_stamp(read(opened, Reading.of("sim.yaml", {"namespace": "sgp"})).states)


def by_stamp(states: list[State]) -> dict[int, np.ndarray]:
    return {round(state.stamp_s * 1e6): state.x for state in states}


def states_of(heard: list[PoseArray]) -> dict[int, np.ndarray]:
    found = [convert.state_from_msg(message, LAYOUT) for message in heard]
    return by_stamp([state for state in found if isinstance(state, State)])


class TestPlay:
    """The node makes the same states of the same bag as the code at a desk."""

    @pytest.mark.parametrize(("words", "share"), [(("--step",), 1.0), ((), 0.99)], ids=["in steps", "in real time"])
    def test_states_are_those_of_a_replay(self, graph: Graph, bag: Path, words: tuple[str, ...], share: float) -> None:
        heard = graph.record(PoseArray, "state", MANY_QOS)
        name = "mocap_step" if words else "mocap"
        graph.start("mocap_node", label=name, use_sim_time="true")
        graph.run("play", *command("play", bag, *words))
        assert graph.wait_exit("play") == 0, graph.output("play")
        # In real time the node's first callbacks of all take so long that the samples after them are lost, and a sample
        # of the pusher that is lost later on is interpolated.
        since = 0.0 if words else START_S * 1e6
        wanted = {stamp: x for stamp, x in offline(bag).items() if stamp >= since}

        def same() -> int:
            found = states_of(heard)
            return sum(stamp in found and np.array_equal(found[stamp], x) for stamp, x in wanted.items())

        graph.wait("the states", lambda: same() >= share * len(wanted), timeout_s=10.0)
        assert len(wanted) >= 200
        assert set(states_of(heard)) <= set(offline(bag))
        graph.stop(name, signal.SIGTERM)

    def test_a_loop_goes_back_in_time_and_on(self, graph: Graph, bag: Path) -> None:
        heard = graph.record(PoseArray, "state", MANY_QOS)
        graph.start("mocap_node", use_sim_time="true")
        graph.run("play", *command("play", bag, "--loop", "--rate", "5"))
        wanted = len(offline(bag))
        graph.wait("the third round", lambda: len(heard) > 2.2 * wanted)
        stamps = [convert.seconds(message.header.stamp) for message in heard]
        assert np.diff(stamps).min() < -1.0
        assert graph.stop("play", signal.SIGINT)[0] == 0, graph.output("play")
        assert "Traceback" not in graph.output("mocap_node")


class TestAlone:
    def test_without_a_listener_it_says_so(self, graph: Graph, bag: Path) -> None:
        graph.run("play", *command("play", bag))
        assert graph.wait_exit("play") == 2
        words = " ".join(graph.output("play").split())
        assert "nobody listens to /sgp/vrpn_mocap/" in words
        assert "use_sim_time:=true" in words


class TestLive:
    def test_a_bag_is_not_played_to_a_live_rig(self, graph: Graph, bag: Path) -> None:
        pusher = graph.probe.create_publisher(DiagnosticArray, "pusher_state", 1)
        graph.start("mocap_node", use_sim_time="true")
        graph.run("play", *command("play", bag))
        assert graph.wait_exit("play") == 2
        words = " ".join(graph.output("play").split())
        assert "pusher_state: somebody publishes that already, and a bag is never played to a live rig" in words
        graph.probe.destroy_publisher(pusher)


class TestLiveLater:
    def test_a_rig_that_comes_alive_ends_it(self, graph: Graph, bag: Path) -> None:
        heard = graph.record(PoseArray, "state", MANY_QOS)
        graph.start("mocap_node", use_sim_time="true")
        graph.run("play", *command("play", bag, "--loop"))
        graph.wait("a state", lambda: len(heard) > 0)
        pusher = graph.probe.create_publisher(DiagnosticArray, "pusher_state", 1)
        assert graph.wait_exit("play") == 2
        assert "pusher_state: somebody publishes that already" in " ".join(graph.output("play").split())
        graph.probe.destroy_publisher(pusher)


class TestRecord:
    def test_what_was_published_is_in_the_bag_however_it_ends(self, graph: Graph, tmp_path: Path) -> None:
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
        publisher = graph.probe.create_publisher(PoseStamped, "recorded", 10)
        driver = graph.probe.create_publisher(PoseStamped, "/vrpn_mocap/marker1/pose", 10)  # of config/mocap
        for number in signals:
            graph.run(number.name, *command("record", "--out", tmp_path / number.name, "--mocap", "vrpn_mocap"))
        graph.wait("the recorders", lambda: driver.get_subscription_count() == publisher.get_subscription_count() == 3)
        for k in range(100):
            for each in (publisher, driver):
                each.publish(messages.pose_to_msg(START_S + k, 0.1, 0.2))
            time.sleep(0.001)
        graph.wait("the disk", lambda: min(file_size(tmp_path / number.name) for number in signals) > 10_000)
        for number in signals:
            code, _ = graph.stop(number.name, number)
            assert code == (0 if number != signal.SIGKILL else -9), graph.output(number.name)
            with Bag(tmp_path / number.name) as bag:
                assert len(list(bag.messages({"/sgp/recorded"}))) == 100
                assert len(list(bag.messages({"/vrpn_mocap/marker1/pose"}))) == 100
                assert bool(bag.damage) == (number == signal.SIGKILL)

    def test_a_publisher_that_promises_less_and_comes_later_is_heard_too(self, graph: Graph, tmp_path: Path) -> None:
        """Goals of a program that stay for those who come later, then one of RViz, which does not."""
        first = graph.probe.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)
        first.publish(messages.pose_to_msg(START_S, 0.1, 0.0))
        graph.run("record", *command("record", "--out", tmp_path / "bag", "--mocap", "vrpn_mocap"))
        graph.wait("the recorder", lambda: first.get_subscription_count() == 1)
        quiet = PublisherEventCallbacks(use_default_callbacks=False)  # rclpy's tells of the first subscription, loudly
        late = graph.probe.create_publisher(PoseStamped, "goal_pose", SENSOR_QOS, event_callbacks=quiet)
        graph.wait("the recorder", lambda: late.get_subscription_count() == 1 and first.get_subscription_count() == 2)
        time.sleep(1.0)  # the recorder's end of the match, which nobody here sees
        for k in range(5):
            first.publish(messages.pose_to_msg(START_S, 0.2, 0.1 * k))
            late.publish(messages.pose_to_msg(START_S, 0.3, 0.1 * k))
            time.sleep(0.2)
        assert graph.stop("record", signal.SIGINT)[0] == 0, graph.output("record")
        with Bag(tmp_path / "bag") as bag:
            found = sorted(message.pose.position.x for _, _, message in bag.messages({"/sgp/goal_pose"}))
        assert found == [0.1] + [0.2] * 5 + [0.3] * 5

    def test_silence_and_an_old_bag_are_told(self, graph: Graph, tmp_path: Path) -> None:
        (tmp_path / "old").mkdir()
        told = {"old": "exists already", "new": "nothing was published below /nobody"}
        for out in told:
            words = ("record", "--out", tmp_path / out, "--duration", "1", "--namespace", "nobody")
            graph.run(f"record_{out}", *command(*words))
        for out, words in told.items():
            assert graph.wait_exit(f"record_{out}") == 2
            assert words in " ".join(graph.output(f"record_{out}").split())


def file_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*.mcap")) if folder.is_dir() else 0
