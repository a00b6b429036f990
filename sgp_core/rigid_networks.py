"""Dynamics of a box that keeps its shape: the network sees pusher and step from the box and moves the box as a whole.

A push does the same wherever the box lies and whichever way it points. A model that knows this needs a fraction of the
demonstrations (docs/quality.md has the figures), and no plan can tear its box. `DynamicsInMetres` knows neither.
"""

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.layout import MarkerLayout
from sgp_core.normalizer import Normalizer


class TwistMLP(nn.Module):
    """Shift and turn of the box as a matrix that depends on the inputs, times the step: M(q, v) v; at rest it rests."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        widths = [4] + [hidden] * layers
        blocks = [m for a, b in itertools.pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        self.net = nn.Sequential(*blocks, nn.Linear(hidden, 6))

    def forward(self, seen: Tensor, v: Tensor) -> Tensor:
        """Pusher seen from the box and step (B, 4), both scaled, and the step (B, 2) to shift and turn."""
        matrix = self.net(seen).unflatten(-1, (3, 2))
        return (matrix * v[:, None]).sum(-1)


class RigidInMetres(nn.Module):
    """The rigid dynamics with scaling and the pose of the box inside.

    The pose is the least-squares one of all markers, `MarkerLayout.pose_of`. (Complex numbers would be shorter, but
    TorchScript's own derivatives of them are wrong.)

    Args:
        net: predicts the box's motion in its own frame.
        layout: of the markers.
        normalizer: of its training data; only the scale of steps is used.
    """

    places: Tensor

    def __init__(self, net: TwistMLP, layout: MarkerLayout, normalizer: Normalizer) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("places", torch.from_numpy(layout.places).float())
        self.u_scale = 0.5 * normalizer.u_scale
        half_m = np.asarray(layout.box_size_m[:2]) / 2.0
        # Where a pusher can touch the box, and the radius of gyration: turns times that are lengths like shifts.
        self.reach_m = float(np.hypot(*half_m)) + layout.pusher_radius_m
        self.gyration_m = float(np.hypot(*half_m)) / 3.0**0.5

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        """x (B, 2N+2) and u (B, 2) to x_next (B, 2N+2) [m; table]; the pusher moves by exactly u."""
        markers, pusher = x[:, :-2].unflatten(-1, (-1, 2)), x[:, -2:]
        mean, place = markers.mean(1), self.places.mean(0)
        along = (markers - mean[:, None]).unsqueeze(-1) * (self.places - place).unsqueeze(-2)  # (B, N, 2, 2)
        cosine = (along[..., 0, 0] + along[..., 1, 1]).sum(1, keepdim=True)
        sine = (along[..., 1, 0] - along[..., 0, 1]).sum(1, keepdim=True)
        length = (cosine * cosine + sine * sine).sqrt()
        cosine, sine = cosine / length, sine / length
        centre = mean - _turned(cosine, sine, place.expand_as(mean))
        seen, v = _turned(cosine, -sine, pusher - centre), _turned(cosine, -sine, u)
        moved = self.net(torch.cat([seen / self.reach_m, v / self.u_scale], dim=-1), v)
        angle = (moved[:, 2:] / self.gyration_m).unsqueeze(1)
        arms = _turned(angle.cos(), angle.sin(), markers - centre[:, None])
        after = arms + (centre + _turned(cosine, sine, moved[:, :2]))[:, None]
        return torch.cat([after.flatten(1), pusher + u], dim=-1)


def _turned(cosine: Tensor, sine: Tensor, v: Tensor) -> Tensor:
    """Vectors (..., 2) turned by angles of these cosines and sines (..., 1)."""
    x, y = v[..., :1], v[..., 1:]
    return torch.cat([cosine * x - sine * y, sine * x + cosine * y], dim=-1)
