"""What mpc_node publishes."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Vector3Stamped
from jaxtyping import Float
from nav_msgs.msg import Path
from numpy import ndarray
from rclpy.duration import Duration
from visualization_msgs.msg import MarkerArray

from sgp_core.bundle import ModelBundle
from sgp_core.safety import Fault
from sgp_core.types import Goal, Plan
from sgp_ros import convert, messages
from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SgpNode

HEARD_S = 0.15  # of the second that a node's end may take


class MpcOutput:
    """Steps for the pusher, the status for people, plans for whoever looks."""

    def __init__(self, node: SgpNode) -> None:
        self._logger = node.get_logger()
        self._step = node.create_publisher(Vector3Stamped, "step", RELIABLE_QOS)
        self._status = node.create_publisher(DiagnosticStatus, "status", REPORT_QOS)
        self._path = node.create_publisher(Path, "plan", RELIABLE_QOS)
        self._markers = node.create_publisher(MarkerArray, "plan_markers", RELIABLE_QOS)

    def step(self, stamp_s: float, u: Float[ndarray, "2"]) -> int:
        """Send a step [m; table] that begins at a time [s; ROS time]; returns its stamp [ns]."""
        message = messages.step_to_msg(stamp_s, u)
        self._step.publish(message)
        return convert.stamp_ns(message.header.stamp)

    def wait_until_heard(self) -> None:
        """Until everybody who listens to `step` has the last one, or HEARD_S.

        What a lost packet took along is sent again only while this process lives.
        """
        try:
            heard = self._step.wait_for_all_acked(Duration(seconds=HEARD_S))
        except RuntimeError:  # a middleware that cannot tell
            return
        if not heard:
            self._logger.warning(f"nobody confirmed the last step within {HEARD_S:g} s; is pusher_node alive?")

    def status(self, condition: Fault, values: dict[str, object]) -> None:
        """Say why a step was, or was not, sent."""
        self._status.publish(messages.report("sgp/mpc", condition, values))

    def plan(self, plan: Plan, goal: Goal, bundle: ModelBundle) -> None:
        """Built only while somebody looks."""
        if self._path.get_subscription_count() > 0:
            self._path.publish(messages.plan_to_path(plan, bundle.step_duration_s))
        if self._markers.get_subscription_count() > 0:
            self._markers.publish(messages.plan_to_markers(plan, bundle.layout, goal))
