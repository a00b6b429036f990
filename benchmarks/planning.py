"""The planner against Algorithm 1 as one would write it down: `python benchmarks/planning.py [--paper] [--states N]`.

Same networks and weights, same states, T, iterations and noise levels, one thread, in pairs, medians. `eager` is plain
PyTorch: weights that ask for gradients, and value and penalty rolled out one after the other. `frozen` rolls out once
and asks for no gradient of a weight. Equal work is judged by the mean of J, with the exact distance, over all states.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time

import numpy as np
import torch
from torch import Tensor, nn

from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.iteration import iteration_of
from sgp_core.networks import DynamicsInMetres, DynamicsMLP, ScoreInMetres, ScoreMLP
from sgp_core.planner import Planner
from sgp_core.share import share_path
from sgp_core.types import Goal, State


def eager(bundle: ModelBundle, config: PlannerConfig, x0: Tensor, target: Tensor, *, frozen: bool) -> Tensor:
    """Algorithm 1 with torch.optim.Adam; returns u (T, 2) [m]."""
    dynamics, score, scale2 = bundle.dynamics, bundle.score, bundle.normalizer.x_scale**2
    share = nn.Parameter(torch.zeros(config.horizon, 2))
    optimiser = torch.optim.Adam([share], lr=config.learning_rate)

    def states(u: Tensor) -> list[Tensor]:
        x = [x0[None]]
        for t in range(config.horizon):
            x.append(dynamics(x[-1], u[None, t]))
        return x

    levels = len(bundle.sigmas)
    for i in range(config.iterations):
        level = i * levels // config.iterations
        u = share * config.step_limit_m
        x = states(u)
        value = ((x[-1][0, :-2] - target) ** 2).sum() + config.action_weight * (u**2).sum()
        value = value + config.running_weight * sum(((s[0, :-2] - target) ** 2).sum() for s in x[1:-1])
        x = torch.cat((x if frozen else states(u))[:-1])
        with torch.no_grad():
            found = score(x, u, torch.full((config.horizon,), level))
        penalty = -config.beta * bundle.sigmas[level] ** 2 * (found * torch.cat([x, u], dim=1)).sum()
        optimiser.zero_grad()
        (value / scale2 + penalty).backward()
        optimiser.step()
        with torch.no_grad():
            share.clamp_(-1.0, 1.0)
    return share.detach() * config.step_limit_m


def paper_sized(bundle: ModelBundle) -> tuple[nn.Module, nn.Module]:
    """Networks of 4 x 1024 (App. C.4), not trained: for times, not for plans."""
    torch.manual_seed(0)
    count, size = bundle.layout.count, bundle.layout.state_size
    dynamics = DynamicsInMetres(DynamicsMLP(count, 1024, 4), bundle.normalizer)
    score = ScoreInMetres(ScoreMLP(size + 2, len(bundle.sigmas), 1024, 4), bundle.normalizer, bundle.sigmas)
    return torch.jit.script(dynamics.eval()), torch.jit.script(score.eval())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paper", action="store_true", help="networks of the paper's size, untrained")
    parser.add_argument("--states", type=int, default=20, help="number of states planned from")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load_bundle(share_path("models", "default"))
    config = PlannerConfig(restarts=1)
    unfrozen = load_bundle(share_path("models", "default"))
    if options.paper:
        made = paper_sized(bundle)
        bundle, unfrozen = (dataclasses.replace(bundle, dynamics=made[0], score=made[1]) for _ in range(2))
    planner, judge = Planner(bundle, config), iteration_of(bundle, config)
    random = np.random.default_rng(0)
    rows: dict[str, list[float]] = {name: [] for name in ("eager", "frozen", "planner")}
    objectives: dict[str, list[float]] = {name: [] for name in rows}
    for k in range(options.states + 1):
        x = bundle.reference_x[random.integers(len(bundle.reference_x))]
        goal = Goal.from_pose(bundle.layout, *random.uniform((0.6, -0.1, -0.3), (0.75, 0.1, 0.3)))
        x0, target = torch.from_numpy(x).float(), torch.from_numpy(goal.markers_m).float().reshape(-1)
        for name in rows:
            for module in (unfrozen.dynamics, unfrozen.score):
                for weight in module.parameters():
                    weight.requires_grad_(name == "eager")
            began_s = time.perf_counter()
            if name == "planner":
                warm = np.zeros((config.horizon, 2))
                u = torch.from_numpy(planner.plan(State(stamp_s=0.0, x=x), goal, warm, torch.Generator()).u).float()
            else:
                u = eager(unfrozen, config, x0, target, frozen=name == "frozen")
            took_s = time.perf_counter() - began_s
            if k > 0:  # the first ones warm up
                rows[name].append(1e3 * took_s)
                with torch.no_grad():
                    objectives[name].append(float(judge.objective(judge.rollout(x0, u[None], target))))
    median = {name: statistics.median(times) for name, times in rows.items()}
    pairs = {name: statistics.median(a / b for a, b in zip(rows[name], rows["planner"], strict=True)) for name in rows}
    mean_j = {name: statistics.mean(values) for name, values in objectives.items()}
    print("| planner | plan ms, median | times the planner's, median of pairs | mean J |\n|---|---|---|---|")
    for name in rows:
        print(f"| {name} | {median[name]:.0f} | {pairs[name]:.1f} | {mean_j[name]:.4f} |")
    print(json.dumps({"ratio": pairs["eager"], "ratio_frozen": pairs["frozen"], "plan_ms": median["planner"]}))


if __name__ == "__main__":
    main()
