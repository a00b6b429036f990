"""The models of a bundle as a planner uses them: dynamics with a reverse sweep by hand, and the score.

Autograd would build and walk a graph of some hundred small operations in each iteration, which costs several times what
the arithmetic does. The networks of `sgp_core.networks` are therefore taken out of their TorchScript files as plain
matrices, with all scaling folded into the first and last of them, and tried against the file before they are used. Any
other TorchScript model serves as well, through autograd.

Dynamics have `roll`, x0 (B, nx) and u (B, T, 2) [m; table] to the states (B, T+1, nx) and tapes, and `pull_back`, from
tapes and gradients by the states and actions as if all were free, (B, T+1, nx) and (B, T, 2), to those by the actions
that lead to the states (B, T, 2): reverse mode over the rollout. A score takes x, u and the index of a noise level to
the gradient of log p_sigma by (x, u) (B, nx + 2) [1/m]. TorchScript compiles this module as it stands, hence its plain
annotations.
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
    """What two equal steps move (B, 2, nx), and the gradients by them of the sum of all states (B, 2, 2)."""
    steps = torch.stack([u, u], dim=1)
    states, tapes = dynamics.roll(x, steps)
    return states[:, 1:] - x[:, None], dynamics.pull_back(tapes, torch.ones_like(states), torch.zeros_like(steps))


def _alike(tolerance: float, found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() <= tolerance * wanted.norm())


class ScriptDynamics(nn.Module):
    """Any model, differentiated by autograd."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = _frozen(module)

    def roll(self, x0: Tensor, u: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """The states, and what `pull_back` needs of them."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            # As in later steps: once called without a gradient by x, frozen TorchScript leaves it out for ever.
            x = x0.detach().requires_grad_()
            states = [x]
            for t in range(u.shape[1]):
                x = self._module(x, u[:, t])
                states.append(x)
            stacked = torch.stack(states, dim=1)
        return stacked.detach(), [[u, stacked]]

    def pull_back(self, tapes: list[list[Tensor]], by_x: Tensor, by_u: Tensor) -> Tensor:
        """Gradients by the actions."""
        u, stacked = tapes[0]
        return by_u + torch.autograd.grad(stacked, u, by_x, retain_graph=True, materialize_grads=True)[0]


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
    def roll(self, x0: Tensor, u: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """The states, and what `pull_back` needs of them."""
        x, states = x0, [x0]
        tapes: list[list[Tensor]] = []
        for t in range(u.shape[1]):
            step = u[:, t]
            h = torch.cat([x, step], dim=1)
            tape = [step]
            for layer in self.hidden:
                h = layer(h).relu_()
                tape.append(h)
            matrix = self.last(h).view(x.shape[0], -1, 2)
            tape.append(matrix)
            tapes.append(tape)
            x = x + torch.cat([torch.bmm(matrix, step.unsqueeze(2)).squeeze(2), step], dim=1)
            states.append(x)
        return torch.stack(states, dim=1), tapes

    @torch.jit.export
    def pull_back(self, tapes: list[list[Tensor]], by_x: Tensor, by_u: Tensor) -> Tensor:
        """Gradients by the actions."""
        adjoint, found = by_x[:, -1], by_u.clone()
        for t in range(by_u.shape[1] - 1, -1, -1):
            tape = tapes[t]
            step, matrix, by_moved = tape[0], tape[-1], adjoint[:, :-2]
            g = self.back_last((by_moved.unsqueeze(2) * step.unsqueeze(1)).flatten(1))
            for k, layer in enumerate(self.back_hidden):
                # Zero where the ReLU was.
                g = layer(torch.ops.aten.threshold_backward(g, tape[-2 - k], 0.0))
            found[:, t] += torch.bmm(by_moved.unsqueeze(1), matrix).squeeze(1) + adjoint[:, -2:] + g[:, -2:]
            adjoint = by_x[:, t] + adjoint + g[:, :-2]
        return found


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
