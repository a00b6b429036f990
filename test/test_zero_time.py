"""ROS time that falls to zero under a pusher_node that was already at work: its watchdogs go on."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import Graph
from std_srvs.srv import Trigger

from sgp_core.types import Reason
from sgp_ros import convert
from sgp_ros.running import REPORT_QOS

pytestmark = pytest.mark.ros


class TestZeroTime:
    def test_silence_is_seen_a_stop_latches_and_it_goes_on_once_time_is_back(self, graph: Graph) -> None:
        """As by use_sim_time where nobody publishes /clock, or a simulation that was reset and stays paused."""
        states = graph.record(DiagnosticArray, "pusher_state", REPORT_QOS)

        def says(reason: Reason) -> bool:
            return bool(states) and convert.pusher_report_from_msg(states[-1]).condition.reason == reason

        for node in ("rig_sim_node", "mocap_node"):
            graph.start(node)
        graph.start("pusher_node", enabled="true")
        graph.wait("a pusher that is ready", lambda: says(Reason.RUNNING))
        graph.set_parameters("pusher_node", use_sim_time=True)
        graph.wait("a pusher that is not seen", lambda: says(Reason.NO_PUSHER))
        assert graph.call(Trigger, "pusher_node/stop", Trigger.Request()).success
        graph.wait("a stop that is latched", lambda: says(Reason.STOPPED))
        assert not graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success
        graph.set_parameters("pusher_node", use_sim_time=False)
        graph.wait("cleared", lambda: graph.call(Trigger, "pusher_node/clear_fault", Trigger.Request()).success)
        graph.wait("a pusher that is ready again", lambda: says(Reason.RUNNING))
