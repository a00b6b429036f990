"""The loop that faults are done to: four nodes and a relay between them, and how to bring it into each phase."""

from __future__ import annotations

import enum
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from fault_relay import BEFORE, CLOCK, MARKERS, PUSHER_SOURCE, Disturbance
from fault_watch import BOX, DIAGNOSTICS, PUSHER, PUSHER_STATE, STATE, STATUS, Watch
from geometry_msgs.msg import PoseStamped
from numpy import ndarray
from ros_bench import LAYOUT, values_of, xy
from ros_graph import TIMEOUT_S, Graph
from std_srvs.srv import SetBool, Trigger

from sgp_core.types import Reason
from sgp_ros import convert, messages
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS

NODES = ("rig_sim_node", "mocap_node", "pusher_node", "mpc_node")
SENT = {  # what goes through the relay
    "rig_sim_node": (*MARKERS, PUSHER_SOURCE),
    "mocap_node": (STATE, "pusher_pose"),
    "pusher_node": ("pusher_state", "arm_target"),
    "mpc_node": ("step",),
}
MARKER_RATE_HZ = 50.0  # of config/sim.yaml
LOOK_S = 0.03
STAND_S = 0.4
GAP_M = 0.004  # between pusher and box, where a push begins
AWAY_M = 0.06  # the same, where a walk round the box begins
PUSH_M = 0.15  # from the box to its goal
MIDDLE_X_M = 0.62  # of the workspace
REACH_Y_M = 0.15  # further to the side than this, a push leads back as well
PUSHED_M, PUSHED_MPS, WALK_MPS = 0.008, 0.005, 0.03


class Phase(enum.StrEnum):
    """What the loop is doing when a fault strikes."""

    BEFORE = "before the first step"
    PUSH = "mid-push"
    WALK = "walking"
    GOAL = "at the goal"


class NotReadyError(RuntimeError):
    """The loop did not come into the phase in which a fault was to strike; no promise was tested."""


