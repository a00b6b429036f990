"""Transitions: what is saved comes back, what is damaged is refused, demonstrations stay whole."""

import dataclasses

import numpy as np
import pytest
from analytic import LAYOUT, SIZE

from sgp_core.data import Transitions
from sgp_core.errors import InputError


@pytest.fixture
def transitions() -> Transitions:
    random = np.random.default_rng(0)
    x = random.normal(size=(40, SIZE))
    u = random.normal(size=(40, 2))
    return Transitions(
        x=x,
        u=u,
        u_commanded=u + 0.01,
        x_next=x + 0.1,
        demonstration=np.repeat(np.arange(8), 5),
        layout=LAYOUT,
        step_duration_s=1.0,
        provenance={"source": "test", "seed": 3},
    )


def test_round_trip(transitions, tmp_path):
    file = tmp_path / "sub" / "data.npz"
    transitions.save(file)
    back = Transitions.load(file)
    assert back.sha256 == transitions.sha256
    assert back.provenance == transitions.provenance
    assert back.layout == LAYOUT
    np.testing.assert_array_equal(back.u_commanded, transitions.u_commanded)


@pytest.mark.parametrize("seed", range(5))
def test_split_keeps_demonstrations_whole(transitions, seed):
    train, held_out = transitions.split(0.25, seed)
    assert len(train) + len(held_out) == len(transitions)
    assert len(np.unique(held_out.demonstration)) == 2
    assert not set(train.demonstration) & set(held_out.demonstration)


def test_one_demonstration_cannot_be_split(transitions):
    with pytest.raises(InputError, match="record at least two"):
        transitions.select(transitions.demonstration == 0).split(0.5, 0)


def test_the_hash_sees_every_number_and_not_the_provenance(transitions):
    u = transitions.u.copy()
    u[7, 1] = np.nextafter(u[7, 1], 1.0)
    assert dataclasses.replace(transitions, u=u).sha256 != transitions.sha256
    assert dataclasses.replace(transitions, provenance={}).sha256 == transitions.sha256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {"x": d.x[:, :-1]}, r"x has shape \(40, 7\), expected \(40, 8\) for 3 markers"),
        (
            lambda d: {"u": np.where(np.arange(80).reshape(40, 2) == 5, np.nan, d.u)},
            r"u holds 1 values that are not finite",
        ),
        (lambda _: {"step_duration_s": 0.0}, r"step_duration_s = 0.0 must be positive"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(transitions, change, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(transitions, **change(transitions))


@pytest.mark.parametrize("damage", ["truncate", "text", "empty", "other", "missing", "pickle"])
def test_damaged_files_are_refused_by_name(transitions, tmp_path, damage):
    file = tmp_path / "data.npz"
    transitions.save(file)
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-200])
    elif damage == "text":
        file.write_text("hello")
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "other":
        np.savez(file, x=np.zeros(3))
    elif damage == "missing":
        file.unlink()
    else:
        np.savez(file, header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"data file .*data\.npz"):
        Transitions.load(file)
