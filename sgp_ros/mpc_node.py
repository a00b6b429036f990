"""States and goals in, steps out; planning runs in its own thread."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseArray
from std_srvs.srv import SetBool, Trigger

from sgp_core.config import Config, MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.mpc import Controller, in_time, initial_carry, toward_another_goal
from sgp_core.prediction import Outlook
from sgp_core.safety import FUTURE_TOLERANCE_S, Fault, check_age, check_reach, check_state, check_step
from sgp_core.types import Goal, Plan, PlanStatus, Reason, State, Step
from sgp_ros import convert, messages
from sgp_ros.goal_inputs import GoalConfig, GoalInputs
from sgp_ros.inputs import Inputs
from sgp_ros.models import Models, Ready
from sgp_ros.mpc_output import MpcOutput
from sgp_ros.mpc_settings import MpcNodeConfig
from sgp_ros.plan_record import PlanRecord
from sgp_ros.planning import Job, Outcome
from sgp_ros.priority import ProcessConfig
from sgp_ros.running import SENSOR_QOS, SgpNode, run
from sgp_ros.steps_sent import StepsSent

WATCH_PERIOD_S = 0.05
REPEAT_S = 1.0
JOIN_S, LATE_S = 0.8, 0.1
SWITCH_S = 2e-4


class MpcNode(SgpNode):
    """Plans at a fixed rate from the newest state and sends the first step, if nothing speaks against it.

    Everything but the planning itself runs in the executor's thread, so nothing here needs a lock.
    """

    def __init__(self) -> None:
        super().__init__("mpc_node", [PlannerConfig(), MpcConfig(), MpcNodeConfig(), GoalConfig()])
        own = self.settings.get(MpcNodeConfig)
        realtime = self.settings.get(ProcessConfig).realtime_priority > 0
        self._models = Models(own.torch_threads, self._wake, realtime=realtime)
        self._planner, self._mpc = self._wanted()
        self._use(self._models.first(own.bundle, (self._planner, self._mpc)))
        self._path_text, self._bundle_refused = own.bundle, ""  # why the last bundle that was set is not used
        self._layout = self._bundle.layout
        self._seed, self._enabled = own.seed, own.enabled
        self._carry, self._generation = initial_carry(self._seed), 0
        self._inputs = Inputs(self._layout, self._bundle.step_duration_s)
        self._sent = StepsSent(self._bundle.step_duration_s)
        self._due = False  # a control cycle waits for the next state
        self._cycle_s = 0.0  # ROS time of the last control cycle
        self._planned_from_s = 0.0  # stamp of the last state that was planned from
        self._now_s = 0.0  # ROS time at the last watch
        self._condition: Fault | None = None  # what was reported last
        self._reported_s = 0.0  # and when, steady
        self._record = PlanRecord()
        self._connect()
        self.settings.check = self._fits
        self.get_logger().info(f"ready, bundle {self._bundle.path} ({self._bundle.sha256[:12]})")

    def _connect(self) -> None:
        self._output = MpcOutput(self)
        self.create_subscription(PoseArray, "state", self._on_state, SENSOR_QOS)
        self.create_subscription(DiagnosticArray, "pusher_state", self._on_pusher, SENSOR_QOS)
        self._goals = GoalInputs(self, self._layout, self._new_goal, lambda: self._inputs.goal, self._fresh_state)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/enable", self._on_enable)
        # Control follows ROS time, so that a replay at half speed plans half as often. The watch does not: it has to
        # notice that time itself stands still.
        self._timer = self.create_timer(1.0 / self._mpc.rate_hz, self._on_control)
        self.create_timer(WATCH_PERIOD_S, self._on_watch, clock=self.steady_clock)

    def working_threads(self) -> Collection[int]:
        """The planner's."""
        return (self._worker.thread_id,)

    # --- settings --------------------------------------------------------------------------------------------------

    def _wanted(self) -> tuple[PlannerConfig, MpcConfig]:
        mpc = self.settings.get(MpcConfig)
        return in_time(self.settings.get(PlannerConfig), mpc), mpc

    def _take_settings(self) -> None:
        wanted = self._wanted()
        if wanted == (self._planner, self._mpc):
            return
        self._planner, self._mpc = wanted
        # The carry stays: a new weight or horizon does not throw the warm start away.
        self._controller = Controller(self._bundle, self._planner, self._mpc)
        self._record.forget_expected()
        self._cycle_s = 0.0

    def _fits(self, candidates: Sequence[Config], names: set[str]) -> None:
        planner = next(config for config in candidates if isinstance(config, PlannerConfig))
        mpc = next(config for config in candidates if isinstance(config, MpcConfig))
        goals = next(config for config in candidates if isinstance(config, GoalConfig))
        Controller(self._bundle, planner, mpc)
        if goals.goal and goals != self.settings.get(GoalConfig):
            check_reach(self._goals.named(goals.goal), self._layout, planner)
        if "bundle" in names:
            own = next(config for config in candidates if isinstance(config, MpcNodeConfig))
            self._models.check(own.bundle, self._bundle)

    def _refresh(self) -> None:
        """Take what was set since the last look."""
        changed = self.settings.changed()
        if changed:
            self._take_settings()
            self._timer.timer_period_ns = round(convert.NS / self._mpc.rate_hz)
        if "goal" in changed:
            self._goals.take_named()
        if "bundle" in changed:
            self._models.begin((self._planner, self._mpc))

    # --- models ----------------------------------------------------------------------------------------------------

    def _use(self, ready: Ready) -> None:
        self._bundle, self._worker, self._controller = ready.bundle, ready.worker, ready.controller
        self.get_logger().info(f"the first plan of {ready.bundle.path} took {ready.wall_s * 1e3:.0f} ms; it takes over")

    def _take_models(self) -> None:
        """Put new models in the place of the old ones, between two plans; the end of a plan calls this again."""
        ready = None if self._worker.busy else self._models.take((self._planner, self._mpc))
        if isinstance(ready, InputError):
            self._bundle_refused = str(ready)
            self.get_logger().error(f"the bundle stays as it was: {ready}")
            self.settings.put("bundle", self._path_text)
        elif ready is not None:
            self._worker.stop(0.0)
            self._path_text, self._bundle_refused = self.settings.get(MpcNodeConfig).bundle, ""
            self._use(ready)
            self.take_priority()  # the new planner's thread was started by one that had left it
            self._record.forget_expected()

    # --- input: swap data, nothing else ----------------------------------------------------------------------------

    def _on_state(self, message: PoseArray) -> None:
        self._inputs.take_state(message, self.steady_s())
        if self._due:
            self._on_planned()  # the next plan starts from the carry of the last one
        if self._due:
            self._start_plan()

    def _on_pusher(self, message: DiagnosticArray) -> None:
        self._inputs.take_pusher(message, self.steady_s())

    def _new_goal(self, goal: Goal) -> None:
        if self._inputs.take_goal(goal, self._planner):
            # The wider band in which a goal counts as kept belongs to the goal that was reached.
            self._carry = toward_another_goal(self._carry)

    def _fresh_state(self) -> State | Fault:
        state = self._inputs.state
        if state is None:
            return Fault(reason=Reason.NO_STATE, text="no state yet")
        return check_age(state.stamp_s, self.now_s(), self._mpc.state_timeout_s) or state

    # --- one control cycle -----------------------------------------------------------------------------------------

    def _on_control(self) -> None:
        self._refresh()
        self._on_planned()  # a plan that has just ended comes first: the next one starts from its carry
        obstacle = self._obstacle(newest=True)
        if obstacle is not None:
            self._due, self._cycle_s = False, 0.0
            self._report(obstacle)
            return
        # The next state starts the plan, so that it is as young as can be; without one this one grows stale, and the
        # watch sees that. Missed are cycles with the last plan still running or no state, and those slept through.
        now_s = self.now_s()
        slept = round((now_s - self._cycle_s) * self._mpc.rate_hz) - 1 if self._cycle_s > 0.0 else 0
        self._record.missed_asleep += max(slept, 0)
        self._record.missed_planning += self._worker.busy
        self._record.missed_state += self._due and not self._worker.busy
        self._cycle_s, self._due = now_s, True

    def _start_plan(self) -> None:
        state, goal, now_s = self._inputs.state, self._inputs.goal, self.now_s()
        if state is None or goal is None or self._worker.busy or state.stamp_s <= self._planned_from_s:
            return
        if self._obstacle(newest=True) is not None:
            return  # the next control cycle says what it is
        self._due, self._planned_from_s = False, min(state.stamp_s, now_s)
        # The plan's time counts from the cycle, waiting for the state included; half of it is left in any case.
        budget_s = self._planner.budget_ms * 1e-3
        spent_s = min(max(now_s - self._cycle_s, 0.0), 0.5 * budget_s)
        start_s = now_s + min(self._record.expected_s, budget_s - spent_s)
        pusher = self._inputs.pusher
        moved_m, executed = self._sent.motion_m(pusher, state.stamp_s, start_s), self._sent.executed(pusher)
        self._submit(state, goal, executed, Outlook(start_s=start_s, motion_m=moved_m, spent_s=spent_s))

    def _submit(self, state: State, goal: Goal, executed: bool, outlook: Outlook | None = None) -> None:
        job = Job(
            controller=self._controller,
            state=state,
            goal=goal,
            carry=self._carry,
            executed=executed,
            outlook=outlook,
            generation=self._generation,
        )
        self._worker.submit(job)

    def _wake(self) -> None:
        """Called by the planner's thread; during the warm-up nobody spins yet."""
        if self.executor is not None:
            self.executor.create_task(self._on_planned)

    def _on_planned(self) -> None:
        while (outcome := self._worker.take()) is not None:
            if outcome.job.generation != self._generation:
                continue  # planned for a world that is gone: reset, or time was set back
            if outcome.job.goal is not self._inputs.goal:
                self._on_control()  # the goal moved meanwhile: plan again rather than push towards the old one
                continue
            self._conclude(outcome)
        self._take_models()

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.job.state.stamp_s <= self._sent.held_s:
            return  # a hold was sent meanwhile, and its reason is on `status`
        decision, now_s = outcome.decision, self.now_s()
        if decision is not None and decision.plan is not None:
            self._record.planned(outcome.wall_s, outcome.cpu_s)
            late_s = now_s - decision.step.stamp_s
            if decision.step.status == Reason.RUNNING and late_s > self._late_after_s:
                # As if it had never been planned: the step under way goes on, and the next plan starts from there.
                self._record.late += 1
                if not self._sent.under_way(now_s):
                    text = f"step dropped, {late_s:.3f} s later than it was planned to begin; is the computer too busy?"
                    self._report(Fault(reason=Reason.LATE_STEP, text=text))
                return
        self._sent.planned_anew()
        if decision is None:
            self.get_logger().error(f"planning failed: {outcome.error!r}")
            self._carry = initial_carry(self._seed)
            self._report(Fault(reason=Reason.PLANNER_ERROR, text=f"planning failed: {outcome.error}"))
            return
        self._carry = decision.carry
        self._record.add(decision, outcome.job)
        if decision.plan is not None and decision.plan.status is not PlanStatus.FAILED:
            self._output.plan(decision.plan, outcome.job.goal, self._bundle)
        step = decision.step
        if step.status != Reason.RUNNING:
            self._report(Fault(reason=step.status, text=step.reason))
            return
        # Planning took time: the world is looked at again, and the state planned from has to be good still.
        refused = self._obstacle(newest=True) or self._refusal(outcome, step, now_s)
        if refused is None and not self._enabled:
            refused = Fault(reason=Reason.DRY_RUN, text="planned, not sent: call mpc_node/enable with true to push")
        if refused is not None:
            self._report(outcome.blamed(refused))
            return
        untaken = self._sent.untaken(self._inputs.pusher, now_s)
        self._send(step, decision.plan, outcome.job, now_s)
        self._report(untaken or Fault(reason=Reason.RUNNING, text=step.reason), sent=True)

    def _send(self, step: Step, plan: Plan | None, job: Job, now_s: float) -> None:
        """A plan that ended early begins now: a stamp from the future would outlast a hold."""
        stamp_ns = self._output.step(min(step.stamp_s, now_s), step.u)
        self._record.sent(self.now_s() - job.state.stamp_s)
        self._sent.add(stamp_ns, step.u, now_s, self._planner.speed_limit_mps, plan, job.goal)

    @property
    def _late_after_s(self) -> float:
        """A step this much later than it was planned to begin is one that a newer plan should replace."""
        return max(LATE_S, 1.0 / self._mpc.rate_hz)

    # --- what speaks against a step --------------------------------------------------------------------------------

    def _obstacle(self, *, newest: bool) -> Fault | None:
        """Why no step may be planned or sent now; with `newest` the very last state has to be good, too."""
        if newest and self._inputs.bad_state is not None:
            return self._inputs.bad_state
        now_s, steady_s = self.now_s(), self.steady_s()
        return self._inputs.obstacle(now_s, steady_s, self._planner, self._mpc, enabled=self._enabled)

    def _refusal(self, outcome: Outcome, step: Step, now_s: float) -> Fault | None:
        """The same checks for the state that was planned from, and for the step itself."""
        state, plan = outcome.job.state, outcome.decision.plan if outcome.decision else None
        begins_m = self._sent.motion_m(self._inputs.pusher, step.stamp_s, min(step.stamp_s, now_s))
        start_m = state.x[-2:] if plan is None else plan.x[0, -2:] + begins_m
        wrong = check_state(state.x, state.stamp_s, now_s, self._mpc.state_timeout_s, self._planner)
        return wrong or check_step(step.u, start_m, self._planner)

    def _on_watch(self) -> None:
        """Between control cycles: a step under way must not outlive the trust in the state."""
        self._refresh()
        now_s = self.now_s()
        if now_s < self._now_s - FUTURE_TOLERANCE_S:
            self._time_set_back()
        self._now_s = now_s
        obstacle = self._obstacle(newest=False)
        if obstacle is None:
            return
        # At once when it is news, and now and then for those who came later: without ROS time no control cycle says it.
        news = self._condition is None or obstacle.reason != self._condition.reason
        if news or self.steady_s() - self._reported_s >= REPEAT_S:
            self._report(obstacle)

    def _time_set_back(self) -> None:
        """A recording started again: what was known is from the future."""
        self.get_logger().warning("ROS time was set back: state and warm start are forgotten")
        self._inputs.forget_state()
        self._restart()
        self._timer.reset()  # else it would sleep until time has caught up

    def _restart(self, *, same_time: bool = False) -> None:
        self._carry = initial_carry(self._seed)
        self._generation += 1
        self._planned_from_s = 0.0
        self._sent.forget(same_time=same_time)

    def _hold(self) -> None:
        """Stop a step under way.

        A step that was right when it was sent may end in the box or at the border once nobody looks any more. A step
        of zero from the reference of now replaces the unfinished one, so it is a stop, with the protocol that there is:
        no second kind of message that an arm's driver would have to know. It is sent once: should it be lost, the line
        under way still ends after `step_duration_s`, and the pusher's own watchdogs stay awake.
        """
        now_s = self.now_s()
        if now_s > 0.0 and self._sent.under_way(now_s):
            self._output.step(self._sent.hold(now_s), np.zeros(2))

    # --- reports ---------------------------------------------------------------------------------------------------

    def _report(self, condition: Fault, *, sent: bool = False) -> None:
        """Publish the status; anything but RUNNING ends a step under way, unless that was `sent` just now."""
        if sent:
            pass
        elif condition.reason in (Reason.PUSHER_DISABLED, Reason.PUSHER_FAULT):
            # The pusher holds already, and would only refuse another step; the last one was not carried out.
            self._sent.stopped(self.now_s())
        elif condition.reason == Reason.GOAL_REACHED and self._sent.ends_at(self._inputs.goal, self._controller.is_at):
            pass  # it counts as reached a little before
        elif condition.reason != Reason.RUNNING:
            self._hold()
        if not sent and condition.reason not in (Reason.RUNNING, Reason.GOAL_REACHED):
            self._generation += 1  # no step from before this may be sent after it
        if self._condition is None or condition.reason != self._condition.reason:
            self.get_logger().info(f"{condition.reason}: {condition.text}")
        self._condition, self._reported_s = condition, self.steady_s()
        self._output.status(condition, self._values())

    def _values(self) -> dict[str, object]:
        age_ms = self._inputs.age_s(self.now_s()) * 1e3
        return self._record.values() | {"state_age_ms": age_ms, "enabled": self._enabled}

    def diagnostics(self) -> DiagnosticStatus:
        """The same as on `status`."""
        bundle = {"bundle": self._bundle.path, "bundle_sha256": self._bundle.sha256}
        values = {**self._values(), **bundle, "bundle_refused": self._bundle_refused}
        condition = self._condition or Fault(reason=Reason.NO_STATE, text="started, and not looked at any state yet")
        return messages.report(self.report_name, condition, values)

    # --- services --------------------------------------------------------------------------------------------------

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._hold()
        self._restart(same_time=True)
        response.success = True
        response.message = "the warm start is forgotten, a step under way is stopped; the goal stays"
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._enabled = bool(request.data)
        response.success = True
        response.message = "enabled: steps are sent" if self._enabled else "dry run: plans are shown, no step is sent"
        if not self._enabled:
            self._report(Fault(reason=Reason.DRY_RUN, text=response.message))
        return response

    def close(self) -> bool:
        """Stop a step under way and the planner."""
        self._generation += 1
        self._hold()
        ended = self._worker.stop(JOIN_S) and not self._models.loading
        self._output.wait_until_heard()
        if not ended:
            self.get_logger().warning(f"the last plan did not end within {JOIN_S:g} s and is abandoned")
        return ended


def main() -> int:
    """Run the node."""
    # The planner's thread asks for Python's lock after each iteration, and would wait for it while messages come in.
    sys.setswitchinterval(SWITCH_S)
    return run(MpcNode)


if __name__ == "__main__":
    sys.exit(main())
