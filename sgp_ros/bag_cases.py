"""The decisions of a recorded run as cases for `sgp tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sgp_core.bundle import ModelBundle
from sgp_core.config import MpcConfig
from sgp_core.errors import InputError
from sgp_core.mpc import goal_error, initial_carry
from sgp_core.prediction import Outlook
from sgp_core.types import Goal
from sgp_core.yardstick import Case
from sgp_ros.bag_states import Reading, Recorded, read
from sgp_ros.bags import Bag
from sgp_ros.replanning import Log, Nearest, latest


def bag_cases(
    path: Path,
    reading: Reading,
    bundle: ModelBundle,
    mpc: MpcConfig,
    *,
    count: int,
    seed: int,
    goal: Goal | None = None,
    remark: Callable[[str], None] = lambda _: None,
    tell: Callable[[int], None] = lambda _: None,
) -> list[Case]:
    """States, goals and warm starts of the plans in a bag.

    Args:
        path: of the bag.
        reading: how to understand it.
        bundle: of the markers.
        mpc: when the goal counts as reached: such states are left out.
        count: at most so many, evenly over the run.
        seed: of the random restarts.
        goal: from the start, for a recording whose goal was a parameter.
        remark: called with each thing that is to be known of the bag, such as that it ends early.
        tell: called now and then with the number of messages read.

    Raises:
        InputError: the bag cannot be read, or has fewer than four such plans.
    """
    log = Log(bundle)
    with Bag(path) as bag:
        recorded = read(bag, reading, tell, log.takers)
    for words in (*recorded.remarks, *dict.fromkeys(log.refused)):
        remark(words)
    found = _all(log, recorded, bundle, mpc, seed, goal)
    if len(found) < 4:  # two to tune by, two to compare on
        raise InputError(
            f"bag {path}: {len(found)} of its {len(log.decisions)} decisions have their state, goal and plan in the bag"
            " and are not at the goal; four are needed. It must hold the topics status and plan, as this version's"
            " mpc_node publishes them; a goal that was a parameter has to be given as --goal"
        )
    chosen = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    return [found[k] for k in chosen]


def _all(log: Log, recorded: Recorded, bundle: ModelBundle, mpc: MpcConfig, seed: int, goal: Goal | None) -> list[Case]:
    near, cases = Nearest(recorded.states), []
    carry = initial_carry(seed)
    for number, was in enumerate(log.decisions):
        state, now = near.at(was.state_stamp_ns), latest(log.goals, was.began_s) or goal
        afresh = initial_carry(seed + number + 1)  # other random restarts for each
        if was.plan_u is None:
            carry = afresh
            continue
        if state is not None and now is not None:
            error_m, yaw_rad = goal_error(bundle.layout, state.x, now)
            if error_m > mpc.goal_tolerance_m or yaw_rad > mpc.goal_yaw_tolerance_rad:
                outlook = Outlook(start_s=was.start_s, motion_m=was.motion_m)
                cases.append(Case(state=state, goal=now, carry=carry, executed=was.executed, outlook=outlook))
        # In the middle of a step the first push is what was left of it.
        left = 1.0 if was.walk else was.left
        carry = dataclasses.replace(afresh, u=was.plan_u, stamp_s=was.start_s, left=left)
    return cases
