"""`sgp` from the outside: a small model from nothing, and errors in words."""

import json
import os
import subprocess
import sys

import pytest

from sgp_ros.cli import COMMANDS, command, main


def sgp(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sgp_ros.cli import main\nif __name__ == '__main__': main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Six demonstrations and a tiny model of them."""
    folder = tmp_path_factory.mktemp("sgp")
    collected = sgp("collect", "-o", str(folder / "data.npz"), "--demonstrations", "6", "--seed", "2")
    assert collected.returncode == 0, collected.stderr
    sets = [f"--set={s}" for s in ("hidden=16", "layers=2", "steps=60", "check_every=20")]
    trained = sgp("train", str(folder / "data.npz"), "-o", str(folder / "model"), *sets)
    assert trained.returncode == 0, trained.stderr
    assert "one step, mm per marker" in trained.stdout
    return folder


def test_collect_train_evaluate_info(made):
    told = sgp("info", str(made / "model"), "--plans", "2")
    assert told.returncode == 0, told.stderr
    assert "6 demonstrations" in told.stdout
    assert "2x16" in told.stdout
    assert "plan time: p50" in told.stdout
    arguments = ["--bundle", str(made / "model"), "--goals", "center", "--trials", "2", "--set", "horizon=2"]
    arguments += ["--set", "iterations=10", "--set", "contacts_per_side=0", "--beta", "0,0.01", "--steps", "4"]
    rows = []
    for name, jobs in (("a.json", "1"), ("b.json", "2")):
        files = ["--json", str(made / name), "--markdown", str(made / "table.md")]
        done = sgp("evaluate", *arguments, "--jobs", jobs, *files, "--seed", "4")
        assert done.returncode == 0, done.stderr
        rows.append(json.loads((made / name).read_text()))
    assert [row["beta"] for row in rows[0]] == [0.0, 0.01]
    assert set(rows[0][0]) == {
        *("suite", "planner", "goal", "beta", "seed", "trials", "mean_cost_cm2", "std_cost_cm2", "success_rate"),
        *("mean_steps", "plan_ms_p50", "bundle_sha256", "mean_error_mm", "std_error_mm", "mean_yaw_deg", "std_yaw_deg"),
        *("rate_10mm_5deg", "rate_5mm_3deg", "unsafe_steps", "last_reasons", "last_words"),
    }
    assert [line.split(" | ")[:2] for line in (made / "table.md").read_text().splitlines()[2:]] == [
        ["| sgp", "0"],
        ["| sgp", "0.01"],
    ]
    for first, second in zip(*rows, strict=True):  # the same, however many processes
        assert {**first, "plan_ms_p50": 0} == {**second, "plan_ms_p50": 0}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere.npz", "-o", "m"], "data file nowhere.npz does not exist"),
        (["info", "nowhere"], "nowhere holds no bundle.json"),
        (["collect", "--layout", "nowhere.yaml"], "layout file nowhere.yaml cannot be read"),
        (["evaluate", "--goals", "moon"], "goal 'moon' is not known; choose one of center, left, right"),
        (["evaluate", "--set", "betta=1"], "unknown setting"),
        (["evaluate", "--start", "0.5,0"], "goal '0.5,0' is not known"),
        (["evaluate", "--pusher", "0.5"], "pusher '0.5' is not x,y in m, such as 0.41,0.0"),
        (["evaluate", "--set", "beta"], "must look like name=value"),
        (["evaluate", "--beta", "-1"], "beta = -1.0 must lie between 0"),
        (["evaluate", "--suite", "near"], "--suite near is not known; choose one of paper, random"),
        (["evaluate", "--suite", "far", "--goals", "left"], "suite far has goals of its own"),
        (["evaluate", "--limit", "3"], "suite paper has no list"),
        (["evaluate", "--planner", "luck"], "--planner luck is not known; choose from sgp, vanilla"),
        (["evaluate", "--set", "sgp.beta=1"], "sgp has no settings of its own"),
        (["evaluate", "--set", "cem.elites=1"], "cem is not one of --planner sgp"),
        (["evaluate", "--set", "budget_ms=50"], "evaluate takes it as --budget-ms"),
        (["train", "x.npz", "-o", "m", "--preset", "huge"], "choose one of small, paper"),
    ],
)
@pytest.mark.usefixtures("bundle_path")  # evaluate looks for the bundle first
def test_errors_are_one_line_of_words(arguments, words, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sgp", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert words in " ".join(told.split())
    assert told.startswith("error:")


def test_an_error_of_the_process_is_the_same():
    done = sgp("info", "nowhere")
    assert done.returncode == 2
    assert "nowhere holds no bundle.json" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_help_lists_the_commands_in_their_own_words_and_waits_for_none(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sgp", "--help"])
    with pytest.raises(SystemExit):
        main()
    told = capsys.readouterr().out
    for name, (_, words) in COMMANDS.items():
        assert name in told
        assert " ".join(command(name).help.split("\n\n")[0].split()) == words
    code = "import sys, sgp_ros.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert not {"torch", "rclpy", "scipy", "matplotlib", "mujoco"} & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("words", "offered"),
    [("sgp rec", "record"), ("sgp record --na", "--namespace"), ("sgp moon ", "\n".join(COMMANDS))],
)
def test_a_shell_is_offered_what_completes_a_line(words, offered):
    environment = os.environ | {
        "_SGP_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    code = "import sys; sys.argv = ['sgp']; from sgp_ros.cli import main; main()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, offered, "")
