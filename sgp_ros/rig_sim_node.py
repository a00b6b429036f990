"""The simulated rig as a node: publishes what a real rig's drivers publish, and besides only the true box pose."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from numpy import ndarray
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import PointCloud2

from sgp_core.config import Config, SimConfig, setting
from sgp_core.errors import InputError
from sgp_core.safety import Fault
from sgp_core.sim.rig import TOOL_HEIGHT_M, Rig
from sgp_core.types import Reason
from sgp_ros import convert, messages
from sgp_ros.mocap_node import load_layout
from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SENSOR_QOS, SgpNode, run

# After a pause of the process the physics catch up by at most this, then time is lost instead: a pause must not end in
# a burst of computing that makes the next pause.
CATCH_UP_S = 0.1
RELEASE_PERIOD_S = 0.005
TRUTH_RATE_HZ = 25.0
OUTPUTS = ("poses", "cloud")


@dataclass(frozen=True, kw_only=True)
class RigNodeConfig(Config):
    """How the rig starts."""

    layout_file: str = setting(
        "", "YAML file with names and places of the markers; empty takes config/layout.yaml", live=False
    )
    box_start: tuple[float, ...] = setting(
        (0.50, 0.0, 0.0), "pose of the box at the start: x, y in m, yaw in rad", low=-10.0, high=10.0, live=False
    )
    pusher_start: tuple[float, ...] = setting(
        (0.41, 0.0, TOOL_HEIGHT_M),
        "position of the pusher at the start: x, y, and height of the tool",
        unit="m",
        low=-10.0,
        high=10.0,
        live=False,
    )
    marker_output: str = setting(
        "poses",
        "what the camera publishes: poses (a PoseStamped per marker, vrpn_mocap/NAME/pose) or cloud (one PointCloud2"
        " without labels, pointCloud)",
        live=False,
    )
    publish_clock: bool = setting(
        False, "whether to publish simulated time on /clock, for nodes with use_sim_time", live=False
    )

    def check(self) -> None:
        """Three numbers for the box; for the pusher, too, or two, and it starts at the height at which it pushes."""
        if self.marker_output not in OUTPUTS:
            raise InputError(f"marker_output = '{self.marker_output}' must be one of {', '.join(OUTPUTS)}")
        if len(self.box_start) != 3 or len(self.pusher_start) not in (2, 3):
            raise InputError(
                f"box_start = {self.box_start} needs x, y, yaw; pusher_start = {self.pusher_start} needs x, y and"
                " perhaps a height"
            )


class RigSimNode(SgpNode):
    """Lets the physics run in real time and plays camera, arm encoder and their faults."""

    def __init__(self) -> None:
        super().__init__("rig_sim_node", [SimConfig(), RigNodeConfig()])
        own = self.settings.get(RigNodeConfig)
        self._config = self.settings.get(SimConfig)
        layout = load_layout(own.layout_file)
        x_m, y_m, yaw_rad = own.box_start
        pusher_x_m, pusher_y_m, height_m = (*own.pusher_start, TOOL_HEIGHT_M)[:3]
        self._rig = Rig(layout, self._config, (x_m, y_m, yaw_rad), (pusher_x_m, pusher_y_m), height_m)
        self._random = np.random.default_rng(self._config.seed)
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()  # (steady time of publication, what to do)
        self._advanced_s = self.steady_s()
        self._frames = 0
        names, self._cloud = layout.names, None
        if own.marker_output == "cloud":
            names, self._cloud = (), self.create_publisher(PointCloud2, "pointCloud", SENSOR_QOS)
        *self._markers, self._pusher = [
            self.create_publisher(PoseStamped, f"vrpn_mocap/{name}/pose", SENSOR_QOS) for name in (*names, "pusher")
        ]
        self._truth = self.create_publisher(PoseStamped, "rig/box_pose", REPORT_QOS)
        self._clock_publisher = self.create_publisher(ClockMessage, "/clock", SENSOR_QOS) if own.publish_clock else None
        self.create_subscription(PoseStamped, "arm_target", self._on_arm_target, RELIABLE_QOS)
        self.create_subscription(PoseStamped, "rig/put_box", self._on_put_box, RELIABLE_QOS)
        self.create_timer(1.0 / self._config.marker_rate_hz, self._on_frame, clock=self.steady_clock)
        self.create_timer(RELEASE_PERIOD_S, self._release, clock=self.steady_clock)

    def _on_arm_target(self, message: PoseStamped) -> None:
        target_m = convert.table_point_of(message)
        if isinstance(target_m, Fault):
            self.get_logger().warning(f"arm_target ignored: {target_m.text}", throttle_duration_sec=2.0)
            return
        height_m = float(message.pose.position.z)
        self._rig.set_target(target_m, height_m if np.isfinite(height_m) else None)

    def _on_put_box(self, message: PoseStamped) -> None:
        """What a hand does between two demonstrations."""
        try:
            self._rig.put_box(convert.box_pose_of(message))
        except InputError as error:
            self.get_logger().warning(f"rig/put_box ignored: {error}")

    def _stamp_s(self) -> float:
        """Time of a measurement: simulated when this node is the clock, else the time everybody has."""
        return self.now_s() if self._clock_publisher is None else self._rig.time_s

    def _on_frame(self) -> None:
        if self.settings.changed():
            self._config = self.settings.get(SimConfig)
        steady_s = self.steady_s()
        self._advanced_s = max(self._advanced_s, steady_s - CATCH_UP_S)
        before_s = self._rig.time_s
        self._rig.advance(steady_s - self._advanced_s)
        # The physics run in whole steps; what is left over counts for the next frame.
        self._advanced_s += self._rig.time_s - before_s
        stamp_s = self._stamp_s()
        if self._clock_publisher is not None:
            self._clock_publisher.publish(ClockMessage(clock=messages.stamp(stamp_s)))
        self._measure(stamp_s, steady_s)
        self._frames += 1
        if self._frames % max(1, round(self._config.marker_rate_hz / TRUTH_RATE_HZ)) == 0:
            self._truth.publish(messages.pose_to_msg(stamp_s, *self._rig.box_pose()))

    def _measure(self, stamp_s: float, steady_s: float) -> None:
        """One camera frame; a hidden marker and a lost frame are silence, as with most drivers."""
        markers = self._rig.markers()
        noisy = markers + self._random.normal(0.0, self._config.marker_noise_m, markers.shape)
        hidden = self._random.random(len(noisy)) < self._config.occlusion
        if self._random.random() < self._config.dropout:
            return
        # An arm's encoders are taken as exact, and nobody stands between them and the camera.
        pusher = np.append(self._rig.pusher(), self._rig.height())
        self._waiting.append((steady_s + self._config.delay_s, lambda: self._publish(stamp_s, noisy, hidden, pusher)))
        self._release()

    def _publish(self, stamp_s: float, markers: ndarray, hidden: ndarray, pusher: ndarray) -> None:
        for publisher, (x_m, y_m), away in zip(self._markers, markers, hidden, strict=False):
            if not away:
                publisher.publish(messages.pose_to_msg(stamp_s, x_m, y_m, frame=convert.MOCAP))
        if self._cloud is not None:
            seen = np.column_stack([markers, np.zeros(len(markers))])[~hidden]
            self._cloud.publish(messages.cloud_to_msg(stamp_s, convert.MOCAP, self._random.permutation(seen)))
        x_m, y_m, z_m = pusher
        self._pusher.publish(messages.pose_to_msg(stamp_s, x_m, y_m, z_m=z_m, frame=convert.MOCAP))

    def diagnostics(self) -> DiagnosticStatus:
        """That this is a simulation, and what it plays."""
        x_m, y_m, yaw_rad = self._rig.box_pose()
        text = f"simulated: camera at {self._config.marker_rate_hz:g} Hz and arm; nothing of this is real"
        values: dict[str, object] = {"frames": self._frames, "box_x_m": x_m, "box_y_m": y_m, "box_yaw_rad": yaw_rad}
        return messages.report(self.report_name, Fault(reason=Reason.RUNNING, text=text), values)

    def _release(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.steady_s():
            self._waiting.popleft()[1]()


def main() -> int:
    """Run the node."""
    return run(RigSimNode)


if __name__ == "__main__":
    sys.exit(main())
