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
from typing import Any

import torch
from torch import Tensor, nn

from sgp_core.bundle import ModelBundle
from sgp_core.packing import TOLERANCES, LayerOf, PlainLinear, accurate, fast, plain

TRIED = 64  # reference tuples


def models_of(bundle: ModelBundle) -> tuple[nn.Module, nn.Module]:
    """Both models, as plain matrices where they are the networks of this package, else as they are."""
    x = torch.from_numpy(bundle.reference_x[:TRIED]).float()
    u = torch.from_numpy(bundle.reference_u[:TRIED]).float()
    file_dynamics, file_score = ScriptDynamics(bundle.dynamics), ScriptScore(bundle.score)
    dynamics: nn.Module = file_dynamics
    score: nn.Module = file_score
    # Another architecture ends the attempt; where fewer bits do too much harm, more are taken.
    with contextlib.suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        for kept, layer in ((plain, plain), (accurate, accurate), (accurate, fast)):
            tried = MlpDynamics(bundle.dynamics, layer, kept)
            moved = file_dynamics.predict(x, u) - x
            found, wanted = _pulled_back(tried, x, u), _pulled_back(file_dynamics, x, u)
            if (
                _alike(kept, tried.predict(x, u) - x, moved)
                and _alike(layer, tried.step(x, u)[0] - x, moved)
                and _alike(fast, found, wanted)
            ):
                dynamics = tried
    with contextlib.suppress(AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError):
        for layer in (plain, accurate, fast):
            candidate = MlpScore(bundle.score, layer)
            if all(_alike(layer, candidate(x, u, k), file_score(x, u, k)) for k in range(len(bundle.sigmas))):
                score = candidate
    return dynamics, score


def _pulled_back(dynamics: Any, x: Tensor, u: Tensor) -> Tensor:
    """Gradients by x and u of the sum of what the box does (B, nx + 2)."""
    _, tape = dynamics.step(x, u)
    return torch.cat(dynamics.pull_back(tape, torch.ones_like(x)), dim=1)


def _alike(layer: LayerOf, found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).norm() <= TOLERANCES[layer] * wanted.norm())


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

    def predict(self, x: Tensor, u: Tensor) -> Tensor:
        """The next state alone."""
        found: Tensor = self._module(x, u)
        return found

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
        layer: makes the hidden layers of `step` and `pull_back`.
        kept: makes those of `predict`.

    Raises:
        AttributeError, KeyError, RuntimeError: it is something else.
    """

    def __init__(self, module: Any, layer: LayerOf = plain, kept: LayerOf = plain) -> None:
        super().__init__()
        x_scale, u_scale = float(module.x_scale), float(module.u_scale)
        weights, biases = _layers(module.state_dict(), "net.net.{}", step=2)
        seen = weights[0].shape[1] - 2  # 2N
        first, last = weights[0].double(), weights[-1].double()
        by_markers = first[:, :seen] / (0.5 * x_scale)
        # Markers are seen from the pusher, so its coordinates get what they lose.
        by_pusher = -by_markers.view(len(first), -1, 2).sum(1)
        first = torch.cat([by_markers, by_pusher, first[:, seen:] / u_scale], dim=1)
        scaled = x_scale / u_scale
        weights = [first.float(), *weights[1:-1], (last * scaled).float()]
        hidden = list(zip(weights[:-1], biases[:-1], strict=True))
        self.hidden = nn.ModuleList(layer(w, b) for w, b in hidden)
        self.accurate = nn.ModuleList(kept(w, b) for w, b in hidden)
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
        return self._moved(x, u, matrix), tape

    @torch.jit.export
    def predict(self, x: Tensor, u: Tensor) -> Tensor:
        """The next state alone, as exactly as it is worth: for what is shown, compared and kept."""
        h = torch.cat([x, u], dim=1)
        for layer in self.accurate:
            h = layer(h).relu_()
        return self._moved(x, u, self.last(h).view(x.shape[0], -1, 2))

    def _moved(self, x: Tensor, u: Tensor, matrix: Tensor) -> Tensor:
        return x + torch.cat([torch.bmm(matrix, u.unsqueeze(2)).squeeze(2), u], dim=1)

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

    tokens: list[Tensor]
    sigmas: list[float]

    def __init__(self, module: Any, layer: LayerOf = plain) -> None:
        super().__init__()
        state = module.state_dict()
        centre, scale = state["centre"].double(), state["scale"].double()
        weights, biases = _layers(state, "net.linears.{}")
        first = weights[0].double() / scale
        head, bias = state["net.head.weight"].double() / scale[:, None], state["net.head.bias"].double() / scale
        weights, biases = [first.float(), *weights[1:]], [(biases[0].double() - first @ centre).float(), *biases[1:]]
        self.hidden = nn.ModuleList(layer(w, b) for w, b in zip(weights, biases, strict=True))
        self.head = PlainLinear(head.float(), bias.float())
        self.tokens = [state[f"net.tokens.{k}.weight"] for k in range(len(weights))]
        self.sigmas = state["sigmas"].tolist()

    def forward(self, x: Tensor, u: Tensor, level: int) -> Tensor:
        """At B points."""
        h = torch.cat([x, u], dim=1)
        for k, layer in enumerate(self.hidden):
            h = layer(h).relu_().mul_(self.tokens[k][level])
        found: Tensor = self.head(h).div_(self.sigmas[level])
        return found


def _layers(state: dict[str, Tensor], name: str, step: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of the linear layers `name` with 0, step, 2 step, ... in it."""
    indices: list[int] = []
    while f"{name.format(step * len(indices))}.weight" in state:
        indices.append(step * len(indices))
    if not indices:
        raise KeyError(name)
    found = [[state[f"{name.format(k)}.{kind}"].float() for k in indices] for kind in ("weight", "bias")]
    return found[0], found[1]


def _frozen(module: Any) -> Any:
    """Weights as constants, where it is TorchScript: no gradient of a weight is ever computed."""
    return torch.jit.freeze(module) if isinstance(module, torch.jit.ScriptModule) else module
