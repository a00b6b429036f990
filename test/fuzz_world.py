"""Nodes, rig and the ways between them in injected time: what happens when is the events' choice (`fuzz_events`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from fuzz_oracles import Oracles
from geometry_msgs.msg import PoseStamped
from injected import make
from injected_plans import BUNDLE, PUSHER, QUICK, TICK_S, Time, Unsteady

from sgp_ros import messages
from sgp_ros.mocap_node import MocapNode
from sgp_ros.mpc_node import MpcNode
from sgp_ros.pusher_node import PusherNode

LAYOUT = BUNDLE.layout
NODES = {"mocap": (MocapNode, {}), "mpc": (MpcNode, QUICK), "pusher": (PusherNode, PUSHER)}
# Who hears what the nodes publish; everything else is for people.
HEARD_BY = {"state": "mpc", "pusher_state": "mpc", "step": "pusher", "pusher_pose": "pusher"}


Wrong = Callable[[np.ndarray, np.random.Generator], np.ndarray]
WRONG_MARKERS: dict[str, Wrong] = {
    "millimetres": lambda markers, _: 1e3 * markers,
    "jump": lambda markers, dice: markers + dice.choice([0.0, 0.3, -0.2]),
    "nan": lambda markers, _: markers * np.array([np.nan, 1.0]),
    "infinite": lambda markers, _: markers + np.inf,
    "some": lambda markers, dice: np.where(dice.random((len(markers), 1)) < 0.3, np.nan, markers),
    "swapped": lambda markers, _: markers[::-1],
}
WRONG_PUSHER: dict[str, Wrong] = {
    "millimetres": lambda pusher, _: 1e3 * pusher,
    "jump": lambda pusher, dice: pusher + (dice.random() < 0.3) * np.array([0.15, -0.1, 0.0]),
    "nan": lambda pusher, _: pusher * np.nan,
    "origin": lambda pusher, _: 0.0 * pusher,
}


def as_it_is(measured: np.ndarray, _dice: np.random.Generator) -> np.ndarray:
    """A sensor that is well."""
    return measured


class World:
    """Three nodes, a pusher that does what it is told, a box glued to it, and a camera.

    Args:
        seed: of the noise of the markers and of what gets lost.
    """

    def __init__(self, seed: int = 0) -> None:
        self.time, self._random = Time(), np.random.default_rng(seed)
        self.box, self.pusher_m, self.height_m = np.array([0.5, 0.0, 0.0]), np.array([0.41, 0.0]), 0.02
        self.target: PoseStamped | None = None
        self.camera, self.source, self.arm = "fine", "fine", "follows"
        self.ways = dict.fromkeys(HEARD_BY, "fine")
        self.clock_runs = True
        self._under_way: list[tuple[float, str, Any]] = []  # steady time of arrival, topic, message
        self._frozen = self._markers()
        self._last_frame: list[PoseStamped] = []
        self.inputs = 0  # messages heard, ticks and calls
        self.oracles = Oracles(self.time)
        self.nodes: dict[str, Any] = {}
        for name in NODES:
            self.restart(name)
        self.send_goal(0.62, 0.05, 0.0)

    def restart(self, name: str) -> None:
        """A process ends without a word, and another starts."""
        if name == "mpc":
            Unsteady.mood = "fine"  # mpc_node does not start with models that cannot plan
        kind, given = NODES[name]
        self.nodes[name] = make(kind, self.time, self._take, given)
        self.oracles.restarted(name)

    # --- from the nodes

    def _take(self, topic: str, message: Any) -> None:
        if topic == "arm_target":
            self.oracles.target(message)
            self.target = message
        elif topic == "step":
            self.oracles.step(message, self.nodes["mpc"]._worker.taken)
        elif topic == "pusher_state":
            self.oracles.pusher_state(message)
        elif topic == "status":
            assert isinstance(message, DiagnosticStatus)
            self.oracles.status(message)
        if topic in HEARD_BY:
            self._carry(topic, message)

    def _carry(self, topic: str, message: Any) -> None:
        """The way of a message: kept, lost, late, twice, or the other way round."""
        way, now_s = self.ways[topic], self.time.steady_s
        if way == "dead" or (way == "lossy" and self._random.random() < 0.5):
            return
        late_s = {"late": 0.2, "very late": 0.7, "jitter": 0.3 * self._random.random()}.get(way, 0.0)
        self._under_way.append((now_s + late_s, topic, message))
        if way == "twice":
            self._under_way.append((now_s + 0.1, topic, message))

    def hear(self, node: str, topic: str, message: Any) -> None:
        """A message reaches a node."""
        self.inputs += 1
        if topic == "pusher_pose":
            self.oracles.pusher_pose(message)
        elif topic == "state":
            self.oracles.state(message)
        elif topic == "step":
            self.oracles.step_comes(message, self.nodes["pusher"]._step_stamp_ns)
        elif topic == "pusher_state":
            self.oracles.report_heard(message)
        self.nodes[node].hear(topic, message)
        if topic == "step":
            self.oracles.step_came()

    def _deliver(self) -> None:
        for _ in range(4):  # a step is heard in the tick it is sent, and so is the report that it was taken
            here = [entry for entry in self._under_way if entry[0] <= self.time.steady_s + 1e-9]
            if not here:
                return
            self._under_way = [entry for entry in self._under_way if entry[0] > self.time.steady_s + 1e-9]
            for _, topic, message in here:
                self.hear(HEARD_BY[topic], topic, message)

    # --- time

    def tick(self, dt_s: float = TICK_S, *, nodes: bool = True) -> None:
        """Let time pass; without nodes, the computer stood still for so long."""
        self.time.steady_s += dt_s
        self.time.ros_s += dt_s if self.clock_runs else 0.0
        self._move(dt_s)
        self._measure()
        if not nodes:
            return
        self._deliver()
        self.nodes["mpc"]._worker.look()
        for node in self.nodes.values():
            self.inputs += 1
            node.look()
        self._deliver()
        self.oracles.ticked(dt_s)

    def _move(self, dt_s: float) -> None:
        before_m = self.pusher_m
        if self.arm == "by hand":
            self.pusher_m = before_m + np.array([0.02, -0.015])
        elif self.arm != "stuck" and self.target is not None:
            goal = self.target.pose.position
            way_m = np.array([goal.x, goal.y]) - before_m
            reach_m = (0.03 if self.arm == "slow" else 0.4) * dt_s
            self.pusher_m = before_m + way_m * min(1.0, reach_m / max(float(np.linalg.norm(way_m)), 1e-12))
            self.height_m = float(goal.z)
        self.box[:2] += self.pusher_m - before_m

    # --- what is measured

    def _markers(self) -> np.ndarray:
        noise_m = self._random.normal(0.0, 2e-4, (LAYOUT.count, 2))
        return np.asarray(LAYOUT.markers_at(*self.box)) + noise_m

    def _measure(self) -> None:
        """One frame of the camera and one sample of the arm, with what is wrong with them."""
        true = self._markers()
        shown = self._frozen if self.camera == "frozen" else true
        self._frozen = shown
        if self.camera != "silent":
            self._send_frame(WRONG_MARKERS.get(self.camera, as_it_is)(shown, self._random))
        if self.source == "silent":
            return
        pusher_m = np.append(self.pusher_m, self.height_m)
        x_m, y_m, z_m = (float(n) for n in WRONG_PUSHER.get(self.source, as_it_is)(pusher_m, self._random))
        stamp_s = self._stamp_s(self.source)
        self.hear("mocap", "vrpn_mocap/pusher/pose", messages.pose_to_msg(stamp_s, x_m, y_m, z_m=z_m, frame="mocap"))

    def _stamp_s(self, wrong: str) -> float:
        late_s = {"old": -0.8, "future": 0.4, "unstamped": -1e6, "shuffled": -0.15 * self._random.random()}
        return self.time.ros_s + late_s.get(wrong, 0.0)

    def _send_frame(self, markers_m: np.ndarray) -> None:
        stamp_s, frame = self._stamp_s(self.camera), "rig" if self.camera == "frame" else "mocap"
        frames = [messages.pose_to_msg(stamp_s, x_m, y_m, frame=frame) for x_m, y_m in markers_m]
        before, self._last_frame = self._last_frame, frames
        for sent in (frames, before) if self.camera == "twice" else (frames,):
            for name, message in zip(LAYOUT.names, sent, strict=False):
                self.hear("mocap", f"vrpn_mocap/{name}/pose", message)

    # --- what people do

    def send_goal(self, x_m: float, y_m: float, yaw_rad: float) -> None:
        """A box pose on `goal_pose`."""
        self.hear("mpc", "goal_pose", messages.pose_to_msg(0.0, x_m, y_m, yaw_rad))

    def call(self, node: str, service: str, flag: bool | None = None) -> bool:
        """A service, and what the oracles have to know of it."""
        self.inputs += 1
        self.oracles.before_call(node, service, flag)
        done = bool(self.nodes[node].ask(f"~/{service}", flag))
        self.oracles.called(node, service, flag, done)
        return done

    def set(self, node: str, **values: Any) -> bool:
        """Parameters, in one call."""
        self.inputs += 1
        done = bool(self.nodes[node].set_live(**values))
        self.oracles.set(node, values, done)
        return done

    def jump(self, seconds: float) -> None:
        """ROS time is set."""
        self.time.ros_s = max(0.0, self.time.ros_s + seconds)
        self.oracles.clock_set(seconds)
