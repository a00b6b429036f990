"""How long a plan takes, against Algorithm 1 in plain PyTorch and the same with one rollout and frozen weights.

Everything is measured in turns in one process, from the same states with the same networks, and medians are told.
Equal work is judged by J of the returned actions, with the networks as they are in the file.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import resource
import statistics
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgp_core.adjoint import ScriptDynamics, models_of
from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.iteration import Iteration
from sgp_core.packing import bytes_of
from sgp_core.planner import Planner
from sgp_core.resizing import Networks, resized
from sgp_core.share import share_path
from sgp_core.types import Goal, State

PAPER_HIDDEN = 1024  # App. C.4
# The yardstick knows no workspace; in this one the planner does the work of keeping to it, and is never stopped by it.
WORKSPACE_M = (-5.0, 5.0, -5.0, 5.0)
SWEEPS: dict[str, tuple[int, ...]] = {
    "horizon": (2, 4, 8, 16),
    "restarts": (1, 4, 16, 64),
    "hidden": (128, 256, 512, 1024),
    "iterations": (10, 25, 50, 100),
    "threads": (1, 2),
}
PLANNERS = ("yardstick", "frozen", "planner")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One setting to measure."""

    horizon: int = 4
    restarts: int = 1
    hidden: int = PAPER_HIDDEN
    iterations: int = 50
    threads: int = 1


