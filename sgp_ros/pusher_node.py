"""Steps in, arm commands out: the last node before the arm, and the one that holds when something is wrong."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseStamped, Vector3Stamped
from std_srvs.srv import SetBool, Trigger

from sgp_core.arm import Arm
from sgp_core.config import FramesConfig, PusherConfig
from sgp_core.safety import FUTURE_TOLERANCE_S, Fault
from sgp_core.types import Reason
from sgp_ros import convert, messages
from sgp_ros.arm_output import ArmOutput, PusherNodeConfig
from sgp_ros.convert_arm import tool_pose_of
from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SENSOR_QOS, SgpNode, run

STATE_PERIOD_S = 0.05
WARN_EVERY_S = 2.0
# It reports once a second; once heard, it is missed after this time.
CONTROLLER_TIMEOUT_S = 3.0
# At the end of the process: how long coming to rest may take, and for how long zeros follow.
BRAKE_LIMIT_S, LAST_ZEROS_S = 0.6, 0.1


class PusherNode(SgpNode):
    """Feeds an Arm with steps and measurements, and publishes what it commands."""

    def __init__(self) -> None:
        super().__init__("pusher_node", [PusherConfig(), FramesConfig(), PusherNodeConfig()])
        own = self.settings.get(PusherNodeConfig)
        self._arm = Arm(self.settings.get(PusherConfig), own.kind)
        self._arm.reference.enabled = own.enabled
        self._step_stamp_ns = 0
        self._dropped = 0  # of the reference's lines, as far as it is known here
        self._reported: tuple[object, ...] = ()
        self._report_at_s = 0.0
        self._counts: Counter[str] = Counter()
        self._refused = ""
        self._ticked_s = self.steady_s()
        self._controller_s: float | None = None  # when mpc_node was last heard, steady; None when it never was
        self._output = ArmOutput(self, own, self.settings.get(FramesConfig))
        self._state = self.create_publisher(DiagnosticArray, "pusher_state", REPORT_QOS)
        self.create_subscription(Vector3Stamped, "step", self._on_step, RELIABLE_QOS)
        self.create_subscription(PoseStamped, "pusher_pose", self._on_pusher, SENSOR_QOS)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, REPORT_QOS)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/clear_fault", self._on_clear_fault)
        # Steady, because a ROS-time timer freezes with /clock, and then nobody would watch the pusher.
        self._period_s = 1.0 / self._arm.reference.config.output_rate_hz
        self.create_timer(self._period_s, self._on_tick, clock=self.steady_clock)

    def _on_pusher(self, message: PoseStamped) -> None:
        now_s = self.now_s()
        pose = tool_pose_of(message)
        if isinstance(pose, Fault):
            self._ignore("bad_pusher_samples", pose.text)
            return
        age_s = now_s - convert.seconds(message.header.stamp)
        # An old position is no position: it counts as silence, which the watchdog sees.
        if not -FUTURE_TOLERANCE_S <= age_s <= self._arm.reference.config.pusher_timeout_s:
            self._ignore(
                "old_pusher_samples", f"its stamp is {age_s:.3f} s old; are the clocks apart, is the computer too busy?"
            )
            return
        self._arm.measure(*pose, now_s, age_s)

    def _ignore(self, count: str, why: str) -> None:
        self._counts[count] += 1
        self.get_logger().warning(f"pusher_pose ignored: {why}", throttle_duration_sec=WARN_EVERY_S)

    def _on_step(self, message: Vector3Stamped) -> None:
        now_s = self.now_s()
        step = convert.step_from_msg(message)
        refused = step if isinstance(step, Fault) else self._arm.step(*step, now_s)
        if refused is None:
            self._step_stamp_ns, self._dropped = convert.stamp_ns(message.header.stamp), self._arm.reference.dropped
            self._counts["steps"] += 1
            self._output.step(now_s, self._arm, stop=not (message.vector.x or message.vector.y))
        else:
            self._counts["refused_steps"] += 1
            self._refused = f"{refused.reason}: {refused.text}"
            self.get_logger().warning(self._refused, throttle_duration_sec=WARN_EVERY_S)
        self._publish_state()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        controller = f"{self.report_name.removesuffix(self.get_name())}mpc_node"
        if any(status.name == controller for status in message.status):
            self._controller_s = self.steady_s()

    def _said(self) -> Fault:
        """The arm's condition, and whether the controller has gone: steps may still come, as from teleop_node."""
        condition = self._arm.condition()
        silent_s = 0.0 if self._controller_s is None else self.steady_s() - self._controller_s
        if silent_s <= CONTROLLER_TIMEOUT_S:
            return condition
        return replace(
            condition, text=f"{condition.text}; no diagnostics of mpc_node for {silent_s:.0f} s, is mpc_node running?"
        )

    def _on_tick(self) -> None:
        now_s, steady_s = self.now_s(), self.steady_s()
        if now_s <= 0.0 and self._arm.reference.measured_m is None:
            return  # use_sim_time, and /clock has not spoken yet; later, an arm in motion has to be stopped
        self._arm.connected = self._output.connected
        if self.settings.changed():
            self._arm.reference.configure(self.settings.get(PusherConfig), now_s)
            if self._arm.condition().reason == Reason.RUNNING and self._arm.reference.ahead(now_s).left_s > 0.0:
                self._output.step(now_s, self._arm)
        passed_s, self._ticked_s = steady_s - self._ticked_s, steady_s
        self._arm.tick(now_s, steady_s)
        if self._arm.reference.dropped != self._dropped:
            # mpc_node predicts what the pusher does, and an arm that takes steps carries them out by itself.
            self._dropped, self._step_stamp_ns = self._arm.reference.dropped, 0
            self._output.step(now_s, self._arm, stop=True)
        self._output.tick(now_s, passed_s, self._arm)
        if steady_s >= self._report_at_s or self._condition() != self._reported:
            self._publish_state()

    def _condition(self) -> tuple[object, ...]:
        reference = self._arm.reference
        return (self._arm.condition().reason, reference.fault, reference.enabled, self._step_stamp_ns)

    def _publish_state(self) -> None:
        reference, condition = self._arm.reference, self._condition()
        if condition != self._reported:
            fault = reference.fault
            if fault is not None and self._reported[:1] != condition[:1]:
                self.get_logger().error(
                    f"fault {fault.reason}: {fault.text}; mend it, then call pusher_node/clear_fault"
                )
        self._reported, self._report_at_s = condition, self.steady_s() + STATE_PERIOD_S
        now_s = self.now_s()
        pusher = convert.PusherReport(
            stamp_s=now_s,
            condition=self._said(),
            reference_m=reference.target(now_s),
            step_stamp_ns=self._step_stamp_ns,
            step_duration_s=reference.config.step_duration_s,
            enabled=reference.enabled,
            faulted=reference.fault is not None,
            told_m=self._arm.told_m,
        )
        command = self._arm.command
        height_m = math.nan if command is None else float(command.position_m[2])
        extra = {"height_m": height_m, "measured_height_m": self._arm.measured_height_m, "last_refused": self._refused}
        self._state.publish(messages.pusher_report_to_msg(pusher, extra))

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        refused = self._arm.set_enabled(request.data, self.now_s())
        response.success = refused is None
        if refused is not None:
            response.message = f"{refused.reason}: {refused.text}"
        elif request.data:
            response.message = "enabled: the tool goes down, then steps planned from now on are executed"
            if self._output.turns and not self._arm.oriented:
                response.message += "; nobody measures its orientation, and it is told to take that of tool_rpy"
        else:
            response.message = "disabled: the pusher stops and is raised"
        self._publish_state()
        return response

    def _on_stop(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Whoever calls this first has nothing to look up: it works in every state, and stays until it is cleared."""
        fault = self._arm.reference.fault
        if fault is None or fault.reason != Reason.STOPPED:
            before = f"; latched before: {fault.reason}: {fault.text}" if fault else ""
            text = f"stopped by a call of ~/stop; call ~/clear_fault to go on{before}"
            self._arm.reference.latch(Fault(reason=Reason.STOPPED, text=text), self.now_s())
        response.success, response.message = True, "stopped and latched; ~/clear_fault lets it move again"
        self._publish_state()
        return response

    def _on_clear_fault(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        fault = self._arm.reference.fault
        refused = self._arm.clear_fault(self.now_s())
        response.success = refused is None
        if refused is not None:
            response.message = f"{refused.reason}: {refused.text}"
        else:
            response.message = "no fault was latched" if fault is None else f"cleared {fault.reason}: {fault.text}"
        self._publish_state()
        return response

    def diagnostics(self) -> DiagnosticStatus:
        """Where it is and should be, counters of samples and steps."""
        names = ("steps", "refused_steps", "old_pusher_samples", "bad_pusher_samples")
        counts = {name: self._counts[name] for name in names}
        reference, said = self._arm.reference, self._said()
        x_m, y_m = (math.nan, math.nan) if reference.measured_m is None else reference.measured_m.tolist()
        values: dict[str, object] = {
            "enabled": reference.enabled,
            "arm_listens": self._output.connected,
            "measured_x_m": x_m,
            "measured_y_m": y_m,
            "measured_height_m": self._arm.measured_height_m,
            **counts,
            "last_refused": self._refused,
        }
        status = messages.report(self.report_name, said, values)
        if said != self._arm.condition():
            status.level = max(status.level, DiagnosticStatus.WARN)
        return status

    def close(self) -> bool:
        """Come to rest within the caps, in place and at the height of now: nobody watches a way up any more."""
        if self.now_s() <= 0.0 and self._arm.reference.measured_m is None:
            return True
        self._arm.reference.set_enabled(False, self.now_s())
        deadline_s, rested_s = self.steady_s() + BRAKE_LIMIT_S, 0.0
        moving = self._arm.command is not None or not self._output.standing
        while moving and rested_s <= LAST_ZEROS_S and self.steady_s() < deadline_s:
            self._arm.brake(self._period_s)
            self._output.tick(self.now_s(), self._period_s, self._arm, ending=True)
            if self._arm.standing and self._output.standing:
                rested_s += self._period_s
            time.sleep(self._period_s)
        if moving:
            self._output.end(self.now_s())
        self._publish_state()
        return True


def main() -> int:
    """Run the node."""
    return run(PusherNode)


if __name__ == "__main__":
    sys.exit(main())
