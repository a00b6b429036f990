"""The arena: what its suites hold, how a run is seen and judged, what is reported of it."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from sgp_core import arena, arena_table, suites
from sgp_core.baselines.registry import Contender
from sgp_core.bundle import load_bundle
from sgp_core.config import MpcConfig, PlannerConfig, SimConfig
from sgp_core.errors import InputError
from sgp_core.evaluation import is_unsafe, run_loop
from sgp_core.layout import MarkerLayout
from sgp_core.planner import Planner
from sgp_core.share import share_path
from sgp_core.sim.camera import Camera, Glance
from sgp_core.sim.rig import Rig, clearance
from sgp_core.types import Goal, Reason, State

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))
LISTED = tuple(suites.COUNTS)


@functools.cache
def listed(suite: str) -> list[suites.Case]:
    return suites.listed_cases(suite, LAYOUT, trials=1, seed=0)


@pytest.mark.parametrize("suite", LISTED)
def test_lists_are_what_their_seeds_draw(suite):
    text = share_path("config", "suites", f"{suite}.csv").read_text()
    assert text == suites.draw(suite, LAYOUT)
    assert text.count("\n") == 1 + suites.COUNTS[suite]


def test_paper_has_no_list():
    with pytest.raises(InputError, match="paper has no list"):
        suites.draw(suites.PAPER, LAYOUT)


@pytest.mark.parametrize("suite", LISTED)
def test_every_case_is_on_the_table_and_the_pusher_waits_behind_the_box(suite):
    cases = listed(suite)
    assert len({(case.box, case.goal) for case in cases}) == len(cases)
    for case in cases:
        assert suites.on_table(LAYOUT, case.box)
        assert suites.on_table(LAYOUT, case.goal)
        assert clearance(LAYOUT, case.box, np.array(case.pusher_m)) == pytest.approx(suites.GAP_M, abs=1e-6)
        assert case.pusher_m[0] < case.box[0]
        assert not is_unsafe(PlannerConfig(), np.array(case.pusher_m), np.zeros(2), np.array(case.pusher_m))


def test_random_covers_its_region_and_tuning_has_other_pairs():
    random, tuning = listed(suites.RANDOM), listed(suites.TUNING)
    for ends in ([case.box for case in random], [case.goal for case in random]):
        places = (np.array(ends) - suites.LOW) / (np.array(suites.HIGH) - suites.LOW)
        assert places.min() >= 0.0
        assert places.max() <= 1.0
        np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=0.09)  # three standard errors
    assert not {case.box for case in random} & {case.box for case in tuning}


def test_far_is_outside_of_random():
    for case in listed(suites.FAR):
        ends = np.array([case.box, case.goal])
        inside = ((ends >= suites.LOW) & (ends <= suites.HIGH)).all(axis=1)
        assert sorted(inside.tolist()) == [False, True], case.name


def test_robust_changes_box_table_and_sensors():
    cases, random = listed(suites.ROBUST), listed(suites.RANDOM)
    assert [(c.box, c.goal) for c in cases] == [(c.box, c.goal) for c in random[: len(cases)]]
    for name, (low, high) in (("friction", suites.FRICTION), ("mass_kg", suites.MASS_KG)):
        values = [getattr(case.sim, name) for case in cases]
        assert low <= min(values) < low + 0.2 * (high - low)
        assert high - 0.2 * (high - low) < max(values) <= high
    assert [np.hypot(*case.sim.mass_offset_m) for case in cases] == pytest.approx([0.015] * len(cases), abs=1e-4)
    assert {(c.sim.marker_noise_m, c.sim.delay_s, c.camera) for c in cases} == {(0.001, 0.06, True)}
    assert 1.0 - (1.0 - cases[0].sim.occlusion) ** LAYOUT.count == pytest.approx(0.1)


def test_trials_of_a_case_differ_in_their_noise_alone():
    first, second, other = suites.listed_cases(suites.RANDOM, LAYOUT, trials=2, seed=3, limit=2)[:3]
    assert first == dataclasses.replace(second, sim=first.sim)
    assert first.sim != second.sim
    assert first.name != other.name


def test_a_camera_without_faults_sees_what_a_glance_sees():
    rigs = [Rig(LAYOUT, SimConfig(marker_noise_m=0.0, delay_s=0.0)) for _ in range(2)]
    eyes = [Glance(rigs[0], LAYOUT), Camera(rigs[1], LAYOUT, SimConfig(delay_s=0.0))]
    for eye in eyes:
        eye.wait(0.5)
        eye.move(np.array([0.41, 0.0]), np.array([0.04, 0.01]), 1.0)
    glance, seen = (eye.state() for eye in eyes)
    assert glance.stamp_s == pytest.approx(seen.stamp_s)
    np.testing.assert_allclose(seen.x, glance.x, atol=1e-6)


def test_a_camera_is_late_and_fills_in_what_is_hidden():
    sim = SimConfig(marker_noise_m=0.0001, delay_s=0.06, occlusion=0.3, seed=2)
    rig = Rig(LAYOUT, sim)
    camera, offs = Camera(rig, LAYOUT, sim), []
    assert camera.state() is None
    camera.wait(0.5)
    for _ in range(20):
        camera.wait(0.1)
        state = camera.state()
        assert rig.time_s - state.stamp_s >= 0.06 - 1e-6
        offs.append(rig.time_s - state.stamp_s)
        np.testing.assert_allclose(LAYOUT.markers(state.x), rig.markers(), atol=2e-3)
    assert min(offs) == pytest.approx(0.06)


def test_a_camera_that_sees_nothing_has_no_state():
    sim = SimConfig(occlusion=1.0)
    camera = Camera(Rig(LAYOUT, sim), LAYOUT, sim)
    camera.wait(0.5)
    assert camera.state() is None


@pytest.mark.parametrize(
    ("reference", "u", "pusher", "unsafe"),
    [
        ((0.5, 0.0), (0.05, -0.05), (0.55, -0.05), False),
        ((0.5, 0.0), (0.06, 0.0), (0.56, 0.0), True),  # longer than the limit
        ((0.5, 0.0), (np.nan, 0.0), (0.5, 0.0), True),
        ((0.93, 0.0), (0.05, 0.0), (0.95, 0.0), True),  # asked to leave the workspace
        ((0.93, 0.0), (0.02, 0.0), (0.96, 0.0), True),  # left it
    ],
)
def test_unsafe_steps(reference, u, pusher, unsafe):
    assert is_unsafe(PlannerConfig(), np.array(reference), np.array(u), np.array(pusher)) is unsafe


def test_how_hard_the_penalty_pulls_is_told_of_plans_that_walk(bundle_path):
    """Each state towards the goal of its own case; here on the pusher's own side."""
    layout, quick = load_bundle(bundle_path).layout, PlannerConfig(iterations=10, restarts=2)
    state = State(stamp_s=0.0, x=layout.pack(layout.markers_at(0.65, 0.0, 0.0), np.array([0.55, 0.0])))
    plan = Planner(load_bundle(bundle_path), quick).plan(
        state, Goal.from_pose(layout, 0.55, 0.0, 0.0), np.zeros((4, 2)), torch.Generator().manual_seed(0)
    )
    assert plan.walk > 0
    (level, at_rest, at_plan), *_ = arena.gradient_ratios(bundle_path, quick, [(state, (0.55, 0.0, 0.0))])
    assert level > 0.0
    assert np.isfinite([at_rest, at_plan]).all()


