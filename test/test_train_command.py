"""`sgp train`: interrupted, gone on with, refused, told; and little or much data."""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_training import QUICK, glued, quietly
from typer.testing import CliRunner

import sgp_core.checkpoint as checkpoint_module
from sgp_core.bundle import load_bundle
from sgp_core.checkpoint import Checkpoint
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.export import train_bundle
from sgp_core.fitting import Check
from sgp_core.training import train
from sgp_ros import train as train_module
from sgp_ros.cli import app

ABOUT = {"data": "abc"}
SETTINGS = ["--set", "hidden=32", "--set", "layers=2", "--set", "sigma_count=3", "--set", "check_every=50"]


@pytest.fixture
def data_file(tmp_path: Path) -> Path:
    glued(120).save(tmp_path / "data.npz")
    return tmp_path / "data.npz"


def sgp(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("kept_every_s", [0.0, 1e9])
@pytest.mark.parametrize("ends_at", [("dynamics", 150), ("score", 100)])
def test_an_interrupted_training_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_at: tuple[str, int], kept_every_s: float
) -> None:
    monkeypatch.setattr(checkpoint_module, "KEEP_EVERY_S", kept_every_s)

    def interrupt(check: Check) -> None:
        if (check.network, check.step) == ends_at:
            raise KeyboardInterrupt

    whole = train(glued(), glued(60), QUICK, quietly)
    with pytest.raises(KeyboardInterrupt):
        train(glued(), glued(60), QUICK, interrupt, checkpoint=Checkpoint(tmp_path / "c.pt", ABOUT))
    seen: list[Check] = []
    again = train(glued(), glued(60), QUICK, seen.append, checkpoint=Checkpoint(tmp_path / "c.pt", ABOUT))
    if kept_every_s == 0.0:
        assert seen[0].step == (ends_at[1] if ends_at[0] == "dynamics" else 100)
    assert again.checks == whole.checks
    assert again.history == whole.history
    for one, other in ((again.dynamics, whole.dynamics), (again.score, whole.score)):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=0, atol=0)


def test_what_was_kept_stays_as_it_was_while_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted again, before anything new is kept, it is written once more beside another network's state."""
    monkeypatch.setattr(checkpoint_module, "KEEP_EVERY_S", 1e9)

    def interrupt(check: Check) -> None:
        if (check.network, check.step) == ("dynamics", 150):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(glued(), glued(60), QUICK, interrupt, checkpoint=Checkpoint(tmp_path / "c.pt", ABOUT))
    kept = Checkpoint(tmp_path / "c.pt", ABOUT)
    was = copy.deepcopy(kept.states["dynamics"]["optimizer"]["state"])
    train(glued(), glued(60), QUICK, quietly, checkpoint=kept)
    torch.testing.assert_close(kept.states["dynamics"]["optimizer"]["state"], was, rtol=0, atol=0)


def test_reports_of_another_training_are_not_replaced_unasked(data_file: Path, tmp_path: Path) -> None:
    log = tmp_path / "runs"
    log.mkdir()
    (log / "report.md").write_text("precious")
    with pytest.raises(InputError, match=r"runs/report\.md is of another training; give another folder with --log"):
        sgp("train", data_file, "-o", tmp_path / "a", "--log", log, *SETTINGS)
    assert (log / "report.md").read_text() == "precious"


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    checkpoint = Checkpoint(file, {"data": "abc", "seed": 0})
    checkpoint.keep("dynamics", lambda: {"step": 3})
    assert Checkpoint(file, {"data": "abc", "seed": 0}).steps == {"dynamics": 3}
    with pytest.raises(InputError, match=r"with seed = 0 instead of 1; give the same to go on, use --overwrite"):
        Checkpoint(file, {"data": "abc", "seed": 1})
    for spoilt in (file.read_bytes()[:40], b"", b"no checkpoint"):
        file.write_bytes(spoilt)
        with pytest.raises(InputError, match="is no checkpoint of a training, or damaged"):
            Checkpoint(file, {"data": "abc", "seed": 0})


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"about": {}, "states": {"dynamics": Evil()}}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="damaged"):
        Checkpoint(tmp_path / "c.pt", {})
    assert not (tmp_path / "ran").exists()


