"""Dynamics of a rigid box: what they cannot get wrong, whatever their weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analytic import LAYOUT, data
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.box_poses import moved, poses_of, turned
from sgp_core.bundle import script
from sgp_core.normalizer import Normalizer
from sgp_core.rigid_networks import RigidInMetres, TwistMLP

STATES, STEPS = (torch.from_numpy(values).double() for values in data())


@pytest.fixture(scope="module")
def dynamics() -> RigidInMetres:
    torch.manual_seed(0)
    normalizer = Normalizer(x_centre=(0.0,) * LAYOUT.state_size, x_scale=0.5, u_scale=0.1)
    return RigidInMetres(TwistMLP(16, 3), LAYOUT, normalizer).double()


def shape(x: torch.Tensor) -> np.ndarray:
    """Distances between all markers."""
    markers = LAYOUT.markers(x.detach().numpy())
    return np.linalg.norm(markers[:, :, None] - markers[:, None], axis=-1)


def test_the_box_keeps_its_shape_and_the_pusher_moves_by_its_step(dynamics: RigidInMetres) -> None:
    found = dynamics(STATES, STEPS)
    np.testing.assert_allclose(shape(found), shape(STATES), atol=1e-9)
    torch.testing.assert_close(found[:, -2:], STATES[:, -2:] + STEPS)
    assert (found - STATES)[:, :-2].abs().max() > 1e-3


def test_at_rest_it_rests(dynamics: RigidInMetres) -> None:
    torch.testing.assert_close(dynamics(STATES, torch.zeros_like(STEPS)), STATES)


@settings(deadline=None, max_examples=25)
@given(yaw=st.floats(-3.1, 3.1), x_m=st.floats(-1.0, 1.0), y_m=st.floats(-1.0, 1.0))
def test_a_push_does_the_same_wherever_the_box_lies(
    dynamics: RigidInMetres, yaw: float, x_m: float, y_m: float
) -> None:
    def elsewhere(points: torch.Tensor) -> torch.Tensor:
        pairs = points.detach().unflatten(-1, (-1, 2)).numpy()
        return torch.from_numpy(turned(np.asarray(yaw), pairs) + np.array([x_m, y_m])).flatten(-2)

    steps = torch.from_numpy(turned(np.asarray(yaw), STEPS.numpy()))
    torch.testing.assert_close(
        dynamics(elsewhere(STATES), steps), elsewhere(dynamics(STATES, STEPS)), atol=1e-9, rtol=0
    )


def test_the_file_differentiates_as_the_module_does(dynamics: RigidInMetres) -> None:
    """Again and again: TorchScript optimises what it has seen before."""
    scripted = script(dynamics)
    for seed in range(4):
        weights = torch.randn(STATES.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        found, wanted = (
            torch.autograd.grad((model(x, u) * weights).sum(), (x, u))
            for model, x, u in [
                (model, STATES.clone().requires_grad_(), STEPS.clone().requires_grad_())
                for model in (scripted, dynamics)
            ]
        )
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other)


def test_poses_of_many_are_those_of_each() -> None:
    markers = LAYOUT.markers(STATES.numpy()) + np.random.default_rng(0).normal(
        0.0, 0.002, (len(STATES), LAYOUT.count, 2)
    )
    np.testing.assert_allclose(poses_of(LAYOUT, markers), [LAYOUT.pose_of(one) for one in markers], atol=1e-12)


def test_a_motion_is_seen_from_the_box() -> None:
    found = moved(np.array([1.0, 2.0, np.pi / 2]), np.array([0.1, 0.0, 0.3]))
    np.testing.assert_allclose(found, [1.0, 2.1, np.pi / 2 + 0.3])
