"""Steps in, arm targets out: the last node before the arm, and the one that holds when something is wrong."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Vector3Stamped
from std_srvs.srv import SetBool, Trigger

from sgp_core.config import Config, FramesConfig, PusherConfig, setting
from sgp_core.estimation import table_rows
from sgp_core.pusher import PusherReference
from sgp_core.safety import FUTURE_TOLERANCE_S, Fault
from sgp_ros import convert
from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SENSOR_QOS, SgpNode, run

STATE_PERIOD_S = 0.05
WARN_EVERY_S = 2.0


@dataclass(frozen=True, kw_only=True)
class PusherNodeConfig(Config):
    """What only the node needs to know."""

    # Not live: a height set by mistake would be commanded at once.
    tool_height_m: float = setting(
        0.02, "height of the tool in the arm target", unit="m", low=0.0, high=0.5, live=False
    )
    enabled: bool = setting(
        True, "whether arm targets are sent from the start; ~/enable changes it while running", live=False
    )
    pusher_topic: str = setting(
        "vrpn_mocap/pusher/pose",
        "topic of the measured pusher pose (PoseStamped; frame `table` or the mocap system's)",
        live=False,
    )


class PusherNode(SgpNode):
    """Feeds a PusherReference with steps and measurements, and publishes where the arm should be."""

    def __init__(self) -> None:
        super().__init__("pusher_node", [PusherConfig(), FramesConfig(), PusherNodeConfig()])
        self._reference = PusherReference(self.settings.get(PusherConfig))
        self._reference.enabled = self._was_enabled = self.settings.get(PusherNodeConfig).enabled
        self._step_stamp_ns = 0
        self._reported: tuple[object, ...] = ()
        self._report_at_s = 0.0
        self._counts: Counter[str] = Counter()
        self._refused = ""
        self._take_settings()
        self._arm_target = self.create_publisher(PoseStamped, "arm_target", RELIABLE_QOS)
        self._state = self.create_publisher(DiagnosticArray, "pusher_state", REPORT_QOS)
        self.create_subscription(Vector3Stamped, "step", self._on_step, RELIABLE_QOS)
        topic = self.settings.get(PusherNodeConfig).pusher_topic
        self.create_subscription(PoseStamped, topic, self._on_pusher, SENSOR_QOS)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/clear_fault", self._on_clear_fault)
        # Steady, because a ROS-time timer freezes with /clock, and then nobody would watch the pusher.
        period_s = 1.0 / self._reference.config.output_rate_hz
        self.create_timer(period_s, self._on_tick, clock=self.steady_clock)

    def _take_settings(self) -> None:
        self._reference.configure(self.settings.get(PusherConfig), self.now_s())
        self._height_m = self.settings.get(PusherNodeConfig).tool_height_m
        self._rows = table_rows(self.settings.get(FramesConfig).table_from_mocap)

    def _on_pusher(self, message: PoseStamped) -> None:
        now_s = self.now_s()
        age_s = now_s - convert.seconds(message.header.stamp)
        # An old position is no position: it counts as silence, which the watchdog sees.
        if not -FUTURE_TOLERANCE_S <= age_s <= self._reference.config.pusher_timeout_s:
            self._counts["old_pusher_samples"] += 1
            self.get_logger().warning(
                f"pusher sample ignored, its stamp is {age_s:.3f} s old; synchronise the clocks",
                throttle_duration_sec=WARN_EVERY_S,
            )
            return
        self._reference.measure(convert.measured_point_of(message, self._rows), now_s)

    def _on_step(self, message: Vector3Stamped) -> None:
        step = convert.step_from_msg(message)
        refused = step if isinstance(step, Fault) else self._reference.step(*step, self.now_s())
        if refused is None:
            self._step_stamp_ns = convert.stamp_ns(message.header.stamp)
            self._counts["steps"] += 1
        else:
            self._counts["refused_steps"] += 1
            self._refused = f"{refused.reason}: {refused.text}"
            self.get_logger().warning(self._refused, throttle_duration_sec=WARN_EVERY_S)
        self._publish_state()

    def _on_tick(self) -> None:
        now_s = self.now_s()
        if now_s <= 0.0:
            return  # use_sim_time, and /clock has not spoken yet
        if self.settings.changed():
            self._take_settings()
        self._reference.update(now_s, self.steady_s())
        self._publish_target(now_s)
        if self.steady_s() >= self._report_at_s or self._condition() != self._reported:
            self._publish_state()

    def _publish_target(self, now_s: float) -> None:
        target_m = self._reference.target(now_s)
        # An arm that was never released is not commanded at all, not even to stay.
        if target_m is not None and self._was_enabled:
            self._arm_target.publish(convert.pose_to_msg(now_s, *target_m, z_m=self._height_m))

    def _condition(self) -> tuple[object, ...]:
        return (self._reference.condition().reason, self._reference.fault, self._reference.enabled, self._step_stamp_ns)

    def _publish_state(self) -> None:
        condition = self._condition()
        if condition != self._reported:
            fault = self._reference.fault
            if fault is not None and self._reported[:1] != condition[:1]:
                self.get_logger().error(f"fault {fault.reason}: {fault.text}; mend it, then call ~/clear_fault")
        self._reported, self._report_at_s = condition, self.steady_s() + STATE_PERIOD_S
        now_s = self.now_s()
        pusher = convert.PusherReport(
            stamp_s=now_s,
            condition=self._reference.condition(),
            reference_m=self._reference.target(now_s),
            step_stamp_ns=self._step_stamp_ns,
            step_duration_s=self._reference.config.step_duration_s,
            enabled=self._reference.enabled,
            faulted=self._reference.fault is not None,
        )
        self._state.publish(convert.pusher_report_to_msg(pusher, {"last_refused": self._refused}))

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._reference.set_enabled(request.data, self.now_s())
        self._was_enabled = self._was_enabled or request.data
        response.success = True
        response.message = (
            "enabled: steps planned from now on are executed" if request.data else "disabled: the pusher holds"
        )
        self._publish_state()
        return response

    def _on_clear_fault(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        fault = self._reference.fault
        refused = self._reference.clear_fault(self.now_s())
        response.success = refused is None
        if refused is not None:
            response.message = f"{refused.reason}: {refused.text}"
        else:
            response.message = "no fault was latched" if fault is None else f"cleared {fault.reason}: {fault.text}"
        self._publish_state()
        return response

    def diagnostics(self) -> DiagnosticStatus:
        """Counters of samples and steps."""
        names = ("steps", "refused_steps", "old_pusher_samples")
        counts = {name: self._counts[name] for name in names}
        return convert.report("sgp/pusher_node", self._reference.condition(), {**counts, "last_refused": self._refused})

    def close(self) -> bool:
        """Hold: the arm's last target is where the reference is now, not the end of a line nobody watches."""
        now_s = self.now_s()
        self._reference.set_enabled(False, now_s)
        if now_s > 0.0:
            self._publish_target(now_s)
            self._publish_state()
        return True


def main() -> int:
    """Run the node."""
    return run(PusherNode)


if __name__ == "__main__":
    sys.exit(main())
