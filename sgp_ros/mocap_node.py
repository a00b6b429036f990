"""Marker and pusher poses in, states out."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped

from sgp_core.config import Config, EstimatorConfig, FramesConfig, setting
from sgp_core.errors import InputError
from sgp_core.estimation import FrameAssembler, estimate, table_rows
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.share import share_path
from sgp_core.types import MarkerFrame, Reason
from sgp_ros import convert
from sgp_ros.running import SENSOR_QOS, SgpNode, run

SILENT_S = 1.0
WARN_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class MocapNodeConfig(Config):
    """Where the samples come from."""

    layout_file: str = setting(
        "", "YAML file with names and places of the markers; empty takes config/layout.yaml", live=False
    )
    marker_topic: str = setting(
        "vrpn_mocap/{name}/pose", "topic of each marker's PoseStamped; {name} stands for the marker's name", live=False
    )
    pusher_topic: str = setting("vrpn_mocap/pusher/pose", "topic of the measured pusher pose (PoseStamped)", live=False)

    def check(self) -> None:
        """Each marker needs a topic of its own."""
        if "{name}" not in self.marker_topic:
            raise InputError(f"marker_topic = '{self.marker_topic}' must hold {{name}}, one topic per marker")


def load_layout(layout_file: str) -> MarkerLayout:
    """The layout of a file, or the one that comes with the package for "". Raises InputError."""
    return MarkerLayout.load(Path(layout_file) if layout_file else share_path("config", "layout.yaml"))


class MocapNode(SgpNode):
    """Feeds a FrameAssembler with samples and publishes each frame's estimate."""

    def __init__(self) -> None:
        super().__init__("mocap_node", [EstimatorConfig(), FramesConfig(), MocapNodeConfig()])
        own = self.settings.get(MocapNodeConfig)
        self._layout = load_layout(own.layout_file)
        self._assembler = FrameAssembler(self._layout.names, self.settings.get(EstimatorConfig))
        self._counts: Counter[str] = Counter()
        self._last = Fault(reason=Reason.NO_STATE, text="no frame yet")
        self._last_frame_s = self._last_state_s = self.steady_s()
        self._take_settings()
        # Depth 1: only the newest state counts; best effort: a lost one is replaced sooner than it could be sent again.
        self._state = self.create_publisher(PoseArray, "state", SENSOR_QOS)
        for name in self._layout.names:
            topic = own.marker_topic.replace("{name}", name)
            self.create_subscription(PoseStamped, topic, self._marker_callback(name), SENSOR_QOS)
        self.create_subscription(PoseStamped, own.pusher_topic, self._on_pusher, SENSOR_QOS)

    def _take_settings(self) -> None:
        self._config = self.settings.get(EstimatorConfig)
        self._assembler.config = self._config
        self._rows = table_rows(self.settings.get(FramesConfig).table_from_mocap)

    def _marker_callback(self, name: str) -> Callable[[PoseStamped], None]:
        def on_marker(message: PoseStamped) -> None:
            position = convert.measured_point_of(message, self._rows)
            self._publish(self._assembler.add_marker(name, convert.seconds(message.header.stamp), position))

        return on_marker

    def _on_pusher(self, message: PoseStamped) -> None:
        position = convert.measured_point_of(message, self._rows)
        self._publish(self._assembler.add_pusher(convert.seconds(message.header.stamp), position))

    def _publish(self, frames: Sequence[MarkerFrame]) -> None:
        for frame in frames:
            if self.settings.changed():
                self._take_settings()
            self._last_frame_s = self.steady_s()
            state = estimate(frame, self._layout, self._config)
            if isinstance(state, Fault):
                self._counts[state.reason] += 1
                self._last = state
                # A frame now and then is lost to load or hands in the view; that is for the counters, not for the log.
                if self.steady_s() - self._last_state_s > SILENT_S:
                    self.get_logger().warning(f"{state.reason}: {state.text}", throttle_duration_sec=WARN_EVERY_S)
                continue
            self._last_state_s = self.steady_s()
            hidden = int((~frame.visible).sum())
            self._counts["states"] += 1
            self._last = Fault(
                reason=Reason.RUNNING, text=f"{self._layout.count - hidden} of {self._layout.count} markers visible"
            )
            self._state.publish(convert.state_to_msg(state))

    def diagnostics(self) -> DiagnosticStatus:
        """Frames, hidden markers, late samples, and how often a frame gave no state, by reason."""
        silent_s = self.steady_s() - self._last_frame_s
        condition = self._last
        if silent_s > SILENT_S:
            condition = Fault(
                reason=Reason.NO_STATE, text=f"no frame for {silent_s:.1f} s; is the mocap driver running?"
            )
        counts = {name: self._assembler.counts[name] for name in ("frames", "hidden", "late", "cleared")}
        refused = {reason.value: self._counts[reason] for reason in (Reason.BAD_STATE, Reason.NO_PUSHER)}
        return convert.report("sgp/mocap_node", condition, {"states": self._counts["states"], **counts, **refused})


def main() -> int:
    """Run the node."""
    return run(MocapNode)


if __name__ == "__main__":
    sys.exit(main())
