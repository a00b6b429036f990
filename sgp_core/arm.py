"""What the arm is told: the pusher reference within caps, and the tool's height, down to push and up to rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.arm_release import not_lowered, not_released
from sgp_core.config import PusherConfig
from sgp_core.follower import Follower, leashed, limited
from sgp_core.frames import Transform
from sgp_core.heading import Heading
from sgp_core.line import Ahead
from sgp_core.pusher import NOT_MEASURED, PAUSE_S, PusherReference
from sgp_core.safety import Fault, region_of
from sgp_core.types import Reason

# An arm that is somewhere else after this time at rest did not lag behind, but was moved.
REST_S = 1.0
# How exactly the tool has to be over its place to be lowered, and at its height to push.
SETTLED_M = 1e-3
# A command leads what it pushes by fractions of a millimetre. Raised, the tool is above what it pushed by that much,
# and would come down on its edge: it comes down this much further back.
BACK_M = 0.003


@dataclass(frozen=True, kw_only=True)
class ArmKind:
    """What is known of the arm's interface."""

    tool: Transform  # orientation of the tool in the table frame; its translation does not count
    height: bool = True  # the tool's height is ours to command; else it takes displacements, and is told no points
    # It takes velocities: the height cannot be commanded without being measured, and nothing but the measured place
    # tells where the arm has got to after a pause.
    velocities: bool = False


@dataclass(frozen=True, kw_only=True)
class Command:
    """Where the tool is to be, and how it is to move [m, m/s; table]; the height is NaN when it is not commanded."""

    position_m: Float[ndarray, "3"]
    velocity_mps: Float[ndarray, "3"]


