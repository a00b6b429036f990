"""What `sgp check` measures: where score descent ends, how rigid plans stay, how far goals are from the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.spatial import cKDTree
from torch import Tensor

from sgp_core.bundle import ModelBundle
from sgp_core.checks import descend, off_rigid_mm, states_of
from sgp_core.config import PlannerConfig
from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout
from sgp_core.planner import Planner
from sgp_core.types import Goal, Plan, State

AROUND_M = 0.05  # plans may lead the pusher so far beyond the data
TORN_M = 1e6  # stands for a plan that came out without numbers


@dataclass(frozen=True, kw_only=True)
class Landing:
    """B tuples disturbed at one noise level, and where descending the score from there led.

    Args:
        sigma: noise level, normalised.
        before_x, halfway_x, after_x: states [m; table] when disturbed, after half of the remaining levels, in the end.
        distance_before, distance: to the nearest demonstrated tuple [normalised].
        rigid_before_mm, rigid_mm: largest distance of a marker from the fitted box [mm].
        places: how many different tuples are nearest to where the descents ended.
    """

    sigma: float
    before_x: Float[ndarray, "B nx"]
    halfway_x: Float[ndarray, "B nx"]
    after_x: Float[ndarray, "B nx"]
    distance_before: Float[ndarray, "B"]
    distance: Float[ndarray, "B"]
    rigid_before_mm: Float[ndarray, "B"]
    rigid_mm: Float[ndarray, "B"]
    places: int


def landings(bundle: ModelBundle, z: Tensor, demonstrated: Float[ndarray, "M n"], seed: int) -> list[Landing]:
    """For each noise level: disturb by it, then descend from it to the lowest (Prop. 1, Fig. 4B, D.2).

    Args:
        bundle: with the learned score.
        z: tuples to disturb (B, 2N+4), normalised.
        demonstrated: all tuples that a descent may land on, normalised.
        seed: of the noise.
    """
    generator, tree, found = torch.Generator().manual_seed(seed), cKDTree(demonstrated), []
    for level, sigma in enumerate(bundle.sigmas):
        before = z + sigma * torch.randn(z.shape, generator=generator)
        middle = (level + len(bundle.sigmas)) // 2
        halfway = descend(bundle, before, range(level, middle))
        after = descend(bundle, halfway, range(middle, len(bundle.sigmas)))
        states = [states_of(bundle, each) for each in (before, halfway, after)]
        distance, nearest = tree.query(after.double().numpy())
        found.append(
            Landing(
                sigma=sigma,
                before_x=states[0],
                halfway_x=states[1],
                after_x=states[2],
                distance_before=tree.query(before.double().numpy())[0],
                distance=distance,
                rigid_before_mm=off_rigid_mm(bundle.layout, states[0]).max(axis=-1),
                rigid_mm=off_rigid_mm(bundle.layout, states[2]).max(axis=-1),
                places=len(np.unique(nearest)),
            )
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Tear:
    """The same state and goal, planned without and with the penalty (Figs. 4C and 4D).

    Args:
        goal: where the markers should end.
        plans: at beta 0 and at the beta in question.
        torn_mm: largest distance of a marker from the fitted box over the predicted states of each plan [mm].
    """

    goal: Goal
    plans: tuple[Plan, Plan]
    torn_mm: tuple[float, float]


def tears(
    bundle: ModelBundle, x: Float[ndarray, "M nx"], goals: list[Pose], config: PlannerConfig, seed: int
) -> list[Tear]:
    """Plan from states towards goals, twice each.

    Args:
        bundle: the models.
        x: states to start from, one per goal [m; table].
        goals: box poses [m, rad; table].
        config: planner settings, with the beta in question.
        seed: of the restarts, the same for both plans.
    """
    pushers = np.concatenate([bundle.reference_x[:, -2:], x[:, -2:]])
    low, high = pushers.min(axis=0) - AROUND_M, pushers.max(axis=0) + AROUND_M
    around = (float(low[0]), float(high[0]), float(low[1]), float(high[1]))
    # Nobody drives these plans: limits of the arm do not matter, those of the data do.
    own = config.replaced(
        workspace_m=around,
        step_limit_m=min(config.step_limit_m, bundle.step_limit_m),
        speed_limit_mps=1.0,
        acceleration_limit_mps2=20.0,
    )
    planners = [Planner(bundle, own.replaced(beta=beta)) for beta in (0.0, config.beta)]
    rest, found = np.zeros((config.horizon, 2)), []
    for number, (state, pose) in enumerate(zip(x, goals, strict=True)):
        goal = Goal.from_pose(bundle.layout, *pose)
        first, second = (
            planner.plan(State(stamp_s=0.0, x=state), goal, rest, torch.Generator().manual_seed(seed + number))
            for planner in planners
        )
        found.append(Tear(goal=goal, plans=(first, second), torn_mm=(_torn(bundle, first), _torn(bundle, second))))
    return found


def random_goals(layout: MarkerLayout, x: Float[ndarray, "M nx"], count: int, seed: int) -> list[Pose]:
    """Box poses drawn evenly from the range of those in states x, whether or not a demonstration led near them."""
    poses = np.array([layout.pose_of(markers) for markers in layout.markers(x)])
    drawn = np.random.default_rng(seed).uniform(poses.min(axis=0), poses.max(axis=0), (count, 3))
    return [(float(p[0]), float(p[1]), float(p[2])) for p in drawn]


def marker_distances(
    layout: MarkerLayout, x: Float[ndarray, "M nx"], markers_m: Float[ndarray, "K N 2"]
) -> tuple[Float[ndarray, "K"], Int[ndarray, "K"]]:
    """Root mean square over the markers [m] to the nearest of the states x, and its index."""
    count = np.sqrt(layout.count)
    tree = cKDTree(x[:, :-2] / count)
    distance, index = tree.query(markers_m.reshape(len(markers_m), -1) / count)
    return distance, index


def neighbour_distances(z: Float[ndarray, "M n"]) -> Float[ndarray, "M"]:
    """Distance of each tuple to the nearest other one; 0 for a single one."""
    return np.zeros(1) if len(z) == 1 else cKDTree(z).query(z, k=2)[0][:, 1]


def _torn(bundle: ModelBundle, plan: Plan) -> float:
    if not np.isfinite(plan.objective):
        return TORN_M * 1e3
    return float(off_rigid_mm(bundle.layout, plan.x[1:]).max())
