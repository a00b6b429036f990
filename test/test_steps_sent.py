"""What mpc_node believes of the step under way, and of whether the pusher took it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("diagnostic_msgs", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from sgp_core.safety import Fault
from sgp_core.types import Goal, Plan, PlanStatus, Reason
from sgp_ros.convert import NS, PusherReport
from sgp_ros.steps_sent import REACTION_S, StepsSent

GOAL = Goal(markers_m=np.zeros((5, 2)))
U = np.array([0.04, 0.0])
PLAN = Plan(
    stamp_s=100.0,
    u=np.tile(U, (4, 1)),
    x=np.arange(5.0)[:, None] * np.ones(12),
    walk=0,
    objective=1.0,
    task_cost=1.0,
    distance2=0.0,
    data_distance=0.0,
    warm_start_objective=1.0,
    status=PlanStatus.IMPROVED,
    schedule=(1,),
    solve_s=0.0,
)


def report(stamp_s: float, step_s: float) -> PusherReport:
    return PusherReport(
        stamp_s=stamp_s,
        condition=Fault(reason=Reason.RUNNING, text=""),
        reference_m=np.zeros(2),
        step_stamp_ns=round(step_s * NS),
        step_duration_s=1.0,
        enabled=True,
        faulted=False,
    )


@pytest.fixture
def sent() -> StepsSent:
    made = StepsSent(1.0)
    made.add(100 * NS, U, 100.0, 0.12, PLAN, GOAL)
    return made


def test_a_step_counts_as_executed_until_the_pusher_says_otherwise(sent: StepsSent) -> None:
    assert not sent.executed(None)
    assert sent.executed(report(99.99, 0.0))  # spoke before it can have come
    assert sent.executed(report(100.0 + 0.5 * REACTION_S, 0.0))
    assert sent.executed(report(100.2, 100.0))
    refused = report(100.2, 99.0)
    assert not sent.executed(refused)
    assert not sent.motion_m(refused, 100.0, 100.5).any()
    np.testing.assert_allclose(sent.motion_m(report(100.2, 100.0), 100.0, 100.5), 0.5 * U)


def test_a_newer_plan_that_is_not_sent_takes_the_warm_start_but_not_the_motion(sent: StepsSent) -> None:
    sent.planned_anew()
    taken = report(100.2, 100.0)
    assert not sent.executed(taken)
    np.testing.assert_allclose(sent.motion_m(taken, 100.0, 100.5), 0.5 * U)


def test_a_hold_stops_the_motion_and_is_newer_than_the_step(sent: StepsSent) -> None:
    assert sent.under_way(100.5)
    assert sent.hold(100.5) == 100.5
    assert not sent.under_way(100.6)
    np.testing.assert_allclose(sent.motion_m(report(100.4, 100.0), 100.0, 101.0), 0.5 * U)
    # Even if the clock went back a little.
    assert sent.hold(100.49) > 100.5
    assert sent.held_s == 100.49


def test_only_a_step_planned_to_end_at_this_goal_may_end_by_itself(sent: StepsSent) -> None:
    assert sent.ends_at(GOAL, lambda x, _: bool((x == PLAN.x[1]).all()))
    assert not sent.ends_at(GOAL, lambda x, _: bool((x == PLAN.x[-1]).all()))  # passing by on the way
    assert not sent.ends_at(dataclasses.replace(GOAL), lambda *_: True)  # an equal goal, but a new one
    assert not sent.ends_at(None, lambda *_: True)
    sent.add(101 * NS, 1.5 * PLAN.u[0], 101.0, 0.12, PLAN, GOAL)
    assert not sent.ends_at(GOAL, lambda *_: True)  # led further than to its end, as long as nobody cuts it short
    sent.forget()
    assert not sent.ends_at(GOAL, lambda *_: True)


def test_steps_that_are_not_taken_are_said_after_a_while_with_the_last_refusal(sent: StepsSent) -> None:
    assert sent.untaken(report(101.0, 99.0), 101.0) is None  # one may get lost
    sent.add(101 * NS, U, 101.0, 0.12, PLAN, GOAL)
    fault = sent.untaken(dataclasses.replace(report(102.0, 99.0), last_refused="LATE_STEP: too old"), 102.0)
    assert fault is not None
    assert fault.reason == Reason.NO_PUSHER
    assert "no step for 2.0 s" in fault.text
    assert "LATE_STEP: too old" in fault.text


def test_a_step_that_is_taken_ends_the_complaint(sent: StepsSent) -> None:
    assert sent.untaken(report(102.0, 99.0), 102.0) is not None
    sent.add(102 * NS, U, 102.0, 0.12, PLAN, GOAL)
    assert sent.untaken(report(103.0, 102.0), 103.0) is None
    sent.add(103 * NS, U, 103.0, 0.12, PLAN, GOAL)
    assert sent.untaken(report(104.0, 99.0), 104.0) is None  # counted from the last one that was taken


def test_a_hold_is_no_step_that_has_to_be_taken(sent: StepsSent) -> None:
    sent.hold(100.5)
    assert sent.untaken(report(105.0, 100.5), 105.0) is None
