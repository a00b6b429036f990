"""`sgp check`: good models pass, broken ones fail by name; Prop. 2 on functions whose slope is known."""

import base64
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from analytic import SIGMAS, linear_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sgp_core import check_data
from sgp_core.bundle import load_bundle
from sgp_core.check_config import CheckConfig, Verdict
from sgp_core.check_data import jury_of
from sgp_core.check_measures import landings, marker_distances
from sgp_core.config import SimConfig
from sgp_core.data import Transitions
from sgp_core.error_bound import bound_between, lipschitz_estimate
from sgp_core.errors import InputError
from sgp_core.export import train_bundle
from sgp_core.goals import NamedGoal
from sgp_core.layout import MarkerLayout
from sgp_core.model_check import check_model
from sgp_core.sim.collect import CollectConfig, collect
from sgp_core.train_config import TrainConfig
from sgp_core.trust import trust
from sgp_ros.cli import main

START, CENTER = NamedGoal(pose=(0.5, 0.0, 0.0)), {"center": NamedGoal(pose=(0.71, 0.0, 0.0))}
# Few demonstrations, but close to where the goals are.
CAREFUL = CollectConfig(
    play=0.0,
    longest=8,
    table_low=(0.48, -0.16, -0.6),
    table_high=(0.80, 0.16, 0.6),
    goal_low=(0.60, -0.15, -0.5),
    goal_high=(0.80, 0.15, 0.5),
)
FEW_PLANS = CheckConfig(plans=2)
SCORE = {"score lands on data", "score makes markers rigid"}
DYNAMICS = {"one step", "four steps"}


