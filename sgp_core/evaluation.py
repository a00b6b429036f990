"""Closed loops without ROS on the simulated rig, many times faster than real time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.bundle import ModelBundle
from sgp_core.config import LimitsConfig, MpcConfig, PlannerConfig, SimConfig
from sgp_core.mpc import Controller, Solver, goal_error, initial_carry
from sgp_core.prediction import CommandedMotion, Outlook
from sgp_core.pusher import BORDER_SLACK_M
from sgp_core.run_cost import MAX_STEPS, SETTLE_S, SUCCESS_COST_CM2, cost_cm2
from sgp_core.safety import MEASURED_SLACK_M, ROUNDING_M, check_place, check_step, region_of
from sgp_core.sim.camera import Camera, Glance
from sgp_core.sim.rig import Rig
from sgp_core.types import Goal, Reason, State


@dataclass(frozen=True, kw_only=True)
class Run:
    """One closed loop, with ground truth."""

    cost_cm2: float  # sum over marker coordinates of the squared error, 1 s after the last step
    initial_cost_cm2: float
    error_m: float  # mean distance of the markers from their goals, at the same time
    yaw_rad: float  # absolute yaw error, at the same time
    arrived: bool  # by the controller's own judgement
    steps: int
    unsafe_steps: int  # longer than the limit, or out of the workspace
    plan_s: list[float]
    states: list[State]  # that decisions were made from
    box_poses: list[tuple[float, float, float]]  # before each step and at the end
    pusher_m: list[tuple[float, float]]  # at the same times
    last_reason: Reason
    last_words: str  # what the controller said to it

    @property
    def success(self) -> bool:
        """Arrived, and truly there."""
        return self.arrived and self.cost_cm2 <= SUCCESS_COST_CM2

    def within(self, error_m: float, yaw_deg: float) -> bool:
        """Whether the box ended so close to the goal, whatever the controller thinks."""
        return self.error_m <= error_m and math.degrees(self.yaw_rad) <= yaw_deg


def run_loop(
    bundle: ModelBundle,
    planner: PlannerConfig,
    mpc: MpcConfig,
    sim: SimConfig,
    goal: Goal,
    box_start: tuple[float, float, float] = (0.50, 0.0, 0.0),
    pusher_start: tuple[float, float] = (0.41, 0.0),
    *,
    solver: Solver | None = None,
    camera: bool = False,
    max_steps: int = MAX_STEPS,
) -> Run:
    """Push until the controller arrives or the steps are spent; a cycle that gives no step counts as one.

    Args:
        bundle: models and layout.
        planner: limits, and the settings of the score-guided planner.
        mpc: when the goal counts as reached, how old a state may be.
        sim: physics and sensors.
        goal: where the markers should end [m; table].
        box_start: pose of the box [m, rad; table].
        pusher_start: position of the pusher [m; table].
        solver: makes the plans; None for the score-guided planner.
        camera: whether states come as from a camera, late and through the estimation, or at once.
        max_steps: how many there are.
    """
    layout = bundle.layout
    rig = Rig(layout, sim, box_start, pusher_start)
    eyes: Camera | Glance = Camera(rig, layout, sim) if camera else Glance(rig, layout)
    eyes.wait(SETTLE_S)
    mpc = replace(mpc, rate_hz=1.0 / bundle.step_duration_s)  # a plan per step, whatever it is for
    controller, carry = Controller(bundle, planner, mpc, solver), initial_carry(sim.seed)
    motion, reference = CommandedMotion(bundle.step_duration_s), rig.pusher()
    initial = cost_cm2(rig.markers(), goal)
    states, poses, pushers, plan_s = [], [rig.box_pose()], [_point(rig)], []
    steps, unsafe, went = 0, 0, True
    while True:
        state, now_s, u = eyes.state(), rig.time_s, np.zeros(2)
        if state is None:
            reason, words = Reason.NO_STATE, "no state yet"
        elif now_s - state.stamp_s > mpc.state_timeout_s:
            reason, words = Reason.STALE_STATE, f"the state is {now_s - state.stamp_s:.3f} s old"
        else:
            outlook: Outlook | None = Outlook(start_s=now_s, motion_m=motion.between(state.stamp_s, now_s))
            outlook = outlook if state.stamp_s < now_s else None
            decision = controller.control(state, goal, carry, executed=went, outlook=outlook)
            carry, reason, u = decision.carry, decision.step.status, decision.step.u
            words = decision.step.reason
            states.append(state)
            if decision.plan is not None and steps < max_steps:
                plan_s.append(decision.plan.solve_s)
        if reason is Reason.GOAL_REACHED or steps == max_steps:
            break
        steps, went = steps + 1, reason is Reason.RUNNING
        asked, u = u, _within(planner, reference, u)
        motion.step(now_s, u, now_s, planner.speed_limit_mps)
        eyes.move(reference, u, bundle.step_duration_s)
        unsafe += is_unsafe(planner, reference, asked, rig.pusher())
        reference = reference + u
        poses.append(rig.box_pose())
        pushers.append(_point(rig))
    eyes.wait(SETTLE_S)
    error_m, yaw_rad = goal_error(layout, layout.pack(rig.markers(), rig.pusher()), goal)
    return Run(
        cost_cm2=cost_cm2(rig.markers(), goal),
        initial_cost_cm2=initial,
        error_m=error_m,
        yaw_rad=yaw_rad,
        arrived=reason is Reason.GOAL_REACHED,
        steps=steps,
        unsafe_steps=unsafe,
        plan_s=plan_s,
        states=states,
        box_poses=[*poses, rig.box_pose()],
        pusher_m=[*pushers, _point(rig)],
        last_reason=reason,
        last_words=words,
    )


def _within(limits: LimitsConfig, reference_m: Float[ndarray, "2"], u: Float[ndarray, "2"]) -> Float[ndarray, "2"]:
    """The step that is carried out: the pusher node stops its reference at the border, and so does this."""
    end_m = reference_m + u
    reached_m = region_of(limits).reached(reference_m, end_m)
    return u if np.abs(reached_m - end_m).max() <= ROUNDING_M else reached_m - reference_m


def is_unsafe(
    limits: LimitsConfig, reference_m: Float[ndarray, "2"], u: Float[ndarray, "2"], pusher_m: Float[ndarray, "2"]
) -> bool:
    """Whether the pusher node would refuse a step, or the pusher is where it must not be after it."""
    asked = check_step(u, reference_m, limits, slack_m=BORDER_SLACK_M)
    return asked is not None or check_place("the pusher", pusher_m, limits, MEASURED_SLACK_M) is not None


def _point(rig: Rig) -> tuple[float, float]:
    x_m, y_m = rig.pusher()
    return float(x_m), float(y_m)
