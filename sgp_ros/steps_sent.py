"""What the pusher was told: the step under way, where it leads, and whether it was taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.prediction import CommandedMotion
from sgp_core.safety import Fault
from sgp_core.types import Goal, Plan, Reason
from sgp_ros.convert import NS, PusherReport

REACTION_S = 0.03  # from a step on its way to the report of whoever took it
LED_M = 1e-4  # a step longer than planned by more than this is led further
UNTAKEN_S = 1.5  # so long without one that was taken: it is no single loss


class StepsSent:
    """The steps of mpc_node; times are ROS time.

    Args:
        step_duration_s: time one step takes.
    """

    def __init__(self, step_duration_s: float) -> None:
        self._step_duration_s = step_duration_s
        self._motion = CommandedMotion(step_duration_s)
        self.last_stamp_s = 0.0  # of the last message on `step`, holds included
        self.held_s = 0.0  # when a step under way was last stopped
        self.forget(same_time=True)

    def forget(self, *, same_time: bool = False) -> None:
        """Nothing was sent; in the same time, the pusher still knows the last stamp, and takes no older one."""
        if not same_time:
            self.last_stamp_s = self.held_s = 0.0
        self.plan: Plan | None = None  # of the step under way
        self.goal: Goal | None = None
        self._until_s, self._is_led = 0.0, False
        self._stamp_ns, self._sent_s = 0, 0.0
        self._is_carried = False
        self._awaited = False  # the last message was a step, and its report is still to come
        self._untaken_from_s: float | None = None  # when the first of those was sent that the pusher did not take
        self._motion.forget()

    def add(
        self, stamp_ns: int, u: Float[ndarray, "2"], now_s: float, speed_limit_mps: float, plan: Plan | None, goal: Goal
    ) -> None:
        """A step went out; the next plan's warm start belongs to it."""
        stamp_s = stamp_ns / NS
        self._motion.step(stamp_s, u, now_s, speed_limit_mps)
        self._stamp_ns, self._sent_s, self._is_carried, self._awaited = stamp_ns, now_s, True, True
        self.last_stamp_s, self._until_s = stamp_s, stamp_s + self._step_duration_s
        self.plan, self.goal = plan, goal
        self._is_led = plan is not None and bool(np.linalg.norm(u) > np.linalg.norm(plan.u[0]) + LED_M)

    def planned_anew(self) -> None:
        """The warm start belongs to a newer plan, whose step was not sent yet, or never will be."""
        self._is_carried = False

    def under_way(self, now_s: float) -> bool:
        """Whether the last step goes on."""
        return now_s < self._until_s

    def hold(self, now_s: float) -> float:
        """Stop it; returns the stamp of the step of zero that says so, which is never refused as an older one."""
        self.last_stamp_s, self.held_s = max(now_s, self.last_stamp_s + 1e-6), now_s
        self.stopped(now_s)
        return self.last_stamp_s

    def stopped(self, now_s: float) -> None:
        """The pusher stands."""
        self._until_s, self._is_carried = 0.0, False
        self._awaited, self._untaken_from_s = False, None
        self._motion.stand(now_s)

    def ends_at(self, goal: Goal | None, is_at: Callable[[ndarray, Goal], bool]) -> bool:
        """Whether the last step was planned to leave the box at this goal, and not merely to pass by.

        One that is led further than it was planned, for the next plan to cut it short, is not.
        """
        if self.plan is None or goal is None or goal is not self.goal or self._is_led:
            return False
        return is_at(self.plan.x[1], goal)

    def executed(self, pusher: PusherReport | None) -> bool:
        """Does the pusher do the step that the warm start belongs to? Nothing else heard, it does."""
        return pusher is not None and self._is_carried and not self._refused(pusher)

    def motion_m(self, pusher: PusherReport | None, from_s: float, to_s: float) -> Float[ndarray, "2"]:
        """How far the pusher is led from one instant to another [m; table]; unknown counts as not at all."""
        if pusher is None or self._refused(pusher):
            return np.zeros(2)
        return self._motion.between(from_s, to_s)

    def untaken(self, pusher: PusherReport | None, now_s: float) -> Fault | None:
        """Whether the pusher has taken no step for a while although it is ready; to be asked before each `add`."""
        if self._awaited and pusher is not None and pusher.stamp_s > self._sent_s + REACTION_S:
            if not self._refused(pusher):
                self._untaken_from_s = None
            elif self._untaken_from_s is None:
                self._untaken_from_s = self._sent_s
        if pusher is None or self._untaken_from_s is None or now_s - self._untaken_from_s < UNTAKEN_S:
            return None
        text = f"pusher_node has taken no step for {now_s - self._untaken_from_s:.1f} s; is the topic step connected?"
        if pusher.last_refused:
            text += f" The last step it refused: {pusher.last_refused}"
        return Fault(reason=Reason.NO_PUSHER, text=text)

    def _refused(self, pusher: PusherReport) -> bool:
        """It has spoken since the last step was sent, and did not take it."""
        return pusher.stamp_s > self._sent_s + REACTION_S and pusher.step_stamp_ns != self._stamp_ns