class Scene:
    """Real processes; ends them with the `with` block.

    Args:
        folder: for logs.
        bundle: model bundle.
        sim_time: the rig is the clock, and goes through the relay like everything else.
        graph: to use; made here when left out.
    """

    def __init__(self, folder: Path, bundle: Path, *, sim_time: bool = False, graph: Graph | None = None) -> None:
        self.folder, self.sim_time, self.bundle = folder, sim_time, bundle
        self._own = graph is None
        self.graph = graph or Graph(folder)
        self.watch = Watch(self.graph.context)
        self.running: set[str] = set()
        self._goal = self._goal_publisher()
        self._put = self.graph.probe.create_publisher(PoseStamped, "rig/put_box", RELIABLE_QOS)
        self.goal_pose: tuple[float, float, float] | None = None
        relay = str(Path(__file__).with_name("fault_relay.py"))
        self.graph.run("relay", sys.executable, relay, "--ros-args", "-r", "__ns:=/sgp")
        for node in NODES:
            self.start(node)

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.close()
        if self._own:
            self.graph.__exit__(kind, error, trace)

    # --- processes

    def start(self, node: str, **parameters: object) -> None:
        """Start a node as it is in the loop; the rig goes on where the arm and the box stand."""
        remap = {topic: f"{BEFORE}/{topic}" for topic in SENT[node]}
        if node == "rig_sim_node":
            parameters = {"marker_rate_hz": MARKER_RATE_HZ, **self._places(), **parameters}
            if self.sim_time:
                parameters["publish_clock"] = True
                remap["/clock"] = f"{BEFORE}/{CLOCK}"
        elif self.sim_time:
            parameters["use_sim_time"] = True
        if node == "mpc_node":
            parameters = {"bundle": self.bundle, **parameters}
        self.graph.start(node, remap=remap, **parameters)
        self.running.add(node)

    def kill(self, node: str) -> None:
        """With SIGKILL: it cannot say or do anything any more."""
        self.graph.stop(node, signal.SIGKILL)
        self.running.discard(node)

    def _places(self) -> dict[str, object]:
        """Where a new rig begins; a box that the pusher leans on is moved away from it a little."""
        if not self.watch.seen[PUSHER] or not self.watch.seen[BOX]:
            return {}
        pusher, (x_m, y_m, yaw_rad) = self.newest(PUSHER).pose.position, convert.box_pose_of(self.newest(BOX))
        away = np.array([x_m - pusher.x, y_m - pusher.y])
        x_m, y_m = np.array([x_m, y_m]) + GAP_M * away / np.linalg.norm(away)
        return {
            "pusher_start": [float(pusher.x), float(pusher.y), float(pusher.z)],
            "box_start": [float(x_m), float(y_m), float(yaw_rad)],
        }

    # --- looking

    def newest(self, topic: str) -> Any:
        """Last message of a topic; None before the first one."""
        seen = self.watch.seen[topic]
        return seen[-1].message if seen else None

    def observe(self, duration_s: float) -> None:
        """Let time pass and look."""
        until_s = time.monotonic() + duration_s
        while time.monotonic() < until_s:
            self.watch.poll()
            time.sleep(LOOK_S)
        self.watch.poll()

    def wait(self, what: str, condition: Callable[[], Any], limit_s: float = TIMEOUT_S) -> Any:
        """Look until something is true.

        Raises:
            TimeoutError: it did not become true in time.
        """
        until_s = time.monotonic() + limit_s
        while True:
            self.watch.poll()
            if found := condition():
                return found
            if time.monotonic() > until_s:
                status, pusher = self.newest(STATUS), self.report()
                raise TimeoutError(
                    f"no {what} within {limit_s:g} s; status: {status and values_of(status)['reason']}"
                    f" {status and status.message}; pusher: {pusher and pusher.condition}"
                )
            time.sleep(LOOK_S)

    def reason(self, from_s: float = 0.0) -> str:
        """The newest reason on `status`; empty when none came since an instant [s; system time]."""
        seen = self.watch.since(STATUS, from_s)
        return values_of(seen[-1].message)["reason"] if seen else ""

    def report(self) -> convert.PusherReport | None:
        """The newest of pusher_node."""
        message = self.newest(PUSHER_STATE)
        return None if message is None else convert.pusher_report_from_msg(message)

    def speed_mps(self, topic: str) -> float:
        """Of pusher or box over the last third of a second."""
        times_s, places_m = self.watch.track(topic, time.time() - 0.35)
        return float(np.linalg.norm(places_m[-1] - places_m[0]) / 0.35) if len(times_s) > 2 else 0.0

    def place(self, topic: str) -> ndarray:
        """Where pusher or box are (2,) [m; table]."""
        return xy(self.newest(topic))

    # --- acting

    def disturb(self, disturbance: Disturbance | None) -> None:
        """Tell the relay; None ends every fault."""
        fault = disturbance.to_json() if disturbance else ""
        result = self.graph.set_parameters("fault_relay", fault=fault)
        assert result.successful, result.reason

    def enable(self, node: str, on: bool) -> bool:
        """Whether the node agreed."""
        return bool(self.graph.call(SetBool, f"{node}/enable", SetBool.Request(data=on)).success)

    def trigger(self, service: str) -> bool:
        """Whether it succeeded."""
        return bool(self.graph.call(Trigger, service, Trigger.Request()).success)

    def give_goal(self, pose: tuple[float, float, float]) -> None:
        """A box pose x [m], y [m], yaw [rad; table]."""
        self.goal_pose = pose
        self._goal.publish(messages.pose_to_msg(0.0, *pose))

    def goals(self, poses: list[tuple[float, float, float]]) -> None:
        """One right after the other."""
        for pose in poses:
            self.give_goal(pose)

    def forget_goal(self) -> None:
        """A controller that starts now is told none."""
        self.graph.probe.destroy_publisher(self._goal)
        self._goal = self._goal_publisher()

    def _goal_publisher(self) -> Any:
        return self.graph.probe.create_publisher(PoseStamped, "goal_pose", LATCHED_QOS)

    # --- phases

    def make_ready(self) -> None:
        """Everything runs, nothing is latched, and nothing moves."""
        self.disturb(None)
        for node in NODES:
            if node not in self.running:
                self.start(node)
        self.wait("messages of all nodes", lambda: all(self.watch.seen[t] for t in (PUSHER, BOX, STATE, PUSHER_STATE)))
        self.enable("mpc_node", False)
        self.recover(lambda: (r := self.report()) is not None and r.condition.reason == Reason.RUNNING)
        self.wait("a pusher that stands", lambda: self.speed_mps(PUSHER) < 0.002, 10.0)

    def recover(self, done: Callable[[], Any], limit_s: float = TIMEOUT_S) -> list[str]:
        """Do what the documentation says until the loop runs again.

        Returns:
            The calls it took.
        """
        calls: list[str] = []

        def help_and_look() -> Any:
            report = self.report()
            fresh = bool(self.watch.since(PUSHER_STATE, time.time() - 0.3))
            for wanted, call in (
                (fresh and report is not None and report.faulted, "clear_fault"),
                (fresh and report is not None and not report.faulted and not report.enabled, "enable"),
            ):
                if wanted:
                    done_it = (
                        self.trigger("pusher_node/clear_fault")
                        if call == "clear_fault"
                        else self.enable("pusher_node", True)
                    )
                    if done_it and call not in calls:
                        calls.append(call)
                    self.observe(0.1)
            return done()

        self.wait("recovery", help_and_look, limit_s)
        return calls

    def prepare(self, phase: Phase) -> None:
        """Bring the loop into a phase."""
        if phase == Phase.BEFORE:
            self.forget_goal()
            if "mpc_node" in self.running:
                self.graph.stop("mpc_node", signal.SIGTERM)
                self.running.discard("mpc_node")
        self.make_ready()
        self.put_box(GAP_M if phase != Phase.WALK else AWAY_M)
        from_s = time.time()
        if phase == Phase.BEFORE:
            self.enable("mpc_node", True)
            self.wait("NO_GOAL", lambda: self.reason(from_s) == Reason.NO_GOAL)
        elif phase == Phase.GOAL:
            assert self.trigger("mpc_node/set_goal_from_state")
            self.enable("mpc_node", True)
            self.wait("GOAL_REACHED", lambda: self.reason(from_s) == Reason.GOAL_REACHED)
        else:
            self.give_push(behind=phase == Phase.WALK)
            self.enable("mpc_node", True)
            begin_m = self.place(BOX)
            self.wait(str(phase), lambda: self._is_under_way(phase, begin_m))

    def _is_under_way(self, phase: Phase, begin_m: ndarray) -> bool:
        pushed_m = float(np.linalg.norm(self.place(BOX) - begin_m))
        if phase == Phase.WALK:
            return self.speed_mps(PUSHER) > WALK_MPS and pushed_m < PUSHED_M / 4
        return pushed_m > PUSHED_M and self.speed_mps(BOX) > PUSHED_MPS and self.speed_mps(PUSHER) > PUSHED_MPS

    def put_box(self, gap_m: float) -> None:
        """On the side of the pusher where there is more room, and stand the box straight."""
        pusher_m = self.place(PUSHER)
        self._side = 1.0 if pusher_m[0] < MIDDLE_X_M else -1.0
        apart_m = LAYOUT.pusher_radius_m + 0.5 * LAYOUT.box_size_m[0] + gap_m
        box = (float(pusher_m[0]) + self._side * apart_m, float(pusher_m[1]), 0.0)
        self._put.publish(messages.pose_to_msg(0.0, *box))
        self.wait("a box that was put there", lambda: np.linalg.norm(self.place(BOX) - box[:2]) < 0.002)
        self.observe(STAND_S)

    def give_push(self, *, behind: bool) -> None:
        """A goal away from the pusher; `behind`, one on its side, so that it has to walk round the box first."""
        box_m = self.place(BOX)
        y_m = float(np.clip(box_m[1], -REACH_Y_M, REACH_Y_M))
        side = -self._side if behind else self._side
        self.give_goal((float(box_m[0]) + side * PUSH_M, y_m, 0.0))

    # --- other processes

    def spawn(self, *command: str) -> subprocess.Popen[str]:
        """One that is to disturb; whoever starts it ends it."""
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.graph.environment
        )

    def diagnostics_of(self, name: str) -> Any:
        """The newest entry of a node; None before the first one."""
        for one in reversed(self.watch.seen[DIAGNOSTICS]):
            for status in one.message.status:
                if status.name == name:
                    return status
        return None