class Bench:
    """Measures cases with the networks of one bundle, resized where a case asks for it."""

    def __init__(self, bundle: ModelBundle, seed: int) -> None:
        self._bundle, self._seed = bundle, seed
        self._yardstick = _yardstick()
        self._networks: dict[int, Networks] = {}

    def measure(self, case: Case, states: int, advance: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Times [ms] and J of one case, medians and means over `states` states.

        Args:
            case: what to measure.
            states: drawn from the reference tuples, each with a goal of its own.
            advance: called after each state; one more than `states` is planned from, to warm up.
        """
        torch.set_num_threads(case.threads)
        if case.hidden not in self._networks:
            self._networks[case.hidden] = resized(self._bundle, case.hidden)
        networks = self._networks[case.hidden]
        bundle = networks.bundle
        config = PlannerConfig(
            horizon=case.horizon,
            restarts=case.restarts,
            iterations=case.iterations,
            contacts_per_side=0,
            turn_weight=1.0,
            workspace_m=WORKSPACE_M,
        )
        planner, judge = Planner(bundle, config), _judge(networks, config)
        times: dict[str, list[float]] = {name: [] for name in PLANNERS}
        objectives: dict[str, list[float]] = {name: [] for name in PLANNERS}
        for k, (state, goal) in enumerate(self._situations(states + 1)):
            x0 = torch.from_numpy(state.x).float()
            target = torch.from_numpy(goal.markers_m).float().reshape(-1)
            warm, generator = np.zeros((case.horizon, 2)), torch.Generator().manual_seed(k)
            start = torch.from_numpy(planner.starts(state, warm, torch.Generator().manual_seed(k)))
            for name in PLANNERS:
                began_s = time.perf_counter()
                if name == "planner":
                    u = torch.from_numpy(planner.plan(state, goal, warm, generator).u).float()[None]
                else:
                    u = self._plain(networks, config, x0, target, start, frozen=name == "frozen")
                took_s = time.perf_counter() - began_s
                if k > 0:
                    times[name].append(took_s * 1e3)
                    objectives[name].append(judge(x0, u, target))
            advance()
        found = {**dataclasses.asdict(case), "states": states, **_summary(times, objectives), **_work(networks, case)}
        return {**found, "roofline_fraction": found["roofline_ms"] / found["plan_ms"]}

    def _situations(self, count: int) -> Iterable[tuple[State, Goal]]:
        random = np.random.default_rng(self._seed)
        for _ in range(count):
            x = self._bundle.reference_x[random.integers(len(self._bundle.reference_x))]
            pose = random.uniform((0.6, -0.1, -0.3), (0.75, 0.1, 0.3))
            yield State(stamp_s=0.0, x=x), Goal.from_pose(self._bundle.layout, *pose)

    def _plain(
        self, networks: Networks, config: PlannerConfig, x0: Tensor, target: Tensor, start: Tensor, *, frozen: bool
    ) -> Tensor:
        for module in networks.modules:
            module.requires_grad_(not frozen)
        found: Tensor = self._yardstick.plan(
            networks.dynamics,
            networks.score,
            x0,
            target,
            start,
            sigmas=networks.bundle.sigmas,
            scale=networks.bundle.normalizer.x_scale,
            beta=config.beta,
            iterations=config.iterations,
            learning_rate=config.learning_rate,
            step_limit_m=config.step_limit_m,
            action_weight=config.action_weight,
            running_weight=config.running_weight,
            once=frozen,
        )
        return found


def _yardstick() -> ModuleType:
    path = share_path("benchmarks", "yardstick.py")
    spec = importlib.util.spec_from_file_location("yardstick", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _judge(networks: Networks, config: PlannerConfig) -> Callable[[Tensor, Tensor, Tensor], float]:
    """Lowest J of some action sequences, with the dynamics as they are in the file."""
    iteration = Iteration(networks.bundle, config)
    iteration.dynamics = ScriptDynamics(networks.bundle.dynamics)

    @torch.no_grad()
    def lowest(x0: Tensor, u: Tensor, target: Tensor) -> float:
        return float(iteration.objective(iteration.rollout(x0, u, target)).min())

    return lowest


def _summary(times: dict[str, list[float]], objectives: dict[str, list[float]]) -> dict[str, float]:
    own, j, j_yardstick = times["planner"], np.array(objectives["planner"]), np.array(objectives["yardstick"])
    return {
        "ratio": statistics.median(a / b for a, b in zip(times["yardstick"], own, strict=True)),
        "ratio_frozen": statistics.median(a / b for a, b in zip(times["frozen"], own, strict=True)),
        "plan_ms": statistics.median(own),
        "yardstick_ms": statistics.median(times["yardstick"]),
        "frozen_ms": statistics.median(times["frozen"]),
        # How much worse the mean of J is, and the J of the state where it is worst, both as shares.
        "objective_gap": float((j.mean() - j_yardstick.mean()) / np.abs(j_yardstick.mean())),
        "objective_worst": float(((j - j_yardstick) / np.abs(j_yardstick)).max()),
    }


def _work(networks: Networks, case: Case) -> dict[str, float]:
    """What a plan has to read and to compute, and the least time this machine needs for that.

    The weights are read once in each sequential step, there and back, and once in each iteration for the score. How
    fast this machine reads as many bytes over and over, and how fast it multiplies large matrices, is measured.
    """
    matrices = [[w for n, w in m.named_parameters() if w.dim() == 2 and "tokens" not in n] for m in networks.modules]
    count = sum(w.numel() for w in matrices[0]) * 2 + sum(w.numel() for w in matrices[1])
    dynamics, score = models_of(networks.bundle)
    in_step, steps = bytes_of(dynamics), case.horizon * case.iterations
    read, flops = steps * in_step + case.iterations * bytes_of(score), 2.0 * case.restarts * steps * count
    ideal_s = max(read / _bytes_per_s(in_step + bytes_of(score)), flops / _flops_per_s())
    return {
        "layers": sum(name.startswith("net.linears.") for name, w in networks.score.named_parameters() if w.dim() == 2),
        "read_mb": read * 1e-6,
        "gflop": flops * 1e-9,
        "roofline_ms": ideal_s * 1e3,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def _bytes_per_s(count: int) -> float:
    """How fast so many bytes are read again and again, from whatever cache they stay in."""
    buffer = torch.rand(max(1024, count // 4))
    return 4.0 * len(buffer) / _median_s(lambda: torch.dot(buffer, buffer))


def _flops_per_s() -> float:
    matrix = torch.rand(512, 512)
    return 2.0 * 512**3 / _median_s(lambda: torch.mm(matrix, matrix))


def _median_s(work: Callable[[], object]) -> float:
    work()
    took_s = []
    for _ in range(25):
        began_s = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)
