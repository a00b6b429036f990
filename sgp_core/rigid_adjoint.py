"""The rigid dynamics as a planner uses them: plain matrices and a reverse sweep by hand (see `adjoint.py`).

Vectors of the plane are complex numbers. A gradient by z = a + ib is the number whose parts are those by a and b; for
y = r z it comes back as conj(r) g to z and, summed, as conj(z) g to r.
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

    def __init__(self, module: Any, layer: LayerOf = plain) -> None:
        super().__init__()
        state = module.state_dict()
        weights, biases = layers_of(state, "net.net.{}", step=2)
        per = torch.tensor([1.0 / module.reach_m] * 2 + [1.0 / module.u_scale] * 2, dtype=torch.float64)
        turns = torch.tensor([1.0] * 4 + [1.0 / module.gyration_m] * 2, dtype=torch.float64)
        weights = [(weights[0].double() * per).float(), *weights[1:-1], (weights[-1].double() * turns[:, None]).float()]
        biases = [*biases[:-1], (biases[-1].double() * turns).float()]
        self.hidden = nn.ModuleList(layer(w, b) for w, b in zip(weights[:-1], biases[:-1], strict=True))
        self.last = PlainLinear(weights[-1], biases[-1])
        self.back_last = PlainLinear(weights[-1].t(), None)
        self.back_hidden = nn.ModuleList(layer(w.t(), None) for w in reversed(weights[:-1]))
        places = torch.view_as_complex(state["places"].float().contiguous())
        self.register_buffer("mean", torch.view_as_real(places.mean()[None]))  # of all markers (1, 2) [m; box]
        self.register_buffer("places", torch.view_as_real(places - places.mean()))  # from there (N, 2) [m; box]

    @torch.jit.export
    def step(self, x: Tensor, u: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The next state, and what `pull_back` needs of this one."""
        at = torch.view_as_complex(x.reshape(x.shape[0], -1, 2))
        markers, pusher, step = at[:, :-1], at[:, -1:], torch.view_as_complex(u.unsqueeze(1).contiguous())
        length = (markers * torch.view_as_complex(self.places).conj()).sum(1, keepdim=True)  # markers on their places
        turned = torch.sgn(length)
        centre = markers.mean(1, keepdim=True) - turned * torch.view_as_complex(self.mean)
        seen = turned.conj() * torch.cat([pusher - centre, step], dim=1)
        h = torch.view_as_real(seen.resolve_conj()).flatten(1)
        tape = [h]
        v = h[:, 2:]
        for layer in self.hidden:
            h = layer(h).relu_()
            tape.append(h)
        matrix = self.last(h).view(-1, 3, 2)
        moved = torch.bmm(matrix, v.unsqueeze(2)).squeeze(2)
        shift, angle = torch.view_as_complex(moved[:, :2].unsqueeze(1).contiguous()), moved[:, 2:]
        turn = torch.polar(torch.ones_like(angle), angle)
        arm = turn * (markers - centre)
        after = arm + (centre + turned * shift)
        tape += [matrix, torch.cat([turned, length, shift, turn, pusher - centre, step, arm], dim=1)]
        return torch.view_as_real(torch.cat([after, pusher + step], dim=1)).flatten(1), tape

    @torch.jit.export
    def pull_back(self, tape: list[Tensor], gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by x and u."""
        matrix, numbers = tape[-2], tape[-1]
        turned, length, shift, turn = numbers[:, 0:1], numbers[:, 1:2], numbers[:, 2:3], numbers[:, 3:4]
        from_box, arm = numbers[:, 4:6], numbers[:, 6:]  # pusher and step seen from the box's centre; markers, turned
        by = torch.view_as_complex(gradient.reshape(gradient.shape[0], -1, 2))
        by_after, by_pusher = by[:, :-1], by[:, -1:]
        by_all = by_after.sum(1, keepdim=True)
        by_markers = turn.conj() * by_after
        by_angle = (arm.conj() * by_after).imag.sum(1, keepdim=True)
        by_shift = turned.conj() * by_all
        by_centre = by_all - by_markers.sum(1, keepdim=True)
        by_turned = shift.conj() * by_all
        # Through the network.
        by_moved = torch.cat([torch.view_as_real(by_shift.resolve_conj()).flatten(1), by_angle], dim=1)
        v = tape[0][:, 2:]
        g = self.back_last((by_moved.unsqueeze(2) * v.unsqueeze(1)).flatten(1))
        for k, layer in enumerate(self.back_hidden):
            # Zero where the ReLU was.
            g = layer(torch.ops.aten.threshold_backward(g, tape[-3 - k], 0.0))
        by_v = g[:, 2:] + torch.bmm(by_moved.unsqueeze(1), matrix).squeeze(1)
        by_seen = torch.view_as_complex(torch.stack([g[:, :2], by_v], dim=1))
        # Back to the table.
        by_from = turned * by_seen
        by_turned = by_turned + (by_seen.conj() * from_box).sum(1, keepdim=True)
        by_pusher = by_pusher + by_from[:, :1]
        by_step = by[:, -1:] + by_from[:, 1:]
        by_centre = by_centre - by_from[:, :1]
        by_turned = by_turned - torch.view_as_complex(self.mean).conj() * by_centre
        across = by_turned - turned * (turned.conj() * by_turned).real
        by_length = across / length.abs()
        by_markers = by_markers + by_length * torch.view_as_complex(self.places) + by_centre / by_after.shape[1]
        by_x = torch.view_as_real(torch.cat([by_markers, by_pusher], dim=1)).flatten(1)
        return by_x, torch.view_as_real(by_step).flatten(1)