class Still(nn.Module):
    """Dynamics that think that the box never moves."""

    def forward(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.cat([x[:, :-2], x[:, -2:] + u], dim=-1)


class Untrained(nn.Module):
    """A score that points nowhere."""

    def forward(self, x: Tensor, u: Tensor, level: Tensor) -> Tensor:  # noqa: ARG002
        return 0.0 * torch.cat([x, u], dim=-1)


@pytest.fixture(scope="module")
def bundle(bundle_path):
    return load_bundle(bundle_path)


@pytest.fixture(scope="module")
def data(bundle):
    """Demonstrations that the default bundle has never seen."""
    return collect(bundle.layout, CAREFUL.replaced(demonstrations=14, seed=12), SimConfig())


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    """The same in a file, and a bundle of them that was hardly trained."""
    folder = tmp_path_factory.mktemp("check")
    data.save(folder / "data.npz")
    config = TrainConfig(hidden=16, layers=2, steps=60, check_every=20, held_out=0.5)
    hasty, _ = train_bundle(data, folder / "hasty", config, lambda *_: None)
    trust(hasty.sha256, hasty.path)
    return folder


def command(arguments: list[str]) -> int:
    """Exit code of `sgp check`, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sgp", "check", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def report(files, bundle_path):
    """The folder of a report on the default bundle, which passed, towards a goal with an awkward name."""
    (files / "goals.yaml").write_text(yaml.safe_dump({"<b>": list(CENTER["center"].pose)}))
    arguments = [str(bundle_path), "--data", str(files / "data.npz"), "--out", str(files / "report")]
    assert command([*arguments, "--goals", str(files / "goals.yaml"), "--set", "plans=3"]) == 0
    return files / "report"


def test_the_default_bundle_passes(report):
    told = json.loads((report / "check.json").read_text())
    assert told["verdict"] == "pass"
    assert {check["name"] for check in told["checks"]} == {
        *("data", *DYNAMICS, *SCORE, "plans stay rigid", "start near data", "goal <b> near data"),
        "error bound holds",
    }
    for check in told["checks"]:
        assert check["measured"]
        assert check["threshold"]
        assert check["why"]
        assert not check["remedy"]


def test_the_report_is_one_valid_file_that_needs_no_other(report):
    class Parser(HTMLParser):
        tags: list[str] = []  # noqa: RUF012 - one parser only
        open: list[str] = []  # noqa: RUF012
        sources: list[str] = []  # noqa: RUF012
        text = ""

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)
            if tag not in ("meta", "img", "br"):
                self.open.append(tag)
            self.sources += [value for name, value in attributes if name in ("src", "href")]

        def handle_endtag(self, tag):
            assert self.open.pop() == tag

        def handle_data(self, data):
            self.text += data

    assert {path.name for path in report.iterdir()} == {"report.html", "check.json"}
    html, parser = (report / "report.html").read_text(), Parser()
    parser.feed(html)
    assert parser.open == []
    assert "script" not in parser.tags
    assert "http" not in re.sub(r"base64,[^\"]*", "", html)
    assert len(parser.sources) == 4
    for source in parser.sources:
        assert base64.b64decode(source.removeprefix("data:image/png;base64,"), validate=True).startswith(b"\x89PNG")
    for check in json.loads((report / "check.json").read_text())["checks"]:
        assert check["name"] in parser.text
        assert check["measured"] in parser.text
    assert len(html) < 1_500_000


def test_dynamics_that_know_nothing_fail_and_the_score_does_not(bundle, data):
    checks = check_model(dataclasses.replace(bundle, dynamics=Still()), data, START, CENTER, FEW_PLANS).checks
    assert {check.name for check in checks if check.verdict == Verdict.FAIL} >= DYNAMICS
    assert {check.name for check in checks if check.verdict == Verdict.PASS} >= SCORE


def test_a_score_that_points_nowhere_and_a_goal_far_from_the_data_fail_alone(bundle, data):
    broken, far = dataclasses.replace(bundle, score=Untrained()), {"shelf": NamedGoal(pose=(1.0, 0.35, 0.698))}
    checks = {check.name: check for check in check_model(broken, data, START, far, FEW_PLANS).checks}
    failed = {name for name, check in checks.items() if check.verdict == Verdict.FAIL}
    assert failed == {*SCORE, "goal shelf near data"}
    assert "collect demonstrations near (1.00, 0.35, 40 deg)" in checks["goal shelf near data"].remedy


def test_distance_to_the_data_of_a_shifted_box():
    bundle = linear_bundle()
    markers = bundle.layout.markers(bundle.reference_x[:3]) + np.array([0.003, 0.004])
    distance, nearest = marker_distances(bundle.layout, bundle.reference_x, markers)
    np.testing.assert_allclose(distance, 0.005)
    np.testing.assert_array_equal(nearest, [0, 1, 2])


def test_the_exact_score_lands_on_data_from_every_level():
    bundle = linear_bundle()
    reference = bundle.reference.double().numpy()
    for sigma, landing in zip(SIGMAS, landings(bundle, bundle.reference, reference, 0), strict=True):
        assert landing.sigma == sigma
        assert landing.distance.max() < 0.01  # Prop. 1
        assert landing.rigid_mm.max() < 1.0
        assert np.median(landing.distance_before) > sigma


def test_hasty_training_fails_through_the_real_command_and_replaces_an_earlier_report(files, report):
    shutil.copytree(report, files / "out")
    arguments = ["check", str(files / "hasty"), "--data", str(files / "data.npz"), "--out", str(files / "out")]
    code = "from sgp_ros.cli import main\nif __name__ == '__main__': main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--set", "plans=1"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    told = json.loads((files / "out" / "check.json").read_text())
    assert {check["name"] for check in told["checks"] if check["verdict"] == "fail"} >= SCORE | DYNAMICS
    assert "the data of the bundle; 7 demonstrations" in told["data"]
    assert "score lands on data" in done.stdout
    assert "fail" in done.stdout
    assert "FAIL: " in (files / "out" / "report.html").read_text()


def test_the_bundles_own_data_are_split_as_in_training(files, data):
    jury = jury_of(load_bundle(files / "hasty"), data, seed=5)
    assert jury.own
    _, held_out = data.split(0.5, 0)
    assert jury.held_out.sha256 == held_out.sha256
    assert not set(jury.known.demonstration) & set(jury.held_out.demonstration)


def test_of_very_many_some_demonstrations_judge(files, data, monkeypatch):
    monkeypatch.setattr(check_data, "JUDGED_AT_MOST", 20)
    hasty = load_bundle(files / "hasty")
    jury = jury_of(hasty, data, seed=5)
    _, held_out = data.split(0.5, 0)
    whole = {number: int((held_out.demonstration == number).sum()) for number in np.unique(held_out.demonstration)}
    for part in (jury.held_out, jury.known):
        assert len(part) <= 20
        assert len(np.unique(part.demonstration)) >= 2
    for number in np.unique(jury.held_out.demonstration):
        assert (jury.held_out.demonstration == number).sum() == whole[number]
    assert f"{len(np.unique(jury.held_out.demonstration))} demonstrations that training held out" in jury.remark


def test_demonstrations_trained_on_do_not_judge(files, data):
    hasty = load_bundle(files / "hasty")
    own = jury_of(hasty, data, seed=0)
    trained_on = set(own.known.demonstration)
    part = data.select(data.demonstration < 12)
    jury = jury_of(hasty, part, seed=0)
    assert not jury.own
    assert set(jury.held_out.demonstration) == {d for d in range(12) if d not in trained_on}
    assert set(jury.known.demonstration) | set(jury.unknown.demonstration) == set(jury.held_out.demonstration)
    assert "that it was trained on are left out" in jury.remark
    with pytest.raises(InputError, match="fewer than two are left to judge"):
        jury_of(hasty, own.known, seed=0)
    silent = {name: value for name, value in hasty.index["data"].items() if name != "trained_on"}
    with pytest.raises(InputError, match="does not tell which demonstrations it was trained on"):
        jury_of(dataclasses.replace(hasty, index={**hasty.index, "data": silent}), part, seed=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {"x": d.x * 10.0, "u": d.u * 10.0, "x_next": d.x_next * 10.0}, "are x and x_next in metres"),
        (lambda _: {"step_duration_s": 0.5}, "step_duration_s of the data is 0.5, that of the bundle 1"),
        (lambda d: {"layout": _turned(d.layout)}, "or on other places"),
    ],
)
def test_data_of_another_rig_are_refused(bundle, data, change, words):
    with pytest.raises(InputError, match=words):
        check_model(bundle, dataclasses.replace(data, **change(data)), START, CENTER, FEW_PLANS)


def _turned(layout: MarkerLayout) -> MarkerLayout:
    return dataclasses.replace(layout, places_m=tuple((y, x) for x, y in layout.places_m))


def test_data_of_other_markers_are_refused(bundle):
    linear = linear_bundle()
    rows = len(linear.reference_x)
    other = Transitions(
        x=linear.reference_x,
        u=linear.reference_u,
        u_commanded=linear.reference_u,
        x_next=linear.reference_x,
        demonstration=np.arange(rows),
        layout=linear.layout,
        step_duration_s=1.0,
        provenance={},
    )
    with pytest.raises(InputError, match="the data have 3 markers"):
        jury_of(bundle, other, 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "nowhere.npz"], "data file nowhere.npz does not exist"),
        (["--goals", "moon"], "goal 'moon' is not known"),
        (["--start", "0.5,0"], "goal '0.5,0' is not known"),
        (["--set", "beta=-1"], "beta = -1.0 must lie between 0"),
        (["--set", "share=1"], "unknown setting"),
        (["--out", "{notes}"], "is no report of `sgp check`"),
    ],
)
def test_bad_input_is_words_and_exit_code_2(files, bundle_path, tmp_path, capsys, arguments, words):
    (tmp_path / "report.html").write_text("<h1>my notes</h1>")
    base = [str(bundle_path), "--data", str(files / "data.npz"), "--out", str(tmp_path / "new")]
    assert command([*base, *(a.replace("{notes}", str(tmp_path)) for a in arguments)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "report.html").read_text() == "<h1>my notes</h1>"
    assert not (tmp_path / "new").exists()


def distances(n: int, slope: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """400 points with e = slope * |z_1|, and 100 more: no slope is larger, and some come close."""
    random = np.random.default_rng(seed)
    z, other = random.uniform(-1.0, 1.0, (400, n)), random.uniform(-1.0, 1.0, (100, n))
    return z, slope * np.abs(z[:, 0]), other, slope * np.abs(other[:, 0])


@given(n=st.integers(2, 6), slope=st.floats(1e-3, 1e3), seed=st.integers(0, 10**6))
@settings(max_examples=12, deadline=None)
def test_a_known_slope_is_found_and_the_bound_covers_what_it_claims(n, slope, seed):
    bound = bound_between(*distances(n, slope, seed), np.arange(100) // 5, seed)
    # In six dimensions hardly any pair of 400 points lies along the one coordinate that counts.
    assert (0.93 if n <= 4 else 0.8) * slope < bound.lipschitz.constant < 1.25 * slope
    assert bound.coverage() >= 0.98
    assert bound.coverage(bound.unseen_m) >= 0.9
    assert bound.looseness() >= 1.0
    # With the true constant the bound always holds: the estimate is all that may be short.
    true = bound.bound_m + (slope - bound.lipschitz.constant) * bound.distance
    assert (bound.error_m <= true + 1e-9 * slope).all()


def test_the_fit_sees_beyond_the_largest_slope():
    # Slopes of density ~ (1 - s)^2: their maxima are reverse Weibull with location 1, the largest falls short.
    estimates = [lipschitz_estimate(1.0 - np.random.default_rng(s).random(5000) ** (1 / 3), s) for s in range(6)]
    fitted = [estimate for estimate in estimates if estimate.fitted]
    assert len(fitted) >= 4
    for estimate in fitted:
        assert estimate.largest < estimate.constant
        assert estimate.constant == pytest.approx(1.0, abs=0.1)
        assert estimate.p_value > 0.05


def test_slopes_without_an_end_give_the_largest():
    estimate = lipschitz_estimate(np.random.default_rng(0).pareto(1.0, 5000))
    assert not estimate.fitted
    assert estimate.constant == estimate.largest
    with pytest.raises(InputError, match="3 slopes between data are too few"):
        lipschitz_estimate(np.ones(3))


def test_the_document_lists_every_threshold():
    text = (Path(__file__).parents[1] / "docs/data.md").read_text()
    for field in dataclasses.fields(CheckConfig):
        row = f"| `{field.name}` | {field.default:g} | {field.metadata['unit']} | {field.metadata['doc']} |"
        assert row in text, row
