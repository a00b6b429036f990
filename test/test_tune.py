"""`sgp tune` from the outside: real closed loops, a real bag, a data base that two processes share."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
import yaml
from typer.testing import CliRunner

from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_ros.cli import app
from sgp_ros.replay import node_settings

# A loop of small plans; only two settings are left to be tuned.
QUICK = [f"--set={s}" for s in ("horizon=2", "iterations=10", "restarts=1", "sigmas=0.01")]
LOOPS = ["--goals", "center", "--loops", "1", "--check", "1", "--jobs", "1", "--plan-ms", "0", *QUICK]
SAMPLE = Path(__file__).parent / "sample_bag"
pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("bundle_path")]


def sgp(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def results(out: Path) -> tuple[dict, PlannerConfig]:
    """trials.json, and the settings that mpc_node would have."""
    assert (out / "tune.png").stat().st_size > 20_000
    planner, _, _ = node_settings({"params_file": str(out / "params.yaml")}, {})
    return json.loads((out / "trials.json").read_text()), planner


def has_trials(data_base: Path) -> bool:
    """Whether somebody has finished one; looks, and makes no tables."""
    with contextlib.suppress(sqlite3.OperationalError):
        connection = sqlite3.connect(f"file:{data_base}?mode=ro", uri=True)
        with contextlib.closing(connection):
            return connection.execute("select count(*) from trials where state = 'COMPLETE'").fetchone()[0] > 0
    return False


def test_two_processes_share_a_study_and_one_is_interrupted(tmp_path: Path):
    storage = f"sqlite:///{tmp_path}/tune.db"
    shared = ["tune", "--storage", storage, *LOOPS]
    command = [*shared, "--trials", "1000", "-o", str(tmp_path / "a")]
    process = subprocess.Popen([sys.executable, "-c", "from sgp_ros.cli import main; main()", *command])
    try:
        began_s = time.monotonic()
        while not has_trials(tmp_path / "tune.db"):
            assert process.poll() is None
            assert time.monotonic() - began_s < 120.0
            time.sleep(0.1)
        told = sgp(*shared, "--trials", 4, "-o", tmp_path / "b")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
    trials = optuna.load_study(study_name="sgp", storage=storage).trials
    done = [t for t in trials if t.state.is_finished() and t.state.name != "FAIL"]
    assert len(done) >= 4
    proposed = [(t.params["beta"], t.params["learning_rate"]) for t in trials if len(t.params) == 2]
    assert len(set(proposed)) == len(proposed)  # nobody tried what another one did

    found, planner = results(tmp_path / "b")
    assert planner == PlannerConfig().replaced(horizon=2, iterations=10, restarts=1, sigmas=[0.01], **found["settings"])
    assert found["verdict"] in told
    assert found["comparison"] is None or len(found["comparison"]["prices"]["found"]) == 1
    best = min((t for t in found["trials"] if t["price"] is not None), key=lambda t: t["price"])
    assert found["best"] == best["number"]
    assert best["settings"] == found["settings"]
    assert {"cost_cm2", "success", "steps"} <= best.keys()
    interrupted, _ = results(tmp_path / "a")
    assert interrupted["verdict"].startswith("interrupted after ")
    assert "interrupted after" in (tmp_path / "a" / "params.yaml").read_text().splitlines()[1]


def test_a_recorded_run_is_a_judge_too(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text("/**/mpc_node:\n  ros__parameters: {horizon: 2, rate_hz: 5.0, beta: 0.01}\n")
    words = ["tune", "--bag", SAMPLE, "--decisions", 2, "--jobs", 1, "--plan-ms", 0, *QUICK[1:]]
    told = sgp(*words, "--trials", 3, "--params-file", own, "-o", tmp_path / "a")
    found, planner = results(tmp_path / "a")
    assert found["about"]["decisions"] == 2
    assert found["about"]["base"]["beta"] == planner.beta == 0.01  # the yardstick's, and not tuned
    assert set(found["settings"]) == {"horizon", "learning_rate"}
    assert [len(trial["prices"]) for trial in found["trials"]] == [1, 1, 1]
    assert all("off_mm" in trial for trial in found["trials"])
    assert found["verdict"] in told
    values = yaml.safe_load((tmp_path / "a" / "params.yaml").read_text())["/**/mpc_node"]["ros__parameters"]
    assert (values["rate_hz"], values["iterations"]) == (5.0, 10)  # of the file, and of --set
    sgp(*words, "--trials", 2, "--params-file", own, "-o", tmp_path / "b")
    again, _ = results(tmp_path / "b")
    assert again["trials"] == found["trials"][:2]


def test_plans_that_take_too_long_are_not_tried(tmp_path: Path):
    with pytest.raises(InputError, match=r"none of 1 trials was completed; .* a plan takes .* more than 0.001 ms"):
        sgp("tune", "-o", tmp_path, "--trials", 1, "--jobs", 1, "--plan-ms", 0.001, *QUICK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--bundle", "nowhere"], "bundle:=nowhere does not exist"),
        (["--goals", "moon"], "goal 'moon' is not known; choose one of"),
        (["--set", "betta=1"], "--set betta: no such setting"),
        (["--set", "step_limit_m=0.08"], "step_limit_m"),
        (["--params-file", "nowhere.yaml"], "params_file:=nowhere.yaml does not exist"),
        (["--storage", "sqlite:////no/such/folder/tune.db"], "--storage cannot be used"),
        (["--bag", "nowhere"], "nowhere"),
        (["--bag", str(SAMPLE), "--namespace", "other"], "has no /other/vrpn_mocap"),
    ],
)
def test_bad_input_is_told_before_any_work(words: list[str], told: str, tmp_path: Path):
    with pytest.raises(InputError, match=told):
        sgp("tune", "-o", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_an_earlier_result_is_kept(tmp_path: Path):
    (tmp_path / "params.yaml").write_text("mine")
    with pytest.raises(InputError, match=r"holds params.yaml already; give another --out, or --overwrite"):
        sgp("tune", "-o", tmp_path)
    assert (tmp_path / "params.yaml").read_text() == "mine"
