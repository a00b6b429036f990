"""The models of a bundle as a planner uses them: dynamics with a reverse sweep by hand, and the score.

Autograd would build and walk a graph of some hundred small operations in each iteration, which costs several times what
the arithmetic does. The networks of `sgp_core.networks` are therefore taken out of their TorchScript files as plain
matrices, with all scaling folded into the first and last of them, and tried against the file before they are used. Any
other TorchScript model serves as well, through autograd.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sgp_core.bundle import ModelBundle

threshold_backward = torch.ops.aten.threshold_backward.default
# Of the largest output: what single precision makes of another order of the same sums.
TOLERANCE = 1e-4
TRIED = 64  # reference tuples


class Dynamics(Protocol):
    """x_next = f(x, u) [m; table], and its reverse mode."""

    def step(self, x: Float[Tensor, "B nx"], u: Float[Tensor, "B 2"]) -> tuple[Float[Tensor, "B nx"], Any]:
        """The next state, and what `pull_back` needs of this one."""

    def pull_back(
        self, tape: Any, gradient: Float[Tensor, "B nx"]
    ) -> tuple[Float[Tensor, "B nx"], Float[Tensor, "B 2"]]:
        """From the gradient by x_next to the gradients by x and u."""


class Score(Protocol):
    """Gradient of log p_sigma by (x, u) [1/m] at one noise level."""

    def __call__(self, x: Float[Tensor, "B nx"], u: Float[Tensor, "B 2"], level: int) -> Float[Tensor, "B nz"]:
        """At B points."""


def models_of(bundle: ModelBundle) -> tuple[Dynamics, Score]:
    """Both models, as plain matrices where they are the networks of this package, else as they are."""
    x = torch.from_numpy(bundle.reference_x[:TRIED]).float()
    u = torch.from_numpy(bundle.reference_u[:TRIED]).float()
    dynamics: Dynamics = ScriptDynamics(bundle.dynamics)
    score: Score = ScriptScore(bundle.score)
    try:
        plain_dynamics, plain_score = MlpDynamics(bundle.dynamics), MlpScore(bundle.score)
        if _alike(plain_dynamics.step(x, u)[0] - x, dynamics.step(x, u)[0] - x):
            dynamics = plain_dynamics
        if all(_alike(plain_score(x, u, k), score(x, u, k)) for k in range(len(bundle.sigmas))):
            score = plain_score
    except (AttributeError, KeyError, RuntimeError):  # another architecture
        pass
    return dynamics, score


def _alike(found: Tensor, wanted: Tensor) -> bool:
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


class ScriptDynamics:
    """Any model, differentiated by autograd."""

    def __init__(self, module: Any) -> None:
        self._module = _frozen(module)

    def step(self, x: Float[Tensor, "B nx"], u: Float[Tensor, "B 2"]) -> tuple[Float[Tensor, "B nx"], Any]:
        """See `Dynamics.step`."""
        with torch.enable_grad():
            x, u = x.detach().requires_grad_(), u.detach().requires_grad_()
            x_next = self._module(x, u)
        return x_next.detach(), (x, u, x_next)

    def pull_back(
        self, tape: Any, gradient: Float[Tensor, "B nx"]
    ) -> tuple[Float[Tensor, "B nx"], Float[Tensor, "B 2"]]:
        """See `Dynamics.pull_back`."""
        x, u, x_next = tape
        by_x, by_u = torch.autograd.grad(x_next, (x, u), gradient, materialize_grads=True)
        return by_x, by_u


class ScriptScore:
    """Any model."""

    def __init__(self, module: Any) -> None:
        self._module = _frozen(module)

    def __call__(self, x: Float[Tensor, "B nx"], u: Float[Tensor, "B 2"], level: int) -> Float[Tensor, "B nz"]:
        """See `Score`."""
        found: Tensor = self._module(x, u, torch.full((len(x),), level))
        return found


class MlpDynamics:
    """`networks.DynamicsInMetres` as matrices: z = (x, u) -> ReLU layers -> M(z), markers move by M(z) u.

    Args:
        module: its TorchScript.

    Raises:
        AttributeError, KeyError, RuntimeError: it is something else.
    """

    def __init__(self, module: Any) -> None:
        x_scale, u_scale = float(module.x_scale), float(module.u_scale)
        weights, biases = _layers(module.state_dict(), "net.net.{}", step=2)
        seen = weights[0].shape[1] - 2  # 2N
        first, last = weights[0].double(), weights[-1].double()
        by_markers = first[:, :seen] / (0.5 * x_scale)
        # Markers are seen from the pusher, so its coordinates get what they lose.
        by_pusher = -by_markers.view(len(first), -1, 2).sum(1)
        first = torch.cat([by_markers, by_pusher, first[:, seen:] / u_scale], dim=1)
        scaled = x_scale / u_scale
        self._weights = [w.float().contiguous() for w in (first, *weights[1:-1], last * scaled)]
        self._biases = [*biases[:-1], (biases[-1].double() * scaled).float()]
        # addmm takes the transpose without a copy; the sweep back takes the matrix itself.
        self._transposed = [w.t() for w in self._weights]

    def step(self, x: Float[Tensor, "B nx"], u: Float[Tensor, "B 2"]) -> tuple[Float[Tensor, "B nx"], Any]:
        """See `Dynamics.step`."""
        h, hidden = torch.cat([x, u], dim=1), []
        for weight, bias in zip(self._transposed[:-1], self._biases[:-1], strict=True):
            h = torch.addmm(bias, h, weight).relu_()
            hidden.append(h)
        matrix = torch.addmm(self._biases[-1], h, self._transposed[-1]).view(len(x), -1, 2)
        moved = torch.bmm(matrix, u[:, :, None])[:, :, 0]
        return x + torch.cat([moved, u], dim=1), (u, hidden, matrix)

    def pull_back(
        self, tape: Any, gradient: Float[Tensor, "B nx"]
    ) -> tuple[Float[Tensor, "B nx"], Float[Tensor, "B 2"]]:
        """See `Dynamics.pull_back`."""
        u, hidden, matrix = tape
        by_moved = gradient[:, :-2]
        g = (by_moved[:, :, None] * u[:, None]).flatten(1)
        for weight, h in zip(self._weights[:0:-1], reversed(hidden), strict=True):
            g = threshold_backward(torch.mm(g, weight), h, 0.0)  # zero where the ReLU was
        g = torch.mm(g, self._weights[0])
        by_u = torch.bmm(by_moved[:, None], matrix)[:, 0] + gradient[:, -2:] + g[:, -2:]
        return gradient + g[:, :-2], by_u


class MlpScore:
    """`networks.ScoreInMetres` as matrices; each noise level multiplies the hidden layers by its token.

    Args:
        module: its TorchScript.

    Raises:
        AttributeError, KeyError, RuntimeError: it is something else.
    """

    def __init__(self, module: Any) -> None:
        state = module.state_dict()
        centre, scale = state["centre"].double(), state["scale"].double()
        weights, biases = _layers(state, "net.linears.{}")
        first = weights[0].double() / scale
        self._transposed = [first.float().t(), *(w.t() for w in weights[1:])]
        self._biases = [(biases[0].double() - first @ centre).float(), *biases[1:]]
        self._tokens = [state[f"net.tokens.{k}.weight"] for k in range(len(weights))]
        head, bias = state["net.head.weight"].double() / scale[:, None], state["net.head.bias"].double() / scale
        self._head, self._head_bias = head.float().t(), bias.float()
        self._sigmas = state["sigmas"].tolist()

    def __call__(self, x: Float[Tensor, "B nx"], u: Float[Tensor, "B 2"], level: int) -> Float[Tensor, "B nz"]:
        """See `Score`."""
        h = torch.cat([x, u], dim=1)
        for weight, bias, token in zip(self._transposed, self._biases, self._tokens, strict=True):
            h = torch.addmm(bias, h, weight).relu_().mul_(token[level])
        return torch.addmm(self._head_bias, h, self._head).div_(self._sigmas[level])


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
