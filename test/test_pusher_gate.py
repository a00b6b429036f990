"""Pusher samples that cannot be true are refused; a place that lasts is believed."""

from __future__ import annotations

import numpy as np
import pytest

from sgp_core.config import EstimatorConfig
from sgp_core.pusher_gate import PusherGate, is_missing
from sgp_core.types import Reason

HERE = np.array([0.41, 0.02, 0.03])


def gate_at(place: np.ndarray = HERE, stamp_s: float = 10.0) -> PusherGate:
    gate = PusherGate(EstimatorConfig())
    believed = [gate.accept(stamp_s - 0.05 + 0.025 * k, place) is None for k in range(3)]
    assert believed == [False, False, True]
    return gate


@pytest.mark.parametrize(
    ("point", "missing"),
    [
        ((0.0, 0.0, 0.0), True),
        ((-0.0, 0.0, 0.0), True),
        ((np.nan, 0.1, 0.1), True),
        ((0.1, 0.1, np.inf), True),
        ((0.0, 0.0, 0.01), False),
        ((0.5, 0.0, 0.0), False),
    ],
)
def test_what_counts_as_missing(point: tuple[float, float, float], missing: bool) -> None:
    assert is_missing(np.array(point)) is missing


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((np.nan, 0.0, 0.0), "not finite"),
        ((0.0, 0.0, 0.0), "exactly zero"),
        ((410.0, 20.0, 30.0), "unit_m"),
        ((0.9, 0.02, 0.03), "jumped 490 mm"),
    ],
)
def test_untrue_samples_are_refused_in_words(place: tuple[float, float, float], words: str) -> None:
    gate = gate_at()
    fault = gate.accept(10.01, np.array(place))
    assert fault is not None
    assert fault.reason == Reason.NO_PUSHER
    assert words in fault.text
    assert gate.accept(10.02, HERE) is None  # and leave no trace


def test_fast_but_possible_motion_passes() -> None:
    gate = gate_at()
    for k in range(1, 50):
        assert gate.accept(10.0 + 0.01 * k, HERE + np.array([0.029 * k, 0.0, 0.0])) is None


@pytest.mark.parametrize(("period_s", "refusals"), [(0.01, 5), (0.03, 2), (0.1, 2)])
def test_a_jump_is_believed_when_it_lasts(period_s: float, refusals: int) -> None:
    """Three samples and 0.05 s at least, however long it was not seen."""
    gate, there = gate_at(), HERE + np.array([0.5, 0.0, 0.0])
    verdicts = [gate.accept(10.0 + period_s * (k + 1), there) for k in range(10)]
    assert [verdict is None for verdict in verdicts] == [False] * refusals + [True] * (10 - refusals)


def test_single_wrong_samples_never_add_up_to_a_jump() -> None:
    gate = gate_at()
    for k in range(1, 100):
        wrong = k % 2 == 0
        verdict = gate.accept(10.0 + 0.005 * k, HERE + np.array([0.5 if wrong else 0.0, 0.0, 0.0]))
        assert (verdict is None) == (not wrong)


def test_a_jump_that_wanders_is_not_believed() -> None:
    gate, random = gate_at(), np.random.default_rng(0)
    for k in range(1, 10):
        assert gate.accept(10.0 + 0.01 * k, HERE + np.array([0.5 + random.uniform(0.1, 0.5) * (-1) ** k, 0.5, 0.0]))


def test_a_sample_that_is_not_newer_is_refused_unless_the_clock_was_set_back() -> None:
    gate = gate_at()
    assert gate.accept(10.0, HERE) is not None
    assert gate.accept(9.9, HERE) is not None
    assert gate.accept(3.0, HERE + 1.0) is not None  # one sample of long ago
    assert gate.accept(10.01, HERE) is None
    believed = [gate.accept(3.0 + 0.03 * k, HERE + 1.0) is None for k in range(4)]
    assert believed == [False, False, True, True]


def test_the_speed_limit_is_live() -> None:
    gate = gate_at()
    gate.config = EstimatorConfig(pusher_speed_limit_mps=100.0)
    assert gate.accept(10.01, HERE + np.array([0.1, 0.0, 0.0])) is None
