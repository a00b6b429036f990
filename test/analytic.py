"""Models whose answers are known in closed form, in a bundle like any other."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.distance import exact_score
from sgp_core.layout import MarkerLayout
from sgp_core.normalizer import Normalizer

LAYOUT = MarkerLayout(
    names=("a", "b", "c"),
    places_m=((0.03, 0.06), (-0.03, 0.05), (0.02, -0.07)),
    box_size_m=(0.0867, 0.1703, 0.0391),
    pusher_radius_m=0.035,
)
SIZE = LAYOUT.state_size
SIGMAS = (0.2, 0.1, 0.05, 0.01)


PAPER = {
    "step_cost_m": 0.0,
    "contacts_per_side": 0,
    "beta": 0.003,
    "turn_weight": 1.0,
    "running_weight": 0.01,
    "action_weight": 0.1,
}


def planner_settings(**changes: Any) -> PlannerConfig:
    """Plans that begin where the pusher is: these models know of no box that has sides."""
    return PlannerConfig(**{**PAPER, **changes})


class Glued(nn.Module):
    """Linear dynamics: the box is glued to the pusher, so every marker moves by u."""

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return x + u.repeat(1, x.shape[1] // 2)


class ExactScore(nn.Module):
    """The exact score of the perturbed data, in metres; `levels` keeps what was asked for."""

    def __init__(self, normalizer: Normalizer, reference: Tensor) -> None:
        super().__init__()
        self.normalizer, self.reference, self.levels = normalizer, reference, []

    def forward(self, x: Tensor, u: Tensor, level: Tensor) -> Tensor:
        self.levels.append(int(level[0]))
        z = self.normalizer.normalize(x, u)
        return exact_score(z, self.reference, SIGMAS[int(level[0])]) / self.normalizer.scales()


def data(rows: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes here and there, small steps."""
    random = np.random.default_rng(seed)
    poses = random.uniform((0.45, -0.1, -0.5), (0.75, 0.1, 0.5), (rows, 3))
    pushers = poses[:, :2] - random.uniform(0.06, 0.12, (rows, 1)) * [1.0, 0.0]
    x = np.array([LAYOUT.pack(LAYOUT.markers_at(*p), q) for p, q in zip(poses, pushers, strict=True)])
    return x, random.uniform(-0.05, 0.05, (rows, 2))


def linear_bundle() -> ModelBundle:
    """Glued dynamics and the exact score of `data()`."""
    x, u = data()
    normalizer = Normalizer(x_centre=tuple(x.mean(axis=0)), x_scale=0.5, u_scale=0.1)
    reference = normalizer.normalize(torch.from_numpy(x), torch.from_numpy(u)).float()
    return ModelBundle(
        dynamics=Glued(),
        score=ExactScore(normalizer, reference),
        normalizer=normalizer,
        sigmas=SIGMAS,
        layout=LAYOUT,
        reference_x=x,
        reference_u=u,
        step_duration_s=1.0,
        step_limit_m=0.05,
        metrics={},
        index={},
        sha256="",
        path=Path("linear"),
    )


def closed_form_step(error_m: np.ndarray, horizon: int, action_weight: float) -> np.ndarray:
    """Optimal step of glued dynamics, the same at each of T steps: argmin N |e - T u|^2 + R T |u|^2."""
    return LAYOUT.count * error_m / (LAYOUT.count * horizon + action_weight)


def gaussian_log_density(z: np.ndarray, mean: np.ndarray, sigma: float) -> float:
    """log N(z; mean, sigma^2 I)."""
    return float(-((z - mean) ** 2).sum() / (2 * sigma**2) - len(z) / 2 * math.log(2 * math.pi * sigma**2))
