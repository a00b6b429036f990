"""What the pusher was told: the step under way, where it leads, and whether it was taken."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.prediction import CommandedMotion
from sgp_core.types import Goal, Plan
from sgp_ros.convert import NS, PusherReport

REACTION_S = 0.03  # from a step on its way to the report of whoever took it


class StepsSent:
    """The steps of mpc_node; times are ROS time.

    Args:
        step_duration_s: time one step takes.
    """

    def __init__(self, step_duration_s: float) -> None:
        self._step_duration_s = step_duration_s
        self._motion = CommandedMotion(step_duration_s)
        self.forget()

    def forget(self) -> None:
        """Nothing was sent."""
        self.last_stamp_s = 0.0  # of the last message on `step`, holds included
        self.held_s = 0.0  # when a step under way was last stopped
        self.plan: Plan | None = None  # of the step under way
        self.goal: Goal | None = None
        self._until_s = 0.0
        self._stamp_ns, self._sent_s = 0, 0.0
        self._is_carried = False
        self._motion.forget()

    def add(
        self, stamp_ns: int, u: Float[ndarray, "2"], now_s: float, speed_limit_mps: float, plan: Plan | None, goal: Goal
    ) -> None:
        """A step went out; the next plan's warm start belongs to it."""
        stamp_s = stamp_ns / NS
        self._motion.step(stamp_s, u, now_s, speed_limit_mps)
        self._stamp_ns, self._sent_s, self._is_carried = stamp_ns, now_s, True
        self.last_stamp_s, self._until_s = stamp_s, stamp_s + self._step_duration_s
        self.plan, self.goal = plan, goal

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
        self._motion.stand(now_s)

    def ends_at(self, goal: Goal | None, is_at: Callable[[ndarray, Goal], bool]) -> bool:
        """Whether the last step was planned to leave the box at this goal, and not merely to pass by."""
        return self.plan is not None and goal is not None and goal is self.goal and is_at(self.plan.x[1], goal)

    def executed(self, pusher: PusherReport | None) -> bool:
        """Does the pusher do the step that the warm start belongs to? Nothing else heard, it does."""
        return pusher is not None and self._is_carried and not self._refused(pusher)

    def motion_m(self, pusher: PusherReport | None, from_s: float, to_s: float) -> Float[ndarray, "2"]:
        """How far the pusher is led from one instant to another [m; table]; unknown counts as not at all."""
        if pusher is None or self._refused(pusher):
            return np.zeros(2)
        return self._motion.between(from_s, to_s)

    def _refused(self, pusher: PusherReport) -> bool:
        """It has spoken since the last step was sent, and did not take it."""
        return pusher.stamp_s > self._sent_s + REACTION_S and pusher.step_stamp_ns != self._stamp_ns
