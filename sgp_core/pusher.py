"""From steps to the pusher reference: where the pusher should be at any instant, and when it has to hold.

The arm is told where `sgp_core.follower` is on the way there, which spares it the corners in time.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import PusherConfig
from sgp_core.line import Ahead, TimedLine
from sgp_core.safety import FUTURE_TOLERANCE_S, Fault, check_size, check_step, region_of
from sgp_core.types import Reason

HISTORY_S = 2.0
# The planner bounds a step by the measured pusher, this module by the reference, and under contact the two differ by
# millimetres. An end that is outside by less than this is moved to the border; one further out is a fault.
BORDER_SLACK_M = 0.01
# An arm whose command is further behind the reference than this is still on its way when the reference has stopped.
BEHIND_M = 0.001
# After a longer pause of this process, or a jump of the clock, the rest of a line is not caught up with: it is dropped.
PAUSE_S = 0.1
NOT_MEASURED = "waiting for the measured pusher position; is mocap_node running, does the driver track the pusher?"


class PusherReference:
    """Executes steps as straight lines and holds when something is wrong.

    The reference is piecewise linear in time. A step is a displacement from the reference *at its stamp*; its line
    starts at the reference of now and ends at stamp + `step_duration_s`, short of its end where more would exceed
    `speed_limit_mps`. A new step replaces the rest of the line. When steps stop, the line ends and the pusher stands.

    The reference never jumps, whatever is measured: it is a command, and a measurement may be wrong. Wherever it has to
    go to the measured position it goes there at `speed_limit_mps` and inside the workspace.

    Two clocks are injected: `now_s` is the clock of the stamps, which may pause or be set back; `steady_s` never does,
    and times the watchdogs. Faults latch: the reference goes towards the last measured position, by at most
    `tracking_limit_m`, and stays there until `clear_fault`.

    Until the first accepted step (after start, enable or clear) a silent pusher is waited for, without a fault. Nor is
    silence a fault while the pusher stands: steps are refused until it is over. One that is moved away is a fault
    whenever it is enabled; before anything is commanded at all, `restart` follows it.
    """

    def __init__(self, config: PusherConfig) -> None:
        self.config = config
        self.enabled = True
        self.fault: Fault | None = None
        self.measured_m: Float[ndarray, "2"] | None = None  # last finite measurement [m; table]
        self._line = TimedLine()
        self._last_step_s = -math.inf  # stamp of the last accepted step
        self._engaged = False  # a step was accepted since start, enable or clear
        self._silence_s = math.inf  # age of the last measurement, counted on by update()
        self._measured_s = -math.inf  # when that was, on the clock of the stamps
        self._updated_s: float | None = None  # steady time of the last update
        self._now_s = -math.inf  # its time on the clock of the stamps
        self.dropped = 0  # lines that were not ended: after a pause, or a jump of the clock
        self._told_m: Float[ndarray, "2"] | None = None  # where the arm's command was then, if behind the reference
        self._behind_m = 0.0  # and how far

    # --- input -----------------------------------------------------------------------------------------------------

    def configure(self, config: PusherConfig, now_s: float) -> None:
        """Apply new limits; a line under way is bent to obey them."""
        self._arrive_at(now_s)
        changed, self.config = config != self.config, config
        if changed and self._line.under_way(now_s):
            self._draw(now_s, self._line.end_s, self._allowed(now_s, self._line.end_m))

    def measure(self, pusher_m: Float[ndarray, "2"], now_s: float, age_s: float = 0.0) -> None:
        """Take a measured position [m; table] of this age; one that is not finite counts as silence."""
        if not np.isfinite(pusher_m).all():
            return
        self.measured_m = np.array(pusher_m, dtype=float)
        self._silence_s, self._measured_s = max(age_s, 0.0), now_s - age_s
        if not self._line:
            # It begins here, and is no line that a pause since the last tick could have cut off.
            self._line.restart(now_s, self.measured_m)
            self._now_s = now_s

    def step(self, stamp_s: float, u: Float[ndarray, "2"], now_s: float) -> Fault | None:
        """Take a step [m; table]. Returns None when it is executed, else why not (and latches what must not pass)."""
        self._arrive_at(now_s)
        if self.fault is not None:
            return Fault(reason=Reason.PUSHER_FAULT, text=f"step refused, a fault is latched: {self.fault.text}")
        if not self.enabled:
            return Fault(reason=Reason.PUSHER_DISABLED, text="step refused, the pusher is disabled")
        wrong = check_size(u, self.config.step_limit_m)
        if wrong is not None:
            return self.latch(wrong, now_s)
        age_s = now_s - stamp_s
        if not -FUTURE_TOLERANCE_S <= age_s <= self.config.step_timeout_s:
            limits = f"{-FUTURE_TOLERANCE_S} to step_timeout_s = {self.config.step_timeout_s:g}"
            text = f"step dropped, it is {age_s:.3f} s old, allowed are {limits}"
            return Fault(reason=Reason.LATE_STEP, text=text)
        if stamp_s <= self._last_step_s:
            text = f"step dropped, its stamp is {self._last_step_s - stamp_s:.3f} s before the last accepted one"
            return Fault(reason=Reason.LATE_STEP, text=text)
        if not self.fresh_at(now_s):
            return Fault(reason=Reason.NO_PUSHER, text="step dropped, the measured pusher position is not known")
        start_m = self._at(stamp_s)
        wrong = check_step(u, start_m, self.config, slack_m=BORDER_SLACK_M)
        if wrong is not None:
            return self.latch(wrong, now_s)
        end_m = self._allowed(now_s, start_m + np.asarray(u, dtype=float))
        end_s = max(stamp_s + self.config.step_duration_s, now_s)
        # Not stretched: what is left of a step at its end is the next plan's business, and nobody would watch it.
        self._draw(now_s, end_s, _towards(self._at(now_s), end_m, self.config.speed_limit_mps * (end_s - now_s)))
        self._last_step_s, self._engaged = stamp_s, True
        return None

    def update(self, now_s: float, steady_s: float, commanded_m: Float[ndarray, "2"] | None = None) -> None:
        """Run the watchdogs; to be called at the output rate.

        Args:
            now_s: time of the stamps.
            steady_s: steady time.
            commanded_m: where the arm is told to be, when nothing but its caps keeps that behind the reference
                [m; table]; None: it is to be at the reference.
        """
        # A pause of this process (not of the sensor) must not look like silence: samples may be waiting to be read.
        # What exceeds a pause is not counted: nothing is commanded then.
        passed_s = 0.0 if self._updated_s is None else steady_s - self._updated_s
        self._updated_s = steady_s
        self._silence_s += min(max(passed_s, 0.0), self._pause_s)
        self._arrive_at(now_s)
        self._line.forget(now_s - max(HISTORY_S, self.config.step_timeout_s))
        if self.measured_m is None or self.fault is not None:
            return
        here_m = self._at(now_s)
        # A reference that turns back in the middle of a step is centimetres ahead of anything that has a mass.
        told_m = here_m if commanded_m is None else commanded_m
        self._told_m, self._behind_m = commanded_m, _apart(told_m, here_m)
        distance_m = min(_apart(here_m, self.measured_m), _apart(told_m, self.measured_m))
        moving = self._line.under_way(now_s) or self._behind_m > BEHIND_M
        if self._engaged and self._silence_s > self.config.pusher_timeout_s and moving:
            self.latch_silence(now_s)
        elif self.enabled and distance_m > self.config.tracking_limit_m:
            text = (
                f"the pusher is {distance_m * 1e3:.1f} mm from where it is told to be, tracking_limit_m is"
                f" {self.config.tracking_limit_m:g}; is the arm following, is something in its way?"
            )
            self.latch(Fault(reason=Reason.TRACKING_ERROR, text=text), now_s)

    def set_enabled(self, enabled: bool, now_s: float) -> None:
        """Off: stand where the reference is now. On: go to the measured position, take steps planned from now on."""
        self._arrive_at(now_s)
        if not enabled and self._line:
            self._draw(now_s, now_s, self._at(now_s))
            self._engaged = False
        elif enabled and not self.enabled:
            self._last_step_s = max(self._last_step_s, now_s)
            if self.measured_m is not None and self.fault is None:
                self._follow(now_s)
        self.enabled = enabled

    def restart(self, now_s: float) -> None:
        """Begin anew at the measured position; only while nothing is commanded, because this may be a jump."""
        assert self.measured_m is not None, "callers check that there is a measurement"
        self._arrive_at(now_s)  # forgets stamps of another time
        self._line.restart(now_s, self.measured_m)
        self._last_step_s, self._engaged, self._now_s = max(self._last_step_s, now_s), False, now_s
        self._told_m, self._behind_m = None, 0.0

    def step_aside(self, way_m: Float[ndarray, "2"], now_s: float) -> None:
        """Go to a place beside the measured one, so far from it [m; table]; before anything else is commanded."""
        if self.measured_m is not None and self.fault is None:
            self._draw(now_s, now_s, self._allowed(now_s, self.measured_m + way_m))

    def clear_fault(self, now_s: float) -> Fault | None:
        """Stand at the measured position and take steps planned from now on; refused while it is not known."""
        if not self.fresh_at(now_s):
            return Fault(
                reason=Reason.NO_PUSHER, text="the measured pusher position is not known; start the pusher source"
            )
        self._arrive_at(now_s)
        self.fault, self._engaged = None, False
        self._last_step_s, self._told_m, self._behind_m = now_s, None, 0.0
        self._follow(now_s)
        return None

    def latch(self, fault: Fault, now_s: float) -> Fault:
        """Hold until `clear_fault`: at the last measured position, or `tracking_limit_m` towards it from the command.

        One that stands and has not been measured for a while stays where it is.
        """
        self._arrive_at(now_s)
        if self.fault is not None:  # it holds already
            self.fault = fault
            return fault
        self.fault, self._engaged = fault, False
        moving = self._line.under_way(now_s) or self._behind_m > BEHIND_M
        if self.measured_m is not None and (self.fresh or moving):
            told_m = self._at(now_s) if self._told_m is None else self._told_m
            end_m = _towards(told_m, self.measured_m, self.config.tracking_limit_m)
            self._draw(now_s, now_s, self._allowed(now_s, end_m))
        return fault

    def latch_silence(self, now_s: float) -> Fault:
        """Hold, because the measurements have stopped in the middle of a motion."""
        limit = f"pusher_timeout_s is {self.config.pusher_timeout_s:g}"
        text = f"no pusher measurement for {self._silence_s:.3f} s during a motion, {limit}; is the pusher tracked?"
        return self.latch(Fault(reason=Reason.NO_PUSHER, text=text), now_s)

    # --- output ----------------------------------------------------------------------------------------------------

    def target(self, now_s: float) -> Float[ndarray, "2"] | None:
        """Where the pusher should be [m; table]; None before the first measurement: send nothing to the arm then."""
        return self._at(now_s) if self._line else None

    def ahead(self, now_s: float) -> Ahead:
        """Where it will stop, and how soon; only when there is a `target`."""
        return self._line.ahead(now_s)

    @property
    def fresh(self) -> bool:
        """Whether the measured position is known and young enough to move by."""
        return self.measured_m is not None and self._silence_s <= self.config.pusher_timeout_s

    def fresh_at(self, now_s: float) -> bool:
        """The same for whoever asks between two updates, between which this process may have been stopped for long."""
        return self.fresh and now_s - self._measured_s <= self.config.pusher_timeout_s

    def condition(self) -> Fault:
        """RUNNING when a step would be executed, else what stands in the way."""
        if self.fault is not None:
            return self.fault
        if not self.enabled:
            return Fault(
                reason=Reason.PUSHER_DISABLED, text="disabled; call pusher_node/enable with true to let it move"
            )
        if not self.fresh:
            return Fault(reason=Reason.NO_PUSHER, text=NOT_MEASURED)
        return Fault(reason=Reason.RUNNING, text="ready for steps")

    # --- the line --------------------------------------------------------------------------------------------------

    def _at(self, time_s: float) -> Float[ndarray, "2"]:
        return self._line.at(time_s)

    def _arrive_at(self, now_s: float) -> None:
        """Let the reference come to now, whoever calls first after a pause: along its line, but never in a jump."""
        set_back = now_s < self._now_s - FUTURE_TOLERANCE_S and bool(self._line)
        if set_back or (now_s > self._now_s + self._pause_s and self._line.under_way(self._now_s)):
            self.dropped += math.isfinite(self._now_s) and self._line.under_way(self._now_s)
            end_m = self._line.end_m
            self._line.restart(now_s, self._at(self._now_s))
            if self.fault is not None:  # the way to where it holds is not given up
                self._draw(now_s, now_s, end_m)
        if set_back:
            # A recording started again: forget what was stamped.
            self._last_step_s, self._engaged = -math.inf, False
        self._now_s = now_s

    @property
    def _pause_s(self) -> float:
        return max(PAUSE_S, 3.0 / self.config.output_rate_hz)

    def _draw(self, now_s: float, end_s: float, end_m: Float[ndarray, "2"]) -> None:
        self._line.draw(now_s, end_s, end_m, self.config.speed_limit_mps)

    def _follow(self, now_s: float) -> None:
        """Go to the measured position, at the speed limit and inside the workspace."""
        assert self.measured_m is not None, "callers check that there is a measurement"
        self._draw(now_s, now_s, self._allowed(now_s, self.measured_m))

    def _allowed(self, now_s: float, end_m: Float[ndarray, "2"]) -> Float[ndarray, "2"]:
        """How far the reference may go towards an end, straight from where it is now."""
        return region_of(self.config).reached(self._at(now_s), end_m)


def _apart(one_m: Float[ndarray, "2"], other_m: Float[ndarray, "2"]) -> float:
    return float(np.linalg.norm(one_m - other_m))


def _towards(here_m: Float[ndarray, "2"], end_m: Float[ndarray, "2"], at_most_m: float) -> Float[ndarray, "2"]:
    """The end, or the point on the way there that is so far from here."""
    distance_m = _apart(here_m, end_m)
    return end_m if distance_m <= at_most_m else here_m + (end_m - here_m) * (at_most_m / distance_m)
