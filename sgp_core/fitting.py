"""Fits one network by AdamW, checks it on held-out data, keeps its best weights; may be stopped and gone on with."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sgp_core.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Check:
    """One look at a network while it is trained."""

    network: str
    step: int
    steps: int  # at most
    train_loss: float  # mean since the last check
    held_out_loss: float
    learning_rate: float


class Fit:
    """One network on its way to its lowest held-out loss, under a cosine learning rate.

    Args:
        name: of the network.
        network: what is trained, on the device where it is to be trained.
        rows: number of training tuples.
        batch_size: tuples per step.
        config: steps, learning rate, checks, patience.
        weight_decay: of AdamW.
        generator: draws the batches, and whatever else the loss takes from it.

    Attributes:
        checks: all looks so far.
        best_loss, best_step: of the lowest held-out loss.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        *,
        rows: int,
        batch_size: int,
        config: TrainConfig,
        weight_decay: float,
        generator: torch.Generator,
    ) -> None:
        self.name, self.network = name, network
        self.checks: list[Check] = []
        self.best_loss, self.best_step = float("inf"), 0
        self._best_weights = copy.deepcopy(network.state_dict())
        self._config, self._rows, self._batch_size, self._generator = config, rows, batch_size, generator
        self._optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=weight_decay)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, config.steps)
        self._step, self._ended = 0, False
        self._order = torch.empty(0, dtype=torch.int64)  # what is left of an epoch

    @property
    def done(self) -> bool:
        """Whether all steps are made, or the last checks brought nothing."""
        waited = self._step - self.best_step > self._config.patience * self._config.check_every
        return self._step >= self._config.steps or waited

    def run(
        self, loss_of: Callable[[Tensor], Tensor], held_out_loss: Callable[[], float], told: Callable[[Check], None]
    ) -> None:
        """Train to the end; leaves the best weights in the network.

        Args:
            loss_of: loss of a batch of tuples, given by their indices.
            held_out_loss: of the network as it is.
            told: called after each check, from which on training could go on.
        """
        config, losses = self._config, torch.zeros((), device=next(self.network.parameters()).device)
        since = self._step
        while not self._ended:
            if len(self._order) == 0:
                self._order = torch.randperm(self._rows, generator=self._generator)
            batch, self._order = self._order[: self._batch_size], self._order[self._batch_size :]
            self._optimizer.zero_grad(set_to_none=True)
            loss = loss_of(batch)
            loss.backward()
            self._optimizer.step()
            self._schedule.step()
            losses += loss.detach()
            self._step += 1
            if self._step % config.check_every == 0 or self._step == config.steps:
                check = self._check(float(losses) / (self._step - since), held_out_loss)
                self._ended = self.done
                told(check)
                losses, since = torch.zeros_like(losses), self._step
            elif len(self._order) == 0:
                self._ended = self.done
        self.network.load_state_dict(self._best_weights)

    def result(self) -> dict[str, float]:
        """Where it ended."""
        return {"held_out_loss": self.best_loss, "best_step": self.best_step, "steps": self._step}

    @torch.no_grad()
    def _check(self, train_loss: float, held_out_loss: Callable[[], float]) -> Check:
        found = held_out_loss()
        if found < self.best_loss:
            self.best_loss, self.best_step = found, self._step
            self._best_weights = copy.deepcopy(self.network.state_dict())
        self.checks.append(
            Check(
                network=self.name,
                step=self._step,
                steps=self._config.steps,
                train_loss=train_loss,
                held_out_loss=found,
                learning_rate=float(self._schedule.get_last_lr()[0]),
            )
        )
        return self.checks[-1]

    def state(self) -> dict[str, Any]:
        """All that is needed to go on; tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "generator": self._generator.get_state(),
            "order": self._order.clone(),  # not the whole epoch that it is a view of
            "step": self._step,
            "best": {"loss": self.best_loss, "step": self.best_step, "weights": self._best_weights},
            "checks": [vars(check) for check in self.checks],
        }

    def take_up(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(state["network"])
        # The optimiser goes on with the very tensors that it is given, and what is kept must stay as it was.
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._schedule.load_state_dict(state["schedule"])
        self._generator.set_state(state["generator"])
        self._order, self._step = state["order"], int(state["step"])
        best = state["best"]
        self.best_loss, self.best_step, self._best_weights = best["loss"], best["step"], best["weights"]
        self.checks = [Check(**check) for check in state["checks"]]
        self._ended = self.done
