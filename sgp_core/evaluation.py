"""Closed loops without ROS on the simulated rig, many times faster than real time."""

from __future__ import annotations

from dataclasses import dataclass

from sgp_core.bundle import ModelBundle
from sgp_core.config import MpcConfig, PlannerConfig, SimConfig
from sgp_core.mpc import Controller, initial_carry
from sgp_core.run_cost import MAX_STEPS, SETTLE_S, SUCCESS_COST_CM2, cost_cm2
from sgp_core.sim.rig import Rig
from sgp_core.types import Goal, Reason, State


@dataclass(frozen=True, kw_only=True)
class Run:
    """One closed loop, with ground truth."""

    cost_cm2: float  # sum over marker coordinates of the squared error, 1 s after the last step
    initial_cost_cm2: float
    arrived: bool  # by the controller's own judgement
    steps: int
    plan_s: list[float]
    states: list[State]
    box_poses: list[tuple[float, float, float]]
    last_reason: Reason

    @property
    def success(self) -> bool:
        """Arrived, and truly there."""
        return self.arrived and self.cost_cm2 <= SUCCESS_COST_CM2


def run_loop(
    bundle: ModelBundle,
    planner: PlannerConfig,
    mpc: MpcConfig,
    sim: SimConfig,
    goal: Goal,
    box_start: tuple[float, float, float] = (0.50, 0.0, 0.0),
    pusher_start: tuple[float, float] = (0.41, 0.0),
) -> Run:
    """Push until the controller arrives or 25 steps are spent; a cycle that gives no step counts as one."""
    rig = Rig(bundle.layout, sim, box_start, pusher_start)
    rig.advance(SETTLE_S)
    controller, carry = Controller(bundle, planner, mpc), initial_carry(sim.seed)
    initial = cost_cm2(rig.markers(), goal)
    states, poses, plan_s, reference = [], [rig.box_pose()], [], rig.pusher()
    reason, steps = Reason.NO_STATE, 0
    while True:
        state = State(stamp_s=rig.time_s, x=bundle.layout.pack(rig.noisy_markers(), rig.pusher()))
        decision = controller.control(state, goal, carry)
        carry, reason = decision.carry, decision.step.status
        states.append(state)
        if reason is Reason.GOAL_REACHED or steps == MAX_STEPS:
            break
        steps += 1
        if decision.plan is not None:
            plan_s.append(decision.plan.solve_s)
        rig.move(reference, decision.step.u, bundle.step_duration_s)
        reference = reference + decision.step.u
        poses.append(rig.box_pose())
    rig.advance(SETTLE_S)
    return Run(
        cost_cm2=cost_cm2(rig.markers(), goal),
        initial_cost_cm2=initial,
        arrived=reason is Reason.GOAL_REACHED,
        steps=steps,
        plan_s=plan_s,
        states=states,
        box_poses=poses,
        last_reason=reason,
    )
