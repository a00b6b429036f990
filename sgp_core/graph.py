"""All iterations of a plan at once, on a GPU: recorded as one CUDA graph, and played back for each plan.

An iteration is some two hundred small operations. A GPU computes each in a few microseconds, which is less than it
takes to start it from Python; a graph starts all of them at once. What is recorded cannot be interrupted and works on
the same memory every time, so the number of iterations is chosen beforehand, such that they take at most half of the
budget, and all candidates go on to the end. What comes out is a proposal: `sgp_core.planner` compares it with the warm
start on the CPU.
"""

from __future__ import annotations

import itertools
import statistics
import time

import torch
from torch import Tensor

from sgp_core.adjoint import MlpDynamics, MlpScore
from sgp_core.bundle import ModelBundle
from sgp_core.candidates import most_candidates
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.iteration import Descent, Iteration, begin, some_of
from sgp_core.packing import plain
from sgp_core.rigid_adjoint import RigidDynamics
from sgp_core.workspace import Region

WARM_UPS, TIMED = 3, 5  # libraries choose their kernels in the first runs, which a recording must not contain


def check_device(config: PlannerConfig, region: Region) -> None:
    """Raises InputError where plans cannot be made on `config.device`."""
    if config.device == "cuda" and not region.is_box:
        raise InputError("device = 'cuda' takes a rectangular workspace without keep_out_m only; set it to cpu")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device = 'cuda', but torch finds no CUDA device; set it to cpu, or install torch for CUDA")


class DescentGraph:
    """Adam from given starts through given noise levels; on a CPU the same, without a recording.

    Args:
        bundle: whose networks are to be those of `sgp train`.
        config: what to minimise, and within which budget.
        levels: indices of the noise levels to anneal through.
        device: where.

    Raises:
        InputError: the bundle's networks are not known as matrices.
    """

    def __init__(self, bundle: ModelBundle, config: PlannerConfig, levels: list[int], device: torch.device) -> None:
        made = Iteration(bundle, config, layers=(plain,)).eval()
        if not (isinstance(made.dynamics, MlpDynamics | RigidDynamics) and isinstance(made.score, MlpScore)):
            raise InputError("device = 'cuda' takes the networks of `sgp train` only; set it to cpu")
        self._iteration, self._ladder, self._device = made.to(device), levels, device
        size = bundle.layout.state_size
        rows = most_candidates(config)
        self._x0 = torch.from_numpy(bundle.reference_x[0]).float().to(device).repeat(rows, 1)
        self._target = self._x0[:, None, : size - 2].repeat(1, config.horizon, 1)
        self._weights = self._iteration.weights.repeat(rows, 1, 1)
        self._starts = torch.zeros(rows, config.horizon, 2, device=device)
        self._free = torch.ones(rows, config.horizon, 1, device=device)
        self.iterations = config.iterations
        self._graph: torch.cuda.CUDAGraph | None = None
        self._found = self._descend()
        if device.type == "cuda":
            self._record()
            if config.budget_ms > 0.0 and self.iterations > (fitting := int(self._fitting(config.budget_ms * 1e-3))):
                self.iterations = max(1, fitting)
                self._record()

    @torch.no_grad()
    def __call__(self, x0: Tensor, target: Tensor, weights: Tensor, starts: Tensor, free: Tensor) -> Descent:
        """The result on the CPU.

        Args:
            x0: state in which each first guess begins (B, nx) [m], as many as there can be or fewer.
            target: markers wanted after each step (B, T, ny) [m].
            weights: of the squared error after each step (B, T, 1).
            starts: first guesses (B, T, 2) [m].
            free: 1 where a step may be changed (B, T, 1).
        """
        rows = len(starts)  # what the others hold is of an earlier plan, and of no use
        for kept, given in (
            (self._x0, x0),
            (self._target, target),
            (self._weights, weights),
            (self._starts, starts),
            (self._free, free),
        ):
            kept[:rows].copy_(given)
        if self._graph is None:
            self._found = self._descend()
        else:
            self._graph.replay()
        found = self._found
        # Copies to the CPU wait for the GPU.
        found = some_of(found, slice(rows))
        return found._replace(u=found.u.cpu(), best_u=found.best_u.cpu(), best_j=found.best_j.cpu())

    @property
    def schedule(self) -> list[int]:
        """Iterations at each noise level: equal shares."""
        count = len(self._ladder)
        edges = [-(-k * self.iterations // count) for k in range(count + 1)]
        return [end - begin for begin, end in itertools.pairwise(edges)]

    def _descend(self) -> Descent:
        levels = [self._ladder[k] for k, count in enumerate(self.schedule) for _ in range(count)]
        begun = begin(self._starts, self._free)
        return Descent(*self._iteration.descend(self._x0, self._target, begun, levels, self._weights))

    @torch.no_grad()
    def _record(self) -> None:
        side = torch.cuda.Stream(self._device)
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self._descend()
        torch.cuda.current_stream(self._device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = self._descend()

    def _fitting(self, budget_s: float) -> float:
        """How many iterations take half of a budget."""
        took_s = []
        for _ in range(TIMED):
            began_s = time.perf_counter()
            self(self._x0, self._target, self._weights, self._starts, self._free)
            took_s.append(time.perf_counter() - began_s)
        return 0.5 * budget_s / statistics.median(took_s) * self.iterations
