"""What mpc_node knows of the world, when it learnt it, and what of that speaks against a step."""

from __future__ import annotations

import math

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray

from sgp_core.config import LimitsConfig, MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault, check_age, check_reach, check_rigid, check_state, check_tracking
from sgp_core.types import Goal, Reason, State
from sgp_ros import convert

PUSHER_STATE_TIMEOUT_S = 1.0
READ_AT_LEAST_S = 0.1


class Inputs:
    """The newest state, goal and pusher report.

    Args:
        layout: of the bundle; states and goals have to fit it.
        step_duration_s: of the bundle; the pusher's has to be the same.
    """

    def __init__(self, layout: MarkerLayout, step_duration_s: float) -> None:
        self._layout, self._step_duration_s = layout, step_duration_s
        self._state: State | None = None  # the last good one
        self._bad_state: Fault | None = None  # what is wrong with the newest one, if something is
        self._unread: tuple[PoseArray, float] | None = None
        self.goal: Goal | None = None
        self.pusher: convert.PusherReport | None = None
        self._state_received_s = self._pusher_received_s = 0.0  # steady
        self._pusher_error = ""

    def take_state(self, message: PoseArray, steady_s: float) -> None:
        """Keep the newest; it is read when somebody looks, because far more come than are planned from."""
        if self._bad_state is not None or steady_s - self._state_received_s > READ_AT_LEAST_S:
            self._read_state()  # a good one between bad ones counts
        self._unread = message, steady_s

    @property
    def state(self) -> State | None:
        """The last good one. A bad one does not replace it: it serves until it is too old."""
        self._read_state()
        return self._state

    @property
    def bad_state(self) -> Fault | None:
        """What is wrong with the newest one, if something is."""
        self._read_state()
        return self._bad_state

    def age_s(self, now_s: float) -> float:
        """Of the last good state on the clock of the stamps [s]; NaN before the first."""
        return math.nan if self.state is None else now_s - self.state.stamp_s

    def _read_state(self) -> None:
        if self._unread is None:
            return
        (message, steady_s), self._unread = self._unread, None
        state = convert.state_from_msg(message, self._layout)
        if isinstance(state, State):
            # mocap_node may have been given another layout than the bundle was trained on.
            strange = check_rigid(self._layout.markers(state.x), self._layout)
            state = state if strange is None else Fault(reason=Reason.BAD_STATE, text=f"the state {strange}")
        if isinstance(state, Fault):
            self._bad_state = state
        else:
            self._state, self._bad_state, self._state_received_s = state, None, steady_s

    def take_pusher(self, message: DiagnosticArray, steady_s: float) -> None:
        """The report, or why it cannot be read."""
        try:
            self.pusher = convert.pusher_report_from_msg(message)
            self._pusher_received_s, self._pusher_error = steady_s, ""
        except InputError as error:
            self.pusher, self._pusher_error = None, str(error)

    def take_goal(self, goal: Goal, limits: LimitsConfig) -> bool:
        """Whether it is news; the same goal again is not, and planning towards it goes on.

        Raises:
            InputError: the goal is out of reach.
        """
        check_reach(goal, self._layout, limits)
        if self.goal is not None and np.array_equal(goal.markers_m, self.goal.markers_m):
            return False
        self.goal = goal
        return True

    def forget_state(self) -> None:
        """For a clock that was set back; the goal has no time."""
        self._state = self._bad_state = self._unread = None

    def obstacle(
        self, now_s: float, steady_s: float, planner: PlannerConfig, mpc: MpcConfig, *, enabled: bool
    ) -> Fault | None:
        """Why no step may be planned or sent now; None when one may.

        Args:
            now_s: ROS time, the clock of the stamps.
            steady_s: steady time, for what has to be noticed while ROS time stands still.
            planner: its limits count.
            mpc: its `state_timeout_s` counts.
            enabled: in a dry run the pusher is not asked.
        """
        if now_s <= 0.0:
            return Fault(reason=Reason.NO_STATE, text="ROS time is 0: use_sim_time is set, and nobody publishes /clock")
        state, bad_state = self.state, self.bad_state
        if state is None:
            return bad_state or Fault(reason=Reason.NO_STATE, text="no state yet; is mocap_node running?")
        wrong = check_state(state.x, state.stamp_s, now_s, mpc.state_timeout_s, planner)
        if wrong is None:
            wrong = check_age(self._state_received_s, steady_s, mpc.state_timeout_s)
        if wrong is not None and wrong.reason == Reason.STALE_STATE and bad_state is not None:
            return bad_state  # states do come; what is wrong with them says more than their age
        if wrong is not None:
            return wrong
        if self.goal is None:
            return Fault(
                reason=Reason.NO_GOAL, text="no goal yet; publish goal_pose or goal_markers, or set the parameter goal"
            )
        return self._pusher_obstacle(state, steady_s, planner) if enabled else None

    def _pusher_obstacle(self, state: State, steady_s: float, limits: LimitsConfig) -> Fault | None:
        pusher = self.pusher
        if pusher is None or steady_s - self._pusher_received_s > PUSHER_STATE_TIMEOUT_S:
            text = self._pusher_error or f"no pusher_state for {PUSHER_STATE_TIMEOUT_S:g} s; is pusher_node running?"
            return Fault(reason=Reason.NO_PUSHER, text=text)
        if not abs(pusher.step_duration_s - self._step_duration_s) <= 1e-6:  # and not if it is NaN
            text = (
                f"pusher_node has step_duration_s = {pusher.step_duration_s:g}, the bundle was trained with"
                f" {self._step_duration_s:g}; start pusher_node with the bundle's"
            )
            return Fault(reason=Reason.STEP_DURATION_MISMATCH, text=text)
        reason = pusher.condition.reason
        if reason == Reason.RUNNING:
            return check_tracking(pusher.reference_m, state.x[-2:], limits, pusher.told_m)
        # Only the node itself can tell "waiting" from a latched fault of the same reason.
        if reason in (Reason.PUSHER_DISABLED, Reason.APPROACHING, Reason.NO_PUSHER) and not pusher.faulted:
            return Fault(reason=reason, text=f"pusher: {pusher.condition.text}")
        text = f"pusher fault {reason}: {pusher.condition.text}; mend it, then call pusher_node/clear_fault"
        return Fault(reason=Reason.PUSHER_FAULT, text=text)
