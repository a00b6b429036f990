"""Marker and pusher samples in, states and the pusher's pose out."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseArray, PoseStamped
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import EstimatorConfig, FramesConfig
from sgp_core.frames import Frames
from sgp_core.perception import Perceived, Perception
from sgp_core.safety import Fault
from sgp_core.types import Reason
from sgp_ros import messages
from sgp_ros.mocap_settings import MocapNodeConfig, load_layout
from sgp_ros.running import SENSOR_QOS, SgpNode, run
from sgp_ros.sources import Sources

SILENT_S = 1.0
RECENT_S = 2.0
WARN_EVERY_S = 5.0
# A stamp further than this from ROS time on arrival comes from another clock; every state would be stale.
CLOCK_APART_S = 0.5


class MocapNode(SgpNode):
    """The sink of all samples: lets them be assembled and judged, and publishes what is believed."""

    def __init__(self) -> None:
        super().__init__("mocap_node", [EstimatorConfig(), FramesConfig(), MocapNodeConfig()])
        own, config = self.settings.get(MocapNodeConfig), self.settings.get(EstimatorConfig)
        self._layout = load_layout(own.layout_file)
        self._perception = Perception(self._layout, config)
        self._counts: Counter[str] = Counter()
        self._last = Fault(reason=Reason.NO_STATE, text="no markers have come yet; start the motion-capture driver")
        self._pusher_fault: tuple[float, str] | None = None
        self._apart_s = 0.0  # age of the last state's stamp when it was published
        self._last_frame_s = self._last_state_s = self.steady_s()
        # Depth 1: only the newest counts; best effort: a lost one is replaced sooner than it could be sent again.
        self._state = self.create_publisher(PoseArray, "state", SENSOR_QOS)
        self._pusher_pose = self.create_publisher(PoseStamped, "pusher_pose", SENSOR_QOS)
        frames = Frames(self.settings.get(FramesConfig))
        self._sources = Sources(self, own, frames, self._layout, self)

    # --- samples, from the sources

    def marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> None:
        """See `samples.Sink`."""
        self._take(self._perceiving().marker(name, stamp_s, position_m))

    def frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> None:
        """See `samples.Sink`."""
        self._take(self._perceiving().frame(stamp_s, positions_m))

    def points(self, stamp_s: float, points_m: Float[ndarray, "M 2"]) -> None:
        """See `samples.Sink`."""
        self._take(self._perceiving().points(stamp_s, points_m))

    def pusher(self, stamp_s: float, position_m: Float[ndarray, "3"], turn: Float[ndarray, "3 3"] | None) -> None:
        """See `samples.Sink`."""
        found = self._perceiving().pusher(stamp_s, position_m)
        if isinstance(found, Fault):
            self._counts["pusher_refused"] += 1
            self._pusher_fault = (self.steady_s(), found.text)
            return
        self._pusher_pose.publish(messages.pusher_to_msg(stamp_s, position_m, turn))
        self._take(found)

    # --- states

    def _perceiving(self) -> Perception:
        """With the settings of now."""
        if self.settings.changed():
            self._perception.config = self.settings.get(EstimatorConfig)
        return self._perception

    def _take(self, frames: Sequence[Perceived]) -> None:
        for frame in frames:
            self._last_frame_s = self.steady_s()
            state = frame.found
            if isinstance(state, Fault):
                self._refuse(state)
                continue
            self._last_state_s = self._last_frame_s
            self._apart_s = self.now_s() - state.stamp_s
            self._counts["states"] += 1
            text = f"{frame.visible} of {self._layout.count} markers visible"
            self._last = Fault(reason=Reason.RUNNING, text=text)
            self._state.publish(messages.state_to_msg(state))

    def _refuse(self, fault: Fault) -> None:
        self._counts[fault.reason] += 1
        self._last = fault
        # A frame now and then is lost to load or hands in the view; that is for the counters, not for the log.
        if self.steady_s() - self._last_state_s > SILENT_S:
            self.get_logger().warning(f"{fault.reason}: {self._words()}", throttle_duration_sec=WARN_EVERY_S)

    # --- diagnostics

    def _condition(self) -> Fault:
        silent_s = self.steady_s() - self._last_frame_s
        if silent_s > SILENT_S:
            return Fault(reason=Reason.NO_STATE, text=self._words(f"no frame for {silent_s:.1f} s"))
        if self._last.reason == Reason.RUNNING and abs(self._apart_s) > CLOCK_APART_S:
            text = (
                f"stamps are {self._apart_s:+.2f} s old on arrival: synchronise the clock of the driver's computer, or"
                " set stamp_source: receive"
            )
            return Fault(reason=Reason.STALE_STATE, text=text)
        return Fault(reason=self._last.reason, text=self._words())

    def _words(self, verdict: str = "") -> str:
        """A verdict, or else the last one, and what is known of its cause."""
        words = [verdict or self._last.text]
        if verdict or self._last.reason == Reason.NO_PUSHER:
            words.append(self._sources.silence(SILENT_S))
        if self._pusher_fault is not None and self.steady_s() - self._pusher_fault[0] < RECENT_S:
            words.append(self._pusher_fault[1])
        if time.monotonic() - self._sources.refused_s < RECENT_S:
            words.append(self._sources.refusal)
        return "; ".join(filter(None, words))

    def diagnostics(self) -> DiagnosticStatus:
        """The verdict in words with what to do; counters since the start; the quality of each marker."""
        counts, refused = self._sources.counts, (Reason.BAD_STATE, Reason.FROZEN_STATE, Reason.NO_PUSHER)
        values: dict[str, object] = {
            "input": self.settings.get(MocapNodeConfig).input,
            "states": self._counts["states"],
            **{name: self._perception.assembler.counts[name] for name in ("frames", "hidden", "late", "cleared")},
            **{name: counts[name] for name in ("missing", "wrong_frame", "unstamped", "malformed")},
            **{reason.value: self._counts[reason] for reason in refused},
            "pusher_refused": self._counts["pusher_refused"],
            "age_s": round(self._apart_s, 4),
            "last_refusal": self._sources.refusal,
            **{name: quality.words() for name, quality in self._perception.estimator.quality.items()},
        }
        return messages.report(self.report_name, self._condition(), values)


def main() -> int:
    """Run the node."""
    return run(MocapNode)


if __name__ == "__main__":
    sys.exit(main())