def test_ctrl_c_and_the_same_command_again(data_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    words = ["train", data_file, "--out", out, *SETTINGS, "--set", "steps=700", "--set", "patience=1000"]
    process = subprocess.Popen([sys.executable, "-c", "from sgp_ros.cli import main; main()", *map(str, words)])
    began_s = time.monotonic()
    while not (out / "training" / "checkpoint.pt").exists():
        assert process.poll() is None
        assert time.monotonic() - began_s < 60.0
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not (out / "bundle.json").exists()
    assert "with seed = 0 instead of 1" in sgp_error("train", data_file, "--out", out, *words[4:], "--seed", 1)
    told = sgp(*words)
    assert "going on with an interrupted training: dynamics after step" in told
    assert not (out / "training" / "checkpoint.pt").exists()
    sgp("train", data_file, "--out", tmp_path / "whole", *words[4:])
    for name in ("dynamics", "score"):
        one, other = (getattr(load_bundle(folder), name).state_dict() for folder in (out, tmp_path / "whole"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    seen = EventAccumulator(str(out / "training"))
    seen.Reload()
    assert [event.step for event in seen.Scalars("score/held_out_loss")][-1] == 700
    assert "![losses](training.png)" in (out / "training" / "report.md").read_text()
    assert (out / "training" / "training.png").stat().st_size > 10_000


def sgp_error(*words: object) -> str:
    with pytest.raises(InputError) as error:
        sgp(*words)
    return str(error.value)


def test_a_bundle_is_replaced_only_when_asked_for(data_file: Path, tmp_path: Path) -> None:
    words = ["train", data_file, "--out", tmp_path / "bundle", *SETTINGS, "--set", "steps=50"]
    sgp(*words)
    before = (tmp_path / "bundle" / "bundle.json").read_bytes()
    assert "holds a bundle already" in sgp_error(*words)
    assert (tmp_path / "bundle" / "bundle.json").read_bytes() == before
    sgp(*words, "--seed", 5, "--overwrite")
    assert load_bundle(tmp_path / "bundle").index["training"]["seed"] == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "data.npz"]


def test_a_training_that_replaces_a_bundle_can_be_interrupted_too(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    words = ["train", data_file, "--out", out, *SETTINGS, "--set", "steps=50"]
    sgp(*words)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    again = [*words, "--seed", 5, "--overwrite"]

    def interrupted(*_args: object, checkpoint: Checkpoint, **_how: object) -> None:
        checkpoint.keep("dynamics", lambda: {"step": 1, "network": {}})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_module, "train_bundle", interrupted)
        told = sgp(*again, code=130)
    assert "the same command goes on from the last check" in told
    assert all(path.read_bytes() == content for path, content in before.items())  # nothing of the old one is lost
    assert Checkpoint(out / "training" / "checkpoint.pt", read_about(out)).steps == {"dynamics": 1}
    sgp(*words, "--seed", 6, "--overwrite")  # and one that nobody wants any more is given up
    assert load_bundle(out).index["training"]["seed"] == 6
    assert len(list((out / "training").glob("events.out.tfevents.*"))) == 1


def read_about(out: Path) -> dict:
    return dict(torch.load(out / "training" / "checkpoint.pt", weights_only=True)["about"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--device", "tpu"], "--device tpu is not known; choose auto, cpu or cuda"),
        (["--preset", "huge"], "--preset huge is not known"),
        (["--set", "stepps=3"], "stepps"),
    ],
)
def test_wrong_words_are_told_and_leave_nothing(data_file: Path, tmp_path: Path, words: list[str], told: str) -> None:
    assert told in sgp_error("train", data_file, "--out", tmp_path / "bundle", *SETTINGS, *words)
    assert not (tmp_path / "bundle" / "bundle.json").exists()


def test_fifty_tuples_and_twenty_thousand(tmp_path: Path) -> None:
    for rows in (50, 20_000):
        data = glued(rows)
        bundle, checks = train_bundle(data, tmp_path / str(rows), QUICK.replaced(steps=100, copies=0), quietly)
        assert len(bundle.reference_x) == min(2000, rows - bundle.metrics["held_out_transitions"])
        assert checks[0].held_out_loss < 0.01


def test_training_that_diverges_is_told() -> None:
    data = glued()
    data.x_next[:] = np.nan  # as overflowing weights would give
    with pytest.raises(InputError, match="training of the dynamics diverged before step 50: its loss is not finite"):
        train(data, glued(60), QUICK, quietly)


def test_millimetres_are_refused() -> None:
    data = glued(12)
    with pytest.raises(InputError, match=r"x holds a position of [0-9.]+ m, more than 20; divide by 1000 if these are"):
        Transitions(**{**vars(data), "x": data.x * 1e3})


@pytest.mark.parametrize(("log", "curves"), [("bundle/training", 1), ("runs", 2)])
def test_overwriting_leaves_what_others_put_into_the_log_folder(
    data_file: Path, tmp_path: Path, log: str, curves: int
) -> None:
    """The folder inside the bundle's is the bundle's own; of another one nobody knows whose curves are there."""
    (tmp_path / log).mkdir(parents=True)
    (tmp_path / log / "notes.txt").write_text("precious")
    words = ["train", data_file, "--out", tmp_path / "bundle", "--log", tmp_path / log, *SETTINGS, "--set", "steps=50"]
    sgp(*words)
    sgp(*words, "--overwrite")
    assert (tmp_path / log / "notes.txt").read_text() == "precious"
    assert len(list((tmp_path / log).glob("events.out.tfevents.*"))) == curves
    assert (tmp_path / "bundle" / "bundle.json").exists()
    assert not (tmp_path / "bundle" / "partial").exists()
