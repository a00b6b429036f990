"""Networks of another width that give what the trained ones give: sizes to measure, with plans that mean something."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor

from sgp_core.bundle import ModelBundle, script
from sgp_core.errors import InputError
from sgp_core.networks import DynamicsInMetres, DynamicsMLP, ScoreInMetres, ScoreMLP
from sgp_core.rigid_networks import RigidInMetres, TwistMLP


@dataclasses.dataclass(frozen=True)
class Networks:
    """The same networks twice: as ordinary modules, and in a bundle."""

    dynamics: DynamicsInMetres | RigidInMetres
    score: ScoreInMetres
    bundle: ModelBundle

    @property
    def modules(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Dynamics and score."""
        return self.dynamics, self.score


def resized(bundle: ModelBundle, hidden: int) -> Networks:
    """The networks of `sgp train` with `hidden` units per layer.

    Wider ones hold every unit several times, each with its part of the weight onwards, and compute the same function
    (Net2WiderNet of Chen, Goodfellow, Shlens, 2016). Narrower ones drop units, and their plans mean nothing.
    """
    dynamics_state, score_state = bundle.dynamics.state_dict(), bundle.score.state_dict()
    if "net.net.0.weight" not in dynamics_state or "net.linears.0.weight" not in score_state:
        raise InputError(f"the networks of {bundle.path} are not those of `sgp train`; only those can be resized")
    layers = sum(name.startswith("net.linears.") and name.endswith("weight") for name in score_state)
    dynamics: DynamicsInMetres | RigidInMetres
    if "places" in dynamics_state:
        dynamics = RigidInMetres(TwistMLP(hidden, layers), bundle.layout, bundle.normalizer)
    else:
        dynamics = DynamicsInMetres(DynamicsMLP(bundle.layout.count, hidden, layers), bundle.normalizer)
    net = ScoreMLP(bundle.layout.state_size + 2, len(bundle.sigmas), hidden, layers)
    score = ScoreInMetres(net, bundle.normalizer, bundle.sigmas)
    for module, state in ((dynamics, dynamics_state), (score, score_state)):
        # A token multiplies outputs, whatever its second axis looks like.
        made = {k: _resized(state[k], new, inputs="tokens" not in k) for k, new in module.state_dict().items()}
        module.load_state_dict(made)
    # Copies, because whether weights ask for gradients is up to whoever uses the modules.
    scripted = [script(copy.deepcopy(module)) for module in (dynamics, score)]
    return Networks(dynamics, score, dataclasses.replace(bundle, dynamics=scripted[0], score=scripted[1]))


def _resized(old: Tensor, new: Tensor, *, inputs: bool) -> Tensor:
    """`old` in the shape of `new`: units are copied or dropped, and copies among the inputs share a weight."""
    for axis in range(old.dim()):
        units = torch.arange(new.shape[axis]) % old.shape[axis]
        old = old.index_select(axis, units)
        if axis == 1 and inputs:
            old = old / torch.bincount(units)[units]
    return old
