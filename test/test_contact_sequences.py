"""The search among pairs of pushes finds what trying every pair would find."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sgp_core.adjoint import models_of
from sgp_core.box_poses import PoseError, moved
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.contact_sequences import EXACT_M, ContactSequences
from sgp_core.share import share_path
from sgp_core.way_round import Pose, WayRound
from sgp_core.workspace import Region

CONFIG = PlannerConfig(contacts_per_side=2, horizon=3)
BOX: Pose = (0.65, 0.02, 0.3)
PUSHER_M = np.array([0.54, 0.0])
OPEN = Region((-1.0, 2.0, -1.5, 1.5), ())


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return load_bundle(share_path("models", "default"))


@pytest.fixture(scope="module")
def around(bundle: ModelBundle) -> WayRound:
    return WayRound(bundle.layout, CONFIG.contacts_per_side)


@pytest.fixture(scope="module")
def sequences(bundle: ModelBundle, around: WayRound) -> ContactSequences:
    with torch.no_grad():
        return ContactSequences(models_of(bundle)[0].roll, bundle.layout, CONFIG, around, np.array([0.65, 0.0]))


@torch.no_grad()
def rolled(bundle: ModelBundle, box: Pose, pusher_m: np.ndarray, u: np.ndarray) -> Pose:
    x = torch.from_numpy(bundle.layout.pack(bundle.layout.markers_at(*box), pusher_m)).float()[None]
    for step in torch.from_numpy(u).float():
        x = bundle.dynamics(x, step[None])
    return bundle.layout.pose_of(bundle.layout.markers(x[0].double().numpy()))


def test_every_pair_was_looked_at(sequences: ContactSequences, bundle: ModelBundle) -> None:
    goal: Pose = (0.60, -0.05, 0.9)
    aim = sequences.after(BOX, PUSHER_M, goal)
    assert aim.box is not None
    error_of = PoseError(bundle.layout, CONFIG.turn_weight, goal)
    pushes, walks = sequences._pushes.poses, sequences._walks_from(sequences_seen(PUSHER_M))
    best = np.inf
    for row in range(len(pushes)):
        walk = walks[row // (len(pushes) // len(walks))]
        path = error_of(moved(np.asarray(BOX), pushes[row]))
        for part in range(pushes.shape[1]):
            steps = (part + 1) / 2
            waiting = CONFIG.running_weight * (float(error_of(np.asarray(BOX))) * walk + path[: part + 1].sum() / 2)
            effort = CONFIG.action_weight * CONFIG.step_limit_m**2 * steps
            count = 5 * CONFIG.step_cost_m**2 * (walk + np.ceil(steps)) + 5 * EXACT_M**2
            whole = waiting + effort + count + 0.5 * path[part]
            if whole < best:
                best, wanted = whole, waiting + effort + count
    assert aim.later_m2 == pytest.approx(wanted + CONFIG.running_weight * float(error_of(np.asarray(BOX))), rel=1e-4)


def sequences_seen(pusher_m: np.ndarray) -> np.ndarray:
    c, s = np.cos(BOX[2]), np.sin(BOX[2])
    return np.array([[c, s], [-s, c]]) @ (pusher_m - BOX[:2])


def test_a_second_push_leads_from_the_aim_to_the_goal(
    sequences: ContactSequences, bundle: ModelBundle, around: WayRound
) -> None:
    """Predicted by the models themselves, at the place where it will be done."""
    goal: Pose = (0.55, -0.10, -0.9)  # behind the pusher, and turned
    ways = around.ways(BOX, PUSHER_M, around.places, OPEN)
    found = sequences.best(BOX, PUSHER_M, goal, sequences.rows(0, 1), np.arange(8), ways, 5)
    assert len(found) == 5
    far = [segment for segment in found if segment.aim.box is not None]
    assert far
    for segment in far:
        start = PUSHER_M if segment.place < 0 else ways.stops_m[segment.place][-1]
        assert segment.aim.box is not None
        ends = rolled(bundle, BOX, start, segment.u)
        reached = moved(np.asarray(segment.aim.box), sequences._pushes.poses)
        assert np.abs(reached - goal).max(axis=-1).min() < 1e-6
        assert np.hypot(*(np.array(ends[:2]) - segment.aim.box[:2])) < 0.1  # and the first one leads about there
        assert segment.aim.later_m2 > 5 * EXACT_M**2


def test_where_one_push_does_none_follows(sequences: ContactSequences, around: WayRound) -> None:
    ways = around.ways(BOX, PUSHER_M, around.places, OPEN)
    pushes = sequences._pushes.poses
    per_place = len(pushes) // len(around.places)
    for place in (0, 1):  # of the side that the pusher is at
        straight = pushes[place * per_place + per_place // 2]
        x_m, y_m, yaw = moved(np.asarray(BOX), straight[3])  # after two steps
        goal = (float(x_m), float(y_m), float(yaw))
        found = sequences.best(BOX, PUSHER_M, goal, sequences.rows(0, 1), np.arange(8), ways, 200)
        lone = [segment for segment in found if segment.place == place and segment.aim.box is None]
        np.testing.assert_allclose(np.linalg.norm(lone[0].u, axis=1), [0.05, 0.05, 0.0], atol=1e-9)
        assert lone[0].aim.later_m2 == 0.0