class Arm:
    """Follows a PusherReference within caps, lowers the tool before the first step and raises it when disabled.

    Nothing is commanded until the arm is released: enabled, with a measured pose that is fresh, inside the region and
    in the right orientation. The first command is the measured pose; from then on the commanded point never jumps,
    changes its velocity by no more than the acceleration cap allows, stays where it can stop inside the region and
    within `tracking_limit_m` of the measured pusher.

    Enabled, the tool goes straight down to `tool_height_m`, and until then steps are refused. Disabled, it stops, goes
    straight up to `retreat_height_m` and stays. After a fault it stops and stays down, because no way up is safe by
    itself; only what presses the tool onto something is taken back, as far as `tracking_limit_m` lets it.

    An arm that is found elsewhere than commanded, while it rests, was moved by somebody: nothing is commanded any more
    until it is enabled anew.

    Args:
        config: limits, heights, rates.
        kind: the interface.
    """

    def __init__(self, config: PusherConfig, kind: ArmKind) -> None:
        self.reference = PusherReference(config)
        self.measured_height_m = math.nan
        self._kind = kind
        self._orientation: Transform | None = None  # of the measured tool, where it is known
        self._released = False
        self._down = False  # over its place and at the height to push at
        self._stopped = False  # after a fault or disable: came to rest
        self._place, self._height = Follower(np.zeros(2)), Follower(np.zeros(1))
        self._held_back = False  # where it is now, the command could not go on
        self._heading = Heading()  # of the tool while it is down
        self._raise_to_m = self._hold_at_m = math.nan
        self._height_known = False  # when it was released
        self._ticked_s: float | None = None
        self._now_s, self._still_s = -math.inf, 0.0  # time of the stamps, and how long it has stood still
        self._paused = False
        self._left: Command | None = None  # the last command before it was let go by itself
        self._rested_s = 0.0  # how long it had no reason to move, and did not
        self._unseen_m = 0.0  # how far velocities have led since the measured pose last changed
        self.connected = True  # whether anybody takes the commands

    # --- input -----------------------------------------------------------------------------------------------------

    def measure(
        self, position_m: Float[ndarray, "3"], orientation: Transform | None, now_s: float, age_s: float = 0.0
    ) -> None:
        """Take a measured tool pose [m; table]; an unknown height is NaN, an unknown orientation None."""
        if not np.isfinite(position_m[:2]).all():
            return
        before_m = self.reference.measured_m
        pose = np.append(before_m if before_m is not None else np.full(2, np.nan), self.measured_height_m)
        if not np.array_equal(position_m, pose, equal_nan=True):
            self._unseen_m = 0.0
        elif self._unseen_m > self.reference.config.tracking_limit_m and self.reference.fault is None:
            text = (
                f"the measured pusher stays the same to the last bit while the arm was led {self._unseen_m * 1e3:.0f}"
                " mm; does the arm follow, is the source of its position alive?"
            )
            self.reference.latch(Fault(reason=Reason.TRACKING_ERROR, text=text), now_s)
        self.measured_height_m = float(position_m[2])
        self._orientation = orientation
        self.reference.measure(np.array(position_m[:2], dtype=float), now_s, age_s)

    def step(self, stamp_s: float, u: Float[ndarray, "2"], now_s: float) -> Fault | None:
        """As PusherReference.step, and refused while the tool is not down."""
        if self.reference.fault is None and self.reference.enabled and not self._down:
            condition = self.condition()
            return Fault(reason=condition.reason, text=f"step refused, {condition.text}")
        return self.reference.step(stamp_s, u, now_s)

    def set_enabled(self, enabled: bool, now_s: float) -> Fault | None:
        """Release and lower the tool, or stop and raise it; returns why it may not be released."""
        reference = self.reference
        if enabled:
            refused = self.refusal()
            if refused is None and not reference.fresh_at(now_s):
                refused = Fault(reason=Reason.NO_PUSHER, text=NOT_MEASURED)
            if refused is not None:
                return refused
            self._left = None
            if not self._released or self._far_off():
                self._release(now_s)
            elif not reference.enabled:
                reference.restart(now_s)  # it stood where it was disabled; the command is braked, and follows it
        elif reference.enabled:
            # After a fault nothing is raised, not even once it is cleared: only the next enable moves the tool again.
            held_m = float(self._height.position_m[0])
            self._raise_to_m = held_m if reference.fault is not None else max(held_m, reference.config.retreat_height_m)
            self._down = False
        comes_down = enabled and not reference.enabled and not self._down and self._kind.height
        reference.set_enabled(enabled, now_s)
        if comes_down:
            reference.step_aside(-BACK_M * self._heading.direction, now_s)
        return None

    def clear_fault(self, now_s: float) -> Fault | None:
        """As PusherReference.clear_fault; no steps before the tool is where it was measured."""
        if self.reference.fault is None:
            return None
        refused = self.reference.clear_fault(now_s)
        if refused is None:
            self._down, self._unseen_m = False, 0.0
            self._raise_to_m = float(self._height.position_m[0])  # a tool that was on its way up stays where it is
            if self._kind.velocities or self._far_off():
                self.let_go()
        return refused

    def let_go(self) -> None:
        """Nothing is sent to the arm any more; it is released by itself only as long as nobody moves it meanwhile."""
        self._left = self.command or self._left
        self._released = self._down = False
        self._heading.forget()

    def travelled(self, distance_m: float) -> None:
        """Velocities have led this far: measured poses that never change on such a way are none."""
        self._unseen_m += distance_m

    def tick(self, now_s: float, steady_s: float) -> None:
        """Let time pass; to be called at the output rate. The clocks are those of PusherReference."""
        passed_s = 0.0 if self._ticked_s is None else steady_s - self._ticked_s
        self._ticked_s = steady_s
        self._still_s = self._still_s + passed_s if now_s == self._now_s else 0.0
        self._now_s = now_s
        if not self._released and self.reference.measured_m is not None and self.reference.fault is None:
            self.reference.restart(now_s)  # nothing is commanded: whoever moves the arm is followed
        self.reference.update(now_s, steady_s, self.told_m)
        period_s = 1.0 / self.reference.config.output_rate_hz
        if not self._released:
            self._release_by_itself(now_s)
            return
        self._rested_s = self._rested_s + passed_s if self.at_rest and self.standing else 0.0
        if self._rested_s > REST_S and self.reference.fresh and self._far_off():
            self.let_go()
            return
        if passed_s > max(PAUSE_S, 3.0 * period_s):
            # Nothing was sent for so long that the arm has come to rest at its last target.
            self._place.halt()
            self._height.halt()
        self._watch_height(now_s)
        self._move(now_s, min(max(passed_s, 0.0), 2.0 * period_s))

    def brake(self, dt_s: float) -> None:
        """Let a tick pass and come to rest, whatever is enabled: for the end of the process."""
        self._place.brake(dt_s, self.reference.config.acceleration_limit_mps2)
        self._height.brake(dt_s, self.reference.config.acceleration_limit_mps2)

    # --- output ----------------------------------------------------------------------------------------------------

    @property
    def command(self) -> Command | None:
        """What the arm is to be told; None while it is not released."""
        if not self._released:
            return None
        place, height = self._place, self._height
        height_m = height.position_m if self._kind.height else np.array([math.nan])
        return Command(
            position_m=np.concatenate([place.position_m, height_m]),
            velocity_mps=np.concatenate([place.velocity_mps, height.velocity_mps]),
        )

    @property
    def told_m(self) -> Float[ndarray, "2"] | None:
        """Where it is told to be, as far as nothing but the caps keep that behind the reference [m; table]."""
        told = self._released and not self._held_back and self._kind.height
        return self._place.position_m if told else None

    def displacement(self, now_s: float) -> tuple[float, Float[ndarray, "2"]]:
        """For arms that take displacements: time left for the step under way [s], and its way from here [m; table].

        From the measured pusher, so that what the arm did not do of one step is in the next; bounded like a step.
        """
        config, measured_m, ahead = self.reference.config, self.reference.measured_m, self.reference.ahead(now_s)
        assert measured_m is not None, "no step is accepted before a measurement"
        u = region_of(config).reached(measured_m, ahead.end_m) - measured_m
        longest_m = max(float(np.abs(u).max()), 1e-12)
        u = u * min(1.0, config.step_limit_m / longest_m)
        return ahead.left_s, limited(u, config.speed_limit_mps * ahead.left_s)

    @property
    def at_rest(self) -> bool:
        """Whether the command must not, or need not, move the arm: fault, no fresh measurement, or up and disabled."""
        if self.reference.fault is not None or not self.reference.fresh:
            return True
        raised = not self._kind.height or abs(float(self._height.position_m[0]) - self._raise_to_m) < SETTLED_M
        return not self.reference.enabled and self._stopped and raised and self._height.standing

    @property
    def oriented(self) -> bool:
        """Whether the orientation of the tool is measured."""
        return self._orientation is not None

    @property
    def standing(self) -> bool:
        """Whether the commanded point does not move."""
        return self._place.standing and self._height.standing

    def refusal(self) -> Fault | None:
        """Why the arm may not be released; None when it may."""
        turned_rad = 0.0 if self._orientation is None else self._orientation.angle_to(self._kind.tool)
        wrong = not_released(self.reference, turned_rad, connected=self.connected)
        if wrong is not None or not self._kind.height:
            return wrong
        return not_lowered(self.measured_height_m, self.reference.config, unknown_allowed=not self._kind.velocities)

    def condition(self) -> Fault:
        """RUNNING when a step would be executed, else what stands in the way."""
        reference = self.reference
        if reference.fault is None and reference.enabled and not self._released:
            refused = self.refusal()
            if refused is None:
                return Fault(reason=Reason.APPROACHING, text="the arm is about to be released")
            waiting = refused.reason == Reason.NO_PUSHER
            return refused if waiting else Fault(reason=Reason.PUSHER_DISABLED, text=f"not released: {refused.text}")
        condition = reference.condition()
        if condition.reason != Reason.RUNNING or self._down:
            return condition
        text = "the tool is on its way to where it was measured"
        if self._kind.height:
            height_m, goal_m = float(self._height.position_m[0]), reference.config.tool_height_m
            text = f"the tool is at {height_m:.3f} m, on its way down to tool_height_m = {goal_m:g}"
        return Fault(reason=Reason.APPROACHING, text=text)

    # --- motion ----------------------------------------------------------------------------------------------------

    def _far_off(self, command: Command | None = None) -> bool:
        """Whether the arm is not where it is told to be; or where it was told last, but for what stopping takes."""
        limit_m = self.reference.config.tracking_limit_m * (1.0 if command is None else 2.0)
        command, measured_m = command or self.command, self.reference.measured_m
        if command is None or measured_m is None:
            return False
        off_m = np.append(measured_m, self.measured_height_m) - command.position_m
        # An unknown height is not off.
        return bool(np.linalg.norm(off_m[:2]) > limit_m or abs(off_m[2]) > limit_m)

    def _release_by_itself(self, now_s: float) -> None:
        if not (self.reference.enabled and self.reference.fresh_at(now_s)) or self.refusal() is not None:
            return
        if self._left is not None and self._far_off(self._left):
            # Going down wherever somebody has put it would be a surprise.
            self.reference.set_enabled(False, now_s)
        else:
            self._release(now_s)

    def _release(self, now_s: float) -> None:
        measured_m = self.reference.measured_m
        assert measured_m is not None, "refusal() saw a measurement"
        self.reference.restart(now_s)
        height_m = self.measured_height_m
        self._height_known = math.isfinite(height_m) and self._kind.height
        if not self._height_known:
            height_m = self.reference.config.retreat_height_m
        self._place, self._height = Follower(measured_m), Follower(np.array([height_m]))
        self._released, self._stopped, self._down, self._left = True, False, False, None
        self._unseen_m = 0.0
        self._heading.forget()

    def _watch_height(self, now_s: float) -> None:
        reference = self.reference
        if reference.fault is not None or not reference.enabled or not self._kind.height:
            return
        if not reference.fresh:
            if not self._down:
                reference.latch_silence(now_s)
            return
        if self._height_known and not math.isfinite(self.measured_height_m):
            text = "the height of the tool is not measured any more"
            reference.latch(Fault(reason=Reason.NO_PUSHER, text=text), now_s)
        off_m, limit_m = self.measured_height_m - float(self._height.position_m[0]), reference.config.tracking_limit_m
        if abs(off_m) > limit_m:
            text = (
                f"the tool is {off_m * 1e3:+.1f} mm off its commanded height, tracking_limit_m is {limit_m:g}; is the"
                " arm following, does the tool stand on something?"
            )
            reference.latch(Fault(reason=Reason.TRACKING_ERROR, text=text), now_s)

    def _move(self, now_s: float, dt_s: float) -> None:
        reference, config = self.reference, self.reference.config
        acceleration = config.acceleration_limit_mps2
        stopping = reference.fault is not None or not reference.enabled
        self._stopped = stopping and (self._stopped or self._place.standing)
        ahead = reference.ahead(now_s)
        self._held_back = False
        # Where the time of the stamps stands still, as in a simulation that is paused, so does the reference; and
        # once it goes on, nobody is led before the pusher is seen again.
        self._paused = not stopping and (self._still_s > PAUSE_S or (self._paused and not reference.fresh))
        if (stopping and not self._stopped) or not reference.enabled or self._paused:
            self._place.brake(dt_s, acceleration)
        else:
            before_m = self._place.position_m.copy()
            self._place.follow(dt_s, ahead, config.speed_limit_mps, acceleration, self._place_allowed)
            self._heading.take((self._place.position_m - before_m) * (self._down and not stopping))
        over = float(np.linalg.norm(self._place.position_m - ahead.end_m)) < SETTLED_M
        if not self._kind.height:
            self._down = self._down or (over and not stopping)
            return
        goal_m = self._height_goal_m(over)
        if goal_m is None:
            self._height.brake(dt_s, acceleration)
            return
        goal = Ahead(end_m=np.array([goal_m]), left_s=0.0)
        self._height.follow(dt_s, goal, config.approach_speed_mps, acceleration, self._height_allowed)
        if over and not stopping and not self._down:
            self._down = abs(float(self._height.position_m[0]) - goal_m) < SETTLED_M and self._height_followed(goal_m)

    def _height_goal_m(self, over: bool) -> float | None:
        """Height to go to; None to stop."""
        reference = self.reference
        if reference.fault is not None and reference.enabled:
            if not self._height.standing and math.isnan(self._hold_at_m):
                return None
            if math.isnan(self._hold_at_m):
                self._hold_at_m = self._relieved_m()
            return self._hold_at_m
        self._hold_at_m = math.nan
        if reference.fault is not None or not reference.fresh:
            return None
        if not reference.enabled:
            return self._raise_to_m if self._stopped else None
        return reference.config.tool_height_m if over or self._down else None

    def _relieved_m(self) -> float:
        """Where to hold after a fault: where it stands, or at the measured height if that is higher."""
        here_m = float(self._height.position_m[0])
        above_m = self.measured_height_m - here_m
        return here_m + min(above_m, self.reference.config.tracking_limit_m) if above_m > SETTLED_M else here_m

    def _height_followed(self, goal_m: float) -> bool:
        return not abs(self.measured_height_m - goal_m) > self.reference.config.tracking_limit_m

    def _place_allowed(self, here_m: Float[ndarray, "2"], stop_m: Float[ndarray, "2"]) -> bool:
        allowed = self._is_clear(here_m, stop_m)
        self._held_back |= not allowed
        return allowed

    def _is_clear(self, here_m: Float[ndarray, "2"], stop_m: Float[ndarray, "2"]) -> bool:
        """Neither outside, nor through a keep-out, nor away from the measured pusher; the way back always is."""
        config, measured_m = self.reference.config, self.reference.measured_m
        region = region_of(config)
        outside_m = float(region.outside_by(stop_m))
        if outside_m > max(float(region.outside_by(here_m)), 0.0) + 1e-9:
            return False
        end_m = stop_m if outside_m <= 0.0 else region.clamp(stop_m)
        if float(np.linalg.norm(region.reached(here_m, end_m) - end_m)) > 1e-9:
            return False
        return measured_m is None or leashed(here_m, stop_m, measured_m, config.tracking_limit_m)

    def _height_allowed(self, here_m: Float[ndarray, "1"], stop_m: Float[ndarray, "1"]) -> bool:
        # While enabled, a tool left behind is a fault, which stops the command by itself.
        if self.reference.enabled or not math.isfinite(self.measured_height_m):
            return True
        return leashed(here_m, stop_m, np.array([self.measured_height_m]), self.reference.config.tracking_limit_m)
