"""Algorithm 1 in plain PyTorch, as one would write it down from the paper: what `sgp bench` compares the planner with.

It knows nothing of this package. Networks are ordinary modules; whether their weights ask for gradients is up to the
caller. `once` rolls out once for value and penalty together, instead of once for each.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def plan(
    dynamics: Callable[[Tensor, Tensor], Tensor],
    score: Callable[[Tensor, Tensor, Tensor], Tensor],
    x0: Tensor,
    target: Tensor,
    start: Tensor,
    *,
    sigmas: Sequence[float],
    scale: float,
    beta: float,
    iterations: int,
    learning_rate: float,
    step_limit_m: float,
    action_weight: float,
    running_weight: float,
    once: bool,
) -> Tensor:
    """Actions (B, T, 2) [m] from first guesses `start` (B, T, 2), state x0 (nx,) and goal markers (ny,)."""
    share = nn.Parameter(start / step_limit_m)
    optimiser = torch.optim.Adam([share], lr=learning_rate)

    def rollout(u: Tensor) -> Tensor:
        x = [x0.expand(len(u), -1)]
        for t in range(u.shape[1]):
            x.append(dynamics(x[-1], u[:, t]))
        return torch.stack(x, dim=1)

    for i in range(iterations):
        level = i * len(sigmas) // iterations
        u = share * step_limit_m
        x = rollout(u)
        error = ((x[:, 1:, :-2] - target) ** 2).sum(-1)
        value = error[:, -1].sum() + running_weight * error[:, :-1].sum() + action_weight * (u**2).sum()
        if not once:
            x = rollout(u)
        z = torch.cat([x[:, :-1], u], dim=-1)
        with torch.no_grad():
            points = z.flatten(0, 1)
            found = score(points[:, :-2], points[:, -2:], torch.full((len(points),), level)).view_as(z)
        penalty = -beta * sigmas[level] ** 2 * (found * z).sum()
        optimiser.zero_grad()
        (value / scale**2 + penalty).backward()
        optimiser.step()
        with torch.no_grad():
            share.clamp_(-1.0, 1.0)
    return share.detach() * step_limit_m
