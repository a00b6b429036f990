"""The models of a bundle as a planner uses them: dynamics with a reverse sweep by hand, and the score.

Autograd would build and walk a graph of some hundred small operations in each iteration, which costs several times what
the arithmetic does. The networks of `sgp_core.networks` are therefore taken out of their TorchScript files as plain
matrices, with all scaling folded into the first and last of them, and tried against the file before they are used. Any
other TorchScript model serves as well, through autograd.

Dynamics have `step`, x (B, nx) and u (B, 2) [m; table] to x_next and a tape, and `pull_back`, from a tape and the
gradient by x_next to the gradients by x and u. A score takes x, u and the index of a noise level to the gradient of
log p_sigma by (x, u) (B, nx + 2) [1/m]. TorchScript compiles this module as it stands, hence its plain annotations.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sgp_core.bundle import ModelBundle
from sgp_core.packing import TOLERANCES, LayerOf, PlainLinear, half, plain
from sgp_core.rigid_adjoint import RigidDynamics, layers_of

TRIED = 64  # reference tuples
PULLED_BACK = 1e-2  # as `TOLERANCES`, for a gradient: it jumps where a unit falls asleep


def models_of(bundle: ModelBundle, layers: Sequence[LayerOf] = (plain, half)) -> tuple[nn.Module, nn.Module]:
    """Both models, as plain matrices where they are the networks of this package, else as they are.

    Args:
        bundle: whose.
        layers: kinds of layers to try, the one wanted most at the end.
    """
    x = torch.from_numpy(bundle.reference_x[:TRIED]).float()
    u = torch.from_numpy(bundle.reference_u[:TRIED]).float()
    file_dynamics, file_score = ScriptDynamics(bundle.dynamics), ScriptScore(bundle.score)
    dynamics: nn.Module = file_dynamics
    score: nn.Module = file_score
    # Another architecture ends the attempt; where half precision does harm, single precision stays.
    with contextlib.suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        kind = RigidDynamics if hasattr(bundle.dynamics, "reach_m") else MlpDynamics
        for layer in layers:
            tried = kind(bundle.dynamics, layer)
            (moved, pulled), (wanted, wanted_pulled) = _both_ways(tried, x, u), _both_ways(file_dynamics, x, u)
            if _alike(TOLERANCES[layer], moved, wanted) and _alike(PULLED_BACK, pulled, wanted_pulled):
                dynamics = tried
    with contextlib.suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        for layer in layers:
            candidate = MlpScore(bundle.score, layer)
            if all(
                _alike(TOLERANCES[layer], candidate(x, u, k), file_score(x, u, k)) for k in range(len(bundle.sigmas))
            ):
                score = candidate
    return dynamics, score


def _both_ways(dynamics: Any, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    """What a step moves (B, nx), and the gradients by x and u of the sum of that (B, nx + 2)."""
    x_next, tape = dynamics.step(x, u)
    return x_next - x, torch.cat(dynamics.pull_back(tape, torch.ones_like(x)), dim=1)


def _alike(tolerance: float, found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() <= tolerance * wanted.norm())


class ScriptDynamics(nn.Module):
    """Any model, differentiated by autograd."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = _frozen(module)

    def step(self, x: Tensor, u: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next state, and what `pull_back` needs of this one."""
        with torch.enable_grad():
            x, u = x.detach().requires_grad_(), u.detach().requires_grad_()
            x_next = self._module(x, u)
        return x_next.detach(), [x, u, x_next]

    def pull_back(self, tape: list[Tensor], gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by x and u."""
        x, u, x_next = tape
        by_x, by_u = torch.autograd.grad(x_next, (x, u), gradient, materialize_grads=True)
        return by_x, by_u


class ScriptScore(nn.Module):
    """Any model."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = _frozen(module)

    def forward(self, x: Tensor, u: Tensor, level: int) -> Tensor:
        """At B points."""
        found: Tensor = self._module(x, u, torch.full((len(x),), level))
        return found


class MlpDynamics(nn.Module):
    """`networks.DynamicsInMetres` as matrices: z = (x, u) -> ReLU layers -> M(z), markers move by M(z) u.

    Args:
        module: its TorchScript.
        layer: makes the hidden layers.

    Raises:
        AttributeError, KeyError, RuntimeError: it is something else.
    """

    def __init__(self, module: Any, layer: LayerOf = plain) -> None:
        super().__init__()
        x_scale, u_scale = float(module.x_scale), float(module.u_scale)
        weights, biases = layers_of(module.state_dict(), "net.net.{}", step=2)
        seen = weights[0].shape[1] - 2  # 2N
        first, last = weights[0].double(), weights[-1].double()
        by_markers = first[:, :seen] / (0.5 * x_scale)
        # Markers are seen from the pusher, so its coordinates get what they lose.
        by_pusher = -by_markers.view(len(first), -1, 2).sum(1)
        first = torch.cat([by_markers, by_pusher, first[:, seen:] / u_scale], dim=1)
        scaled = x_scale / u_scale
        weights = [first.float(), *weights[1:-1], (last * scaled).float()]
        self.hidden = nn.ModuleList(layer(w, b) for w, b in zip(weights[:-1], biases[:-1], strict=True))
        self.last = PlainLinear(weights[-1], (biases[-1].double() * scaled).float())
        self.back_last = PlainLinear(weights[-1].t(), None)
        self.back_hidden = nn.ModuleList(layer(w.t(), None) for w in reversed(weights[:-1]))

    @torch.jit.export
    def step(self, x: Tensor, u: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next state, and what `pull_back` needs of this one."""
        h = torch.cat([x, u], dim=1)
        tape = [u]
        for layer in self.hidden:
            h = layer(h).relu_()
            tape.append(h)
        matrix = self.last(h).view(x.shape[0], -1, 2)
        tape.append(matrix)
        return x + torch.cat([torch.bmm(matrix, u.unsqueeze(2)).squeeze(2), u], dim=1), tape

    @torch.jit.export
    def pull_back(self, tape: list[Tensor], gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by x and u."""
        u, matrix = tape[0], tape[-1]
        by_moved = gradient[:, :-2]
        g = self.back_last((by_moved.unsqueeze(2) * u.unsqueeze(1)).flatten(1))
        for k, layer in enumerate(self.back_hidden):
            # Zero where the ReLU was.
            g = layer(torch.ops.aten.threshold_backward(g, tape[-2 - k], 0.0))
        by_u = torch.bmm(by_moved.unsqueeze(1), matrix).squeeze(1) + gradient[:, -2:] + g[:, -2:]
        return gradient + g[:, :-2], by_u


class MlpScore(nn.Module):
    """`networks.ScoreInMetres` as matrices; each noise level multiplies the hidden layers by its token.

    Args:
        module: its TorchScript.
        layer: makes the hidden layers.

    Raises:
        AttributeError, KeyError, RuntimeError: it is something else.
    """

    tokens: Tensor
    sigmas: list[float]

    def __init__(self, module: Any, layer: LayerOf = plain) -> None:
        super().__init__()
        state = module.state_dict()
        centre, scale = state["centre"].double(), state["scale"].double()
        weights, biases = layers_of(state, "net.linears.{}")
        first = weights[0].double() / scale
        head, bias = state["net.head.weight"].double() / scale[:, None], state["net.head.bias"].double() / scale
        weights, biases = [first.float(), *weights[1:]], [(biases[0].double() - first @ centre).float(), *biases[1:]]
        self.hidden = nn.ModuleList(layer(w, b) for w, b in zip(weights, biases, strict=True))
        self.head = PlainLinear(head.float(), bias.float())
        self.register_buffer("tokens", torch.stack([state[f"net.tokens.{k}.weight"] for k in range(len(weights))]))
        self.sigmas = state["sigmas"].tolist()

    def forward(self, x: Tensor, u: Tensor, level: int) -> Tensor:
        """At B points."""
        h = torch.cat([x, u], dim=1)
        for k, layer in enumerate(self.hidden):
            h = layer(h).relu_().mul_(self.tokens[k, level])
        found: Tensor = self.head(h).div_(self.sigmas[level])
        return found


def _frozen(module: Any) -> Any:
    """Weights as constants, where it is TorchScript: no gradient of a weight is ever computed."""
    return torch.jit.freeze(module) if isinstance(module, torch.jit.ScriptModule) else module
