"""The demo's own place in the ROS graph: waits for the nodes, sends the goal, watches and records until the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from sgp_core.layout import MarkerLayout
from sgp_core.run_cost import SETTLE_S
from sgp_ros import messages
from sgp_ros.bag_writer import BagWriter
from sgp_ros.observer import Observer, missing_links, strangers
from sgp_ros.processes import LoopError, NodeProcesses, undisturbed
from sgp_ros.recorder import Recorder
from sgp_ros.running import LATCHED_QOS

POLL_S = 0.05
LOOK_EVERY_S = 0.25
# Each of these must have spoken before the goal is sent.
HEARD_FIRST = ("rig/box_pose", "state", "pusher_state", "arm_target", "status")
# After the last step the controller may still find that it has arrived; by then its next cycle is over.
LAST_WORD_S = 0.6
TRUTH_LIMIT_S = 5.0


class Loop:
    """A closed loop of node processes, seen from outside. Ends the nodes before it ends the recording.

    Args:
        nodes: already started.
        bag: folder to record into.
        namespace: of the nodes.
        layout: of the box.
        goal: box pose x [m], y [m], yaw [rad; table].
        step_duration_s: of the bundle.
    """

    def __init__(
        self,
        nodes: NodeProcesses,
        bag: Path,
        namespace: str,
        layout: MarkerLayout,
        goal: tuple[float, float, float],
        step_duration_s: float,
    ) -> None:
        self._nodes, self._namespace, self._goal = nodes, namespace, goal
        self.observer = Observer(layout, goal, namespace, step_duration_s)
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        # Never spun: without parameters and rosout there is nothing to answer.
        self._node = Node(
            "demo", namespace=namespace, context=self._context, enable_rosout=False, start_parameter_services=False
        )
        self._goal_publisher = self._node.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)
        self._recorder = Recorder(self._node, BagWriter(bag), namespace)
        self._look_at_s = 0.0  # monotonic
        self._sent_at_s = 0.0  # system time of the goal

    def wait_until_ready(self, limit_s: float) -> None:
        """Until every node publishes and listens where it should, and data flow.

        Raises:
            LoopError: a node has ended, something is missing after `limit_s` [s], or another loop is there.
        """
        deadline_s = time.monotonic() + limit_s
        while True:
            self._poll()
            self._refuse_strangers()
            missing = missing_links(self._node, self._namespace)
            silent = [topic for topic in HEARD_FIRST if f"/{self._namespace}/{topic}" not in self.observer.seen]
            if not missing and not silent:
                return
            if time.monotonic() > deadline_s:
                words = [text for _, text in missing] or [
                    f"nothing came on /{self._namespace}/{topic}" for topic in silent
                ]
                tails = [self._last_words(node) for node in dict.fromkeys(node for node, _ in missing)]
                raise LoopError("\n".join([f"after {limit_s:.0f} s, {'; '.join(words)}", *tails]))
            time.sleep(POLL_S)

    def _refuse_strangers(self) -> None:
        # A goal and steps for the simulated rig would move the arm of a real one.
        if topics := strangers(self._node, self._namespace):
            raise LoopError(
                f"somebody else publishes {', '.join(topics)} in this ROS domain, and a simulated rig must not share it"
                " with another; leave ROS_DOMAIN_ID unset, or set it to one that nobody uses"
            )

    def push(self, max_steps: int, limit_s: float, tell: Callable[[], None]) -> None:
        """Send the goal, and wait until the controller has arrived.

        Args:
            max_steps: after which waiting ends, too.
            limit_s: time after which it ends in any case [s].
            tell: called after every look at the messages.
        """
        self._refuse_strangers()
        self._sent_at_s = time.time()
        self._goal_publisher.publish(messages.pose_to_msg(self._sent_at_s, *self._goal))
        deadline_s = time.monotonic() + limit_s
        while time.monotonic() < deadline_s and not self._over(max_steps):
            time.sleep(POLL_S)
            self._poll()
            tell()

    @property
    def waited_s(self) -> float:
        """Time since the goal was sent [s]."""
        return time.time() - self._sent_at_s

    def settle(self, max_steps: int) -> float:
        """Wait until SETTLE_S after the last counted step; the true cost then [cm^2].

        Raises:
            LoopError: no true box pose came.
        """
        measured_at_s = max(self._sent_at_s, self.observer.last_step_s(max_steps)) + SETTLE_S
        deadline_s = time.monotonic() + SETTLE_S + TRUTH_LIMIT_S
        while not self.observer.truth_since(measured_at_s):
            if time.monotonic() > deadline_s:
                raise LoopError(
                    f"no box pose came on /{self._namespace}/rig/box_pose\n{self._last_words('rig_sim_node')}"
                )
            time.sleep(POLL_S)
            self._poll()
        return self.observer.cost_cm2(measured_at_s)

    def _over(self, max_steps: int) -> bool:
        seen = self.observer
        if seen.reached or seen.steps > max_steps:
            return True
        return seen.steps == max_steps and time.time() > seen.last_step_s(max_steps) + SETTLE_S + LAST_WORD_S

    def _poll(self) -> None:
        if time.monotonic() >= self._look_at_s:
            self._recorder.look_for_topics()
            self._look_at_s = time.monotonic() + LOOK_EVERY_S
        for received in self._recorder.poll():
            self.observer.take(received)
        ended = self._nodes.ended()
        if ended:
            node, code = next(iter(ended.items()))
            raise LoopError(f"{node} ended by itself with exit code {code}\n{self._last_words(node)}")

    def _last_words(self, node: str) -> str:
        return f"--- last lines of {self._nodes.log(node)}\n{self._nodes.tail(node)}"

    def close(self) -> None:
        """End the nodes, record their last messages, finish the bag, leave the graph."""
        with undisturbed():
            self._nodes.stop()
            for received in self._recorder.poll():
                self.observer.take(received)
            self._recorder.close()
            self._node.destroy_node()
            self._context.try_shutdown()

    def __enter__(self) -> Loop:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