def test_a_step_that_was_not_carried_out_is_still_to_be_done(bundle_path):
    """Off the data nothing moves, and the warm start of the next plan is the whole of the last one."""
    bundle = load_bundle(bundle_path)

    class Watched(Planner):
        given, made = [], []

        def plan(self, state, goal, warm_start, *args, **how):
            self.given.append(warm_start)
            self.made.append(super().plan(state, goal, warm_start, *args, **how))
            return self.made[-1]

    quick, mpc = PlannerConfig(horizon=3, iterations=10, restarts=2), MpcConfig(trust_distance=1e-6)
    solver = Watched(bundle, quick)
    goal = Goal.from_pose(bundle.layout, 0.60, 0.0, 0.0)
    run = run_loop(bundle, quick, mpc, SimConfig(), goal, solver=solver, max_steps=2)
    assert run.last_reason == Reason.OFF_DATA
    np.testing.assert_allclose(solver.given[1], solver.made[0].u[solver.made[0].walk :])


def test_runs_are_counted_tabulated_and_drawn(bundle_path, tmp_path):
    quick = PlannerConfig(horizon=2, iterations=10, restarts=2)
    betas = {"sgp": 0.003, "vanilla": 0.0}
    one, other = (Contender(name=name, planner=quick.replaced(beta=beta)) for name, beta in betas.items())
    cases = [suites.paper_case("center", (0.52, 0.0, 0.0), number, 0) for number in range(2)]
    cases.append(listed(suites.ROBUST)[0])
    # As if the box were there already: the pusher only has to stay.
    cases[2] = dataclasses.replace(cases[2], goal=cases[2].box)
    pairs = [(trial, trial.run()) for trial in arena.trials_of(bundle_path, [one], MpcConfig(), cases, 0)]
    pairs += [(dataclasses.replace(trial, contender=other), run) for trial, run in pairs]
    rows = arena.rows(pairs, "abc")
    robust = cases[2].name
    assert [(r["planner"], r["goal"], r["trials"]) for r in rows] == [
        *(("sgp", "center", 2), ("sgp", robust, 1), ("vanilla", "center", 2), ("vanilla", robust, 1))
    ]
    assert [r["success_rate"] for r in rows if r["goal"] == robust] == [1.0, 1.0]
    groups = ([0, 1], [2], [3, 4], [5])
    for row, group in zip(rows, groups, strict=True):
        runs = [pairs[k][1] for k in group]
        assert row["mean_error_mm"] == pytest.approx(np.mean([run.error_m for run in runs]) * 1e3)
        assert row["rate_10mm_5deg"] >= row["rate_5mm_3deg"]
        assert row["unsafe_steps"] == 0
    lines = arena_table.table(pairs)
    assert [line[:4] for line in lines[:3]] == [
        ["sgp", "0.003", "center", "2"],
        ["sgp", "0.003", robust, "1"],
        ["sgp", "0.003", "all", "3"],
    ]
    text = arena_table.markdown(lines)
    assert text.count("\n") == 2 + len(lines)
    assert {line.count("|") for line in text.splitlines()} == {len(arena_table.COLUMNS) + 1}
    files = arena_table.save_worst(pairs[1:3], tmp_path / "worst")
    assert len(files) == 2
    assert all(file.stat().st_size > 10_000 for file in files)
