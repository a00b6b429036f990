"""Which demonstrations may judge a bundle: those that it was not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sgp_core.bundle import ModelBundle
from sgp_core.checks import rigid_error_mm
from sgp_core.config import EstimatorConfig
from sgp_core.data import Transitions
from sgp_core.errors import InputError

JUDGED_AT_MOST = 20_000  # transitions


@dataclass(frozen=True, kw_only=True)
class Jury:
    """Transitions of a data file, sorted by what they may be used for.

    Args:
        held_out: of demonstrations that training never saw; they judge the model.
        known: where the model's error counts as known, the data D of Prop. 2.
        unknown: where the bound of Prop. 2 is tried; of demonstrations neither trained on nor in `known`.
        own: whether the file is the one that the bundle was trained on.
        remark: how this came about, for people.
    """

    held_out: Transitions
    known: Transitions
    unknown: Transitions
    own: bool
    remark: str


def jury_of(bundle: ModelBundle, data: Transitions, seed: int) -> Jury:
    """Take out what the bundle was trained on.

    Args:
        bundle: the models to be checked.
        data: the file it was trained on, told by its sha256, or any other one of the same box and table.
        seed: of the halves that another file is cut into.

    Raises:
        InputError: another layout, unit or step duration, or nothing that the bundle has not been trained on.
    """
    _check_alike(bundle, data)
    if data.sha256 == bundle.index["data"]["sha256"]:
        training = bundle.index["training"]
        known, held_out = (_some(part, seed) for part in data.split(training["held_out"], training["seed"]))
        remark = f"the data of the bundle; {_demonstrations(held_out)} demonstrations that training held out judge"
        return Jury(held_out=held_out, known=known, unknown=held_out, own=True, remark=remark)
    trained_on = set(bundle.index["data"].get("trained_on", ()))
    if not trained_on:
        raise InputError(
            f"{bundle.path} does not tell which demonstrations it was trained on, as older bundles do not; give --data"
            " the very file that it was trained on, or train again"
        )
    taken = [number for number, mark in data.marks.items() if mark in trained_on]
    rest = ~np.isin(data.demonstration, taken)
    if len(np.unique(data.demonstration[rest])) < 2:
        raise InputError(
            f"{len(taken)} of the {_demonstrations(data)} demonstrations were trained on, and fewer than two are left"
            " to judge; give --data the very file that the bundle was trained on, or record new demonstrations"
        )
    held_out = _some(data.select(rest), seed)
    known, unknown = held_out.split(0.5, seed)
    overlap = f"; {len(taken)} demonstrations that it was trained on are left out" if len(taken) else ""
    judges = f"{_demonstrations(held_out)} of its {_demonstrations(data)} demonstrations"
    remark = f"not the data of the bundle: {judges} judge{overlap}"
    return Jury(held_out=held_out, known=known, unknown=unknown, own=False, remark=remark)


def _some(data: Transitions, seed: int) -> Transitions:
    """Of very many whole demonstrations, drawn at random: figures grow no better by more, and memory has an end."""
    if len(data) <= JUDGED_AT_MOST:
        return data
    numbers, sizes = np.unique(data.demonstration, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(numbers))
    count = max(2, int(np.searchsorted(sizes[order].cumsum(), JUDGED_AT_MOST, side="right")))
    return data.select(np.isin(data.demonstration, numbers[order[:count]]))


def _check_alike(bundle: ModelBundle, data: Transitions) -> None:
    ours, theirs = bundle.layout, data.layout
    if ours.count != theirs.count or not np.allclose(ours.places, theirs.places, atol=1e-3):
        raise InputError(
            f"the data have {theirs.count} markers ({', '.join(theirs.names)}), the bundle was trained on"
            f" {ours.count} ({', '.join(ours.names)}) or on other places; give data of the same box, or train on these"
        )
    if abs(data.step_duration_s - bundle.step_duration_s) > 1e-9:
        raise InputError(
            f"step_duration_s of the data is {data.step_duration_s:g}, that of the bundle {bundle.step_duration_s:g};"
            " cut the recording with the same, or train on these data"
        )
    off_mm, most_mm = float(np.median(rigid_error_mm(ours, data.x))), EstimatorConfig().rigid_tolerance_m * 1e3
    if off_mm > most_mm:
        raise InputError(
            f"the markers of the data lie {off_mm:.3g} mm from their places on the box (median, at most {most_mm:g});"
            " are x and x_next in metres, and is this the layout they were recorded with?"
        )


def _demonstrations(data: Transitions) -> int:
    return len(np.unique(data.demonstration))
