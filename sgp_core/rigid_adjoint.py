"""The rigid dynamics as a planner uses them: plain matrices and a reverse sweep by hand (see `adjoint.py`).

Vectors of the plane are complex numbers. A gradient by z = a + ib is the number whose parts are those by a and b; for
y = r z it comes back as conj(r) g to z and, summed, as conj(z) g to r; to an angle that turns z as Im(conj(z) g).

At these sizes it is the number of operations that takes the time, not the arithmetic. Pusher and step seen from the box
are therefore one vector s of four throughout, and its motion one of six, [shift, 0, angle, 0] = M(s) s, with a matrix M
that is zero where it has to be: no step takes anything apart or puts anything together.
"""

from typing import Any

import torch
from torch import Tensor, nn

from sgp_core.packing import LayerOf, PlainLinear, plain


def layers_of(state: dict[str, Tensor], name: str, step: int = 1) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of the linear layers `name` with 0, step, 2 step, ... in it.

    Raises:
        KeyError: there are none.
    """
    indices: list[int] = []
    while f"{name.format(step * len(indices))}.weight" in state:
        indices.append(step * len(indices))
    if not indices:
        raise KeyError(name)
    found = [[state[f"{name.format(k)}.{kind}"].float() for k in indices] for kind in ("weight", "bias")]
    return found[0], found[1]


class RigidDynamics(nn.Module):
    """`rigid_networks.RigidInMetres` as matrices.

    Args:
        module: its TorchScript.
        layer: makes the hidden layers.

    Raises:
        AttributeError, KeyError, RuntimeError: it is something else.
    """

    places: Tensor
    mean: Tensor
    spin: Tensor

    def __init__(self, module: Any, layer: LayerOf = plain) -> None:
        super().__init__()
        state = module.state_dict()
        weights, biases = layers_of(state, "net.net.{}", step=2)
        per = torch.tensor([1.0 / module.reach_m] * 2 + [1.0 / module.u_scale] * 2, dtype=torch.float64)
        turns = torch.tensor([1.0, 1.0, 1.0 / module.gyration_m], dtype=torch.float64)
        first = (weights[0].double() * per).float()
        # M has rows for shift and angle only, and columns for the step only.
        last, bias = torch.zeros(6, 4, weights[-1].shape[1]), torch.zeros(6, 4)
        last[[0, 1, 4], 2:] = (weights[-1].double().unflatten(0, (3, 2)) * turns[:, None, None]).float()
        bias[[0, 1, 4], 2:] = (biases[-1].double().view(3, 2) * turns[:, None]).float()
        last = last.flatten(0, 1)
        inner = [first, *weights[1:-1]]
        self.hidden = nn.ModuleList(layer(w, b) for w, b in zip(inner, biases[:-1], strict=True))
        self.last = PlainLinear(last, bias.flatten())
        self.back_last = PlainLinear(last.t().contiguous(), None)
        self.back_hidden = nn.ModuleList(layer(w.t(), None) for w in reversed(inner))
        places = torch.view_as_complex(state["places"].float().contiguous())
        self.register_buffer("mean", torch.view_as_real(places.mean()[None]))  # of all markers (1, 2) [m; box]
        self.register_buffer("places", torch.view_as_real(places - places.mean()))  # from there (N, 2) [m; box]
        # How a turn of the box moves a shift in it, and pusher and step seen from it: i z and -i z.
        self.register_buffer("spin", torch.tensor([[0.0, 1.0]] * 3 + [[0.0, -1.0]] * 2))

    @torch.jit.export
    def roll(self, x0: Tensor, u: Tensor) -> tuple[Tensor, list[list[Tensor]]]:
        """The states, and what `pull_back` needs of them.

        The pose of the box is found once; the markers of all states are those of the first one, moved with it.
        """
        first, steps = torch.view_as_complex(x0.reshape(x0.shape[0], -1, 2)), torch.view_as_complex(u.contiguous())
        pusher = torch.cumsum(torch.cat([first[:, -1:], steps], dim=1), dim=1)
        led = torch.stack([pusher[:, :-1], steps], dim=2).unbind(1)
        turned = torch.sgn((first[:, :-1] * torch.view_as_complex(self.places).conj()).sum(1, keepdim=True))
        centre = first[:, :-1].mean(1, keepdim=True) - turned * torch.view_as_complex(self.mean)
        arms = ((first[:, :-1] - centre) / turned).unsqueeze(1)
        yaw = turned.angle()
        one = torch.ones_like(yaw)
        # Steps are vectors, not places: their origin is zero.
        origin = torch.cat([centre, torch.zeros_like(centre)], dim=1)
        yaws, origins = [yaw], [origin]
        tapes: list[list[Tensor]] = []
        for of_pusher in led:
            seen = torch.view_as_real((of_pusher - origin) / turned).flatten(1)
            h, tape = seen, [seen]
            for layer in self.hidden:
                h = layer(h).relu_()
                tape.append(h)
            matrix = self.last(h).view(-1, 6, 4)
            moved = torch.bmm(matrix, seen.unsqueeze(2)).view(-1, 3, 2)
            tape += [matrix, torch.cat([moved.flatten(1), seen], dim=1)]
            tapes.append(tape)
            origin = torch.addcmul(origin, torch.view_as_complex(moved[:, :2]), turned)
            yaw = yaw + moved[:, 2, :1]
            turned = torch.polar(one, yaw)
            yaws.append(yaw)
            origins.append(origin)
        yaw = torch.cat(yaws, dim=1)
        turned, centre = torch.polar(torch.ones_like(yaw), yaw), torch.stack(origins, dim=1)[..., :1]
        arms = turned.unsqueeze(2) * arms
        tapes.append([turned, arms])
        return torch.view_as_real(torch.cat([arms + centre, pusher.unsqueeze(2)], dim=2)).flatten(2), tapes

    @torch.jit.export
    def pull_back(self, tapes: list[list[Tensor]], by_x: Tensor, by_u: Tensor) -> Tensor:
        """Gradients by the actions."""
        turned, arms = tapes[-1]
        by = torch.view_as_complex(by_x.unflatten(2, [-1, 2]))
        by_markers, by_pusher = by[..., :-1], by[:, 1:, -1]
        # By shift and angle of the box in each state, were it free; (B, T+1, 3), as the motion is.
        nothing, by_yaw = torch.zeros_like(turned), (arms.conj() * by_markers).sum(2).imag
        free = torch.stack([by_markers.sum(2), nothing, torch.complex(by_yaw, torch.zeros_like(by_yaw))], dim=2)
        into = torch.stack([turned.conj(), nothing, torch.ones_like(turned)], dim=2)
        spun = torch.view_as_complex(torch.stack([tape[-1] for tape in tapes[:-1]]).unflatten(2, [-1, 2]))
        spun = torch.view_as_real(spun * torch.view_as_complex(self.spin)).flatten(2).unsqueeze(2)
        frees, intos, turns, spins = free.unbind(1), into.unbind(1), turned.unsqueeze(2).unbind(1), spun.unbind(0)
        adjoint = frees[-1]
        found: list[Tensor] = []
        for t in range(by_u.shape[1] - 1, -1, -1):
            tape = tapes[t]
            seen, matrix = tape[0], tape[-2]
            by_moved = torch.view_as_real(adjoint * intos[t]).flatten(1)
            g = self.back_last((by_moved.unsqueeze(2) * seen.unsqueeze(1)).flatten(1))
            for k, layer in enumerate(self.back_hidden):
                # Zero where the ReLU was.
                g = layer(torch.ops.aten.threshold_backward(g, tape[-3 - k], 0.0))
            g = torch.baddbmm(g.unsqueeze(1), by_moved.unsqueeze(1), matrix).squeeze(1)
            by_led = torch.view_as_complex(g.view(-1, 2, 2)) * turns[t]
            found.append(by_led)
            adjoint = adjoint + frees[t]
            adjoint[:, 0] -= by_led[:, 0]
            by_turn = torch.bmm(spins[t], torch.cat([by_moved, g], dim=1).unsqueeze(2))
            torch.view_as_real(adjoint)[:, 2, :1] += by_turn.squeeze(2)
        found.reverse()
        by_led = torch.stack(found, dim=1)
        # The pusher of a state is the sum of all steps before it.
        after = by_pusher.clone()
        after[:, :-1] += by_led[:, 1:, 0]
        by_step = by_led[..., 1] + after.flip(1).cumsum(1).flip(1)
        return by_u + torch.view_as_real(by_step)
