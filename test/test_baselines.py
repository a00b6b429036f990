"""Baselines on problems whose answers are known: glued dynamics, models that disagree, steady demonstrators."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from analytic import LAYOUT, Glued, closed_form_step, linear_bundle, planner_settings

from sgp_core.baselines.cem import CemConfig, CemPlanner
from sgp_core.baselines.cloning import train_policy
from sgp_core.baselines.ensemble import EnsembleObjective, load_members
from sgp_core.baselines.gradient import GradientPlanner
from sgp_core.baselines.learned_distance import DistanceObjective, train_distance
from sgp_core.baselines.mppi import MppiConfig, MppiPlanner
from sgp_core.baselines.penalty import PenalisedObjective
from sgp_core.baselines.registry import Given, contenders
from sgp_core.baselines.shooting import LearnedObjective
from sgp_core.bundle import load_bundle
from sgp_core.config import PlannerConfig
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.reading import sha256_of
from sgp_core.safety import check_step
from sgp_core.train_config import TrainConfig
from sgp_core.trust import trust
from sgp_core.types import Goal, PlanStatus, State

BUNDLE = linear_bundle()
PLAIN = planner_settings(beta=0.0, running_weight=0.0, horizon=3)
GOAL = Goal.from_pose(LAYOUT, 0.56, 0.03, 0.0)
REST = np.zeros((3, 2))
SMALL = TrainConfig(hidden=48, layers=2, steps=400, check_every=100)


def state_at(x_m: float, y_m: float) -> State:
    return State(stamp_s=0.0, x=LAYOUT.pack(LAYOUT.markers_at(x_m, y_m, 0.0), np.array([x_m - 0.09, y_m])))


def without_penalty(x, u):
    return BUNDLE.dynamics(x, u), torch.zeros(len(x))


def solver(name: str, config: PlannerConfig = PLAIN):
    objective = LearnedObjective(BUNDLE, config)
    if name == "cem":
        return CemPlanner(BUNDLE, config, CemConfig(rounds=12), objective)
    if name == "mppi":
        pytest.importorskip("pytorch_mppi", reason="install the extra `baselines`")
        return MppiPlanner(BUNDLE, config, MppiConfig(rounds=15, spread=0.3), objective)
    return GradientPlanner(BUNDLE, config.replaced(iterations=120), PenalisedObjective(BUNDLE, config, without_penalty))


def plan(made, state, goal=GOAL, warm_start=REST, seed=0):
    return made.plan(state, goal, warm_start, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("name", "slack"), [("cem", 1.1), ("mppi", 2.0), ("gradient", 1.001)])
def test_the_optimum_of_glued_dynamics_is_found(name, slack):
    made, error_m = solver(name), np.array([0.06, 0.03])
    found = plan(made, state_at(0.5, 0.0))
    best = closed_form_step(error_m, 3, 0.1)
    left_m2 = LAYOUT.count * ((error_m - 3 * best) ** 2).sum() + 0.1 * 3 * (best**2).sum()
    lowest = left_m2 / BUNDLE.normalizer.x_scale**2
    assert lowest * 0.999 <= found.objective <= lowest * slack < found.warm_start_objective
    np.testing.assert_allclose(found.u.sum(axis=0), 3 * best, atol=0.002)
    assert found.status is PlanStatus.IMPROVED
    again = plan(made, state_at(0.5, 0.0))
    np.testing.assert_array_equal(again.u, found.u)  # the same generator, the same plan
    assert plan(made, state_at(0.5, 0.0), warm_start=found.u).objective <= found.objective + 1e-9


@pytest.mark.parametrize("name", ["cem", "mppi", "gradient"])
def test_limits_hold_at_the_border(name):
    config = PLAIN.replaced(workspace_m=(0.3, 0.43, -0.2, 0.2))
    found = plan(solver(name, config), state_at(0.5, 0.0), Goal.from_pose(LAYOUT, 0.9, 0.5, 0.0))
    at = np.array([0.41, 0.0])
    for step in found.u:
        assert check_step(step, at, config) is None
        at = at + step
    assert at[0] == pytest.approx(0.43, abs=1e-4)  # as far as it may


def test_the_objective_for_autograd_is_the_planners(bundle_path):
    bundle = load_bundle(bundle_path)
    config = PlannerConfig(beta=0.0)
    x0 = torch.from_numpy(bundle.reference_x[5]).float()
    u = 0.05 * (2.0 * torch.rand(6, 4, 2, generator=torch.Generator().manual_seed(0)) - 1.0)
    target = torch.from_numpy(Goal.from_pose(bundle.layout, 0.7, 0.0, 0.1).markers_m).float().reshape(-1)

    def model(x, u):
        return bundle.dynamics(x, u), torch.zeros(len(x))

    own, other = (
        LearnedObjective(bundle, config)(x0, u, target),
        PenalisedObjective(bundle, config, model)(x0, u, target),
    )
    torch.testing.assert_close(own.j, other.j, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(own.x, other.x, rtol=0.0, atol=1e-4)


def test_time_ends_a_search_and_a_schedule_repeats_it():
    now_s = iter(np.arange(0.0, 100.0, 0.01))
    made = CemPlanner(BUNDLE, PLAIN.replaced(budget_ms=55.0), CemConfig(rounds=50), LearnedObjective(BUNDLE, PLAIN))
    made._clock = lambda: float(next(now_s))
    found = plan(made, state_at(0.5, 0.0))
    assert 1 <= found.iterations < 6
    # Time counts in the place of a number of rounds, not beside it: planners are compared at equal time.
    made._own = CemConfig(rounds=1)
    assert plan(made, state_at(0.5, 0.0)).iterations == found.iterations
    again = made.plan(state_at(0.5, 0.0), GOAL, REST, torch.Generator().manual_seed(0), schedule=found.schedule)
    np.testing.assert_array_equal(again.u, found.u)
    with pytest.raises(InputError, match="10 noise levels cannot be repeated"):
        made.plan(state_at(0.5, 0.0), GOAL, REST, torch.Generator(), schedule=[5] * 10)


class Half(Glued):
    """The box follows half as far."""

    def forward(self, x, u):
        return x + torch.cat([0.5 * u.repeat(1, LAYOUT.count), u], dim=1)


def test_an_ensemble_predicts_its_mean_and_pays_for_its_variance():
    config = PLAIN.replaced(horizon=1, beta=2.0)
    members = [BUNDLE, dataclasses.replace(BUNDLE, dynamics=Half())]
    state, u = state_at(0.5, 0.0), torch.tensor([[[0.04, -0.02]]])
    x0, target = torch.from_numpy(state.x).float(), torch.from_numpy(GOAL.markers_m).float().reshape(-1)
    found = EnsembleObjective(BUNDLE, config, members)(x0, u, target)
    np.testing.assert_allclose((found.x[0, 1] - x0)[:2], [0.03, -0.015], atol=1e-6)
    # Two members half a step apart are a quarter of it from their mean, at every marker.
    variance = LAYOUT.count * (0.04**2 + 0.02**2) / 16.0 / BUNDLE.normalizer.x_scale**2
    assert float(found.penalty[0]) == pytest.approx(variance, rel=1e-4)
    assert float(found.j[0]) == pytest.approx(float(found.task_cost[0]) + 2.0 * variance, rel=1e-4)


def demonstrations() -> Transitions:
    """Straight ways of a box that is glued to its pusher, each in five even steps."""
    random, rows = np.random.default_rng(0), []
    for number in range(60):
        box, u = random.uniform((0.45, -0.1), (0.7, 0.1)), random.uniform(-0.04, 0.04, 2)
        for k in range(5):
            x = LAYOUT.pack(LAYOUT.markers_at(*(box + k * u), 0.0), box + k * u - [0.09, 0.0])
            rows.append((x, u, x + np.tile(u, LAYOUT.count + 1), number))
    x, u, x_next, numbers = (np.array(column) for column in zip(*rows, strict=True))
    return Transitions(
        x=x, u=u, u_commanded=u, x_next=x_next, demonstration=numbers, layout=LAYOUT, step_duration_s=1.0, provenance={}
    )


def test_cloning_goes_where_demonstrators_went(tmp_path):
    data = demonstrations()
    data.save(tmp_path / "data.npz")
    bundle = dataclasses.replace(BUNDLE, index={"training": SMALL.to_dict(), "data": {"sha256": data.sha256}})
    given = Given(data=tmp_path / "data.npz")
    (contender,) = contenders({"cloning": {}}, [PLAIN, PLAIN.replaced(beta=0.1)], bundle, given, tmp_path)
    made = contender.solver(bundle)
    for way in ([0.1, 0.05], [-0.1, 0.05], [0.05, -0.1]):
        found = plan(made, state_at(0.58, 0.0), Goal.from_pose(LAYOUT, 0.58 + way[0], way[1], 0.0), np.zeros((1, 2)))
        assert found.u.shape == (1, 2)
        assert found.u[0] @ way > 0.9 * np.linalg.norm(found.u) * np.linalg.norm(way)
        assert 0.01 < np.linalg.norm(found.u) < 0.06
    with pytest.raises(InputError, match="the bundle was trained on"):
        train_policy(bundle, data.select(np.arange(10)), tmp_path / "policy.pt")


def test_a_learned_distance_grows_away_from_the_data(tmp_path):
    bundle = dataclasses.replace(BUNDLE, index={"training": SMALL.to_dict()})
    train_distance(bundle, tmp_path / "distance.pt")
    objective = DistanceObjective(bundle, PLAIN.replaced(horizon=1, beta=1.0), tmp_path / "distance.pt")
    x, u = (torch.from_numpy(values).float() for values in (bundle.reference_x, bundle.reference_u))
    target = x[0, :-2]
    there = torch.cat([objective(a, b[None, None], target).penalty for a, b in zip(x, u, strict=True)])
    moved = x + 0.2 * bundle.normalizer.x_scale * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    away = torch.cat([objective(a, b[None, None], target).penalty for a, b in zip(moved, u, strict=True)])
    assert float(there.median()) < 0.2 * float(away.median())


def test_contenders_are_made_from_names(tmp_path):
    settings = [PLAIN.replaced(beta=beta) for beta in (0.0, 0.1)]
    found = contenders({"vanilla": {}, "cem": {"samples": "32"}}, settings, BUNDLE, Given(), tmp_path)
    assert [(contender.name, contender.planner.beta) for contender in found] == [
        *(("vanilla", 0.0), ("cem", 0.0), ("cem", 0.1))
    ]
    assert found[2].own == CemConfig(samples=32)
    assert plan(found[2].solver(BUNDLE), state_at(0.5, 0.0)).status is PlanStatus.IMPROVED


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"luck": {}}, "--planner luck is not known"),
        ({"vanilla": {"samples": "3"}}, "vanilla has no settings of its own"),
        ({"cem": {"sample": "3"}}, "unknown setting"),
        ({"cem": {"samples": "4"}}, "elites = 8 must not exceed samples = 4"),
        ({"cloning": {}}, "give the file of `sgp train` as --data"),
        ({"ensemble": {}}, "as --ensemble"),
    ],
)
def test_what_a_contender_lacks_is_told(names, words, tmp_path):
    with pytest.raises(InputError, match=words):
        contenders(names, [PLAIN], BUNDLE, Given(), tmp_path)


def test_an_ensemble_has_to_be_of_the_same_data_and_other_seeds(tmp_path, bundle_path):
    bundle = load_bundle(bundle_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for file in bundle_path.iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match="have the same seed"):
        load_members(bundle, tmp_path)
    index = json.loads((tmp_path / "b/bundle.json").read_text())

    def rewritten() -> None:
        file = tmp_path / "b/bundle.json"
        file.write_text(json.dumps(index))
        trust(sha256_of(file.read_bytes()), file.parent)

    index["training"]["seed"] += 1
    rewritten()
    assert len(load_members(bundle, tmp_path)) == 2
    index["data"]["sha256"] = "0"
    rewritten()
    with pytest.raises(InputError, match="trained on other data"):
        load_members(bundle, tmp_path)
    with pytest.raises(InputError, match="holds 0 bundles"):
        load_members(bundle, tmp_path / "a")


def test_a_workspace_that_is_no_rectangle_is_refused():
    with pytest.raises(InputError, match="baselines know rectangles only"):
        solver("cem", PLAIN.replaced(keep_out_m=(0.3, 0.4, 0.2, 0.3)))
