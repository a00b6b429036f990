"""A study of settings: what is proposed, what is given up, what is remembered, and when something is better."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.trial import TrialState

from sgp_core.bundle import load_bundle
from sgp_core.config import ALL_SIGMAS, MpcConfig, PlannerConfig
from sgp_core.errors import InputError
from sgp_core.goals import find_goal
from sgp_core.mpc import initial_carry
from sgp_core.prediction import Outlook
from sgp_core.tuning import Comparison, Task, best_trial, compare, finished, open_study, run_trials
from sgp_core.tuning_jobs import Job, Outcome, Workers
from sgp_core.tuning_loops import LoopJudge, price
from sgp_core.tuning_space import COUNT, FIRST, Space, thinned
from sgp_core.types import State
from sgp_core.yardstick import LONG, BagJudge, Case

LADDER = (0.2, 0.1, 0.05, 0.02, 0.01)


@dataclass(frozen=True, kw_only=True)
class Parabola:
    """Best at a horizon of 6; the case shifts it a little."""

    horizon: int
    case: int

    def run(self) -> Outcome:
        off = (self.horizon - 6) ** 2 + 0.01 * self.case
        return Outcome(price=off, figures={"steps": float(self.case)})


@dataclass(frozen=True)
class Killed:
    """As by the system, for want of memory."""

    def run(self) -> Outcome:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass
class ByHorizon:
    """A judge whose answer is known."""

    about: dict[str, Any] = field(default_factory=lambda: {"judge": "parabola"})

    def rounds(self, planner: PlannerConfig) -> list[list[Job]]:
        return [[Parabola(horizon=planner.horizon, case=3 * k + n) for n in range(3)] for k in range(3)]

    def check(self, planner: PlannerConfig) -> list[Job]:
        return [Parabola(horizon=planner.horizon, case=100 + n) for n in range(6)]


@pytest.fixture(scope="module")
def models(bundle_path: Path):
    return load_bundle(bundle_path)


def task_of(models, seed: int = 0, **base: Any) -> Task:
    space = Space(ladder=models.sigmas, base=PlannerConfig(**base))
    goal = find_goal("center").goal(models.layout)
    return Task(bundle=models, space=space, judge=ByHorizon(), goal=goal, plan_ms=0.0, seed=seed)


def tried(task: Task, trials: int, storage: str | None = None) -> list[tuple]:
    study = open_study(task, storage, "test")
    with Workers(1) as workers:
        run_trials(study, task, trials, workers)
    return [(t.number, t.state, t.value, t.params) for t in study.trials]


def test_a_ladder_of_any_bundle_ends_at_its_last_level():
    assert thinned(LADDER, 0, 5) == thinned(LADDER, 0, 9) == LADDER
    assert thinned(LADDER, 0, 3) == (0.2, 0.05, 0.01)
    assert thinned(LADDER, 3, 2) == (0.02, 0.01)
    assert thinned(LADDER, 0, 1) == (0.01,)
    assert thinned((0.1,), 0, 1) == (0.1,)


def test_the_space_begins_with_what_was_given():
    for base in (PlannerConfig(), PlannerConfig(horizon=3, beta=0.5, sigmas=(0.05, 0.02, 0.01))):
        space = Space(ladder=LADDER, base=base)
        assert space.settings(space.first_guess()) == base
        assert space.names == ["beta", "sigmas", "horizon", "iterations", "learning_rate", "restarts"]
    assert Space(ladder=LADDER, base=PlannerConfig(beta=0.0)).first_guess()["beta"] == 1e-4
    fixed = Space(ladder=LADDER, base=PlannerConfig(restarts=7), fixed={"restarts", "sigmas"})
    assert not {"restarts", FIRST, COUNT} & {one.name for one in fixed.ranges}
    assert fixed.settings({"horizon": 2}) == PlannerConfig(restarts=7, horizon=2)
    assert Space(ladder=LADDER, base=PlannerConfig()).settings({FIRST: 2, COUNT: 2}).sigmas == (0.05, 0.01)
    assert Space(ladder=LADDER, base=PlannerConfig()).settings({FIRST: 0, COUNT: 5}).sigmas == ALL_SIGMAS
    with pytest.raises(InputError, match=r"nothing is left to tune: beta, horizon, .* are all given"):
        Space(ladder=LADDER, base=PlannerConfig(), fixed=space.names)


def test_no_proposal_has_more_noise_levels_than_iterations():
    long = tuple(np.geomspace(1.0, 0.01, 40).tolist())
    for fixed in ((), ("sigmas",)):
        space = Space(ladder=long, base=PlannerConfig(), fixed=fixed)
        least = {one.name: one.low for one in space.ranges}
        most = {one.name: one.high for one in space.ranges}
        settings = space.settings({**most, "iterations": int(least["iterations"]), FIRST: 0} if not fixed else {})
        levels = len(long) if fixed else len(settings.sigmas)
        assert levels <= least["iterations"]


def test_the_same_seed_gives_the_same_study_in_one_go_or_several(models, tmp_path: Path):
    whole = tried(task_of(models), 12)
    assert tried(task_of(models), 12) == whole
    other = tried(task_of(models, seed=1), 12)
    assert other[1:] != whole[1:]
    assert min(value for _, state, value, _ in other if state is TrialState.COMPLETE) == pytest.approx(0.04)
    storage = f"sqlite:///{tmp_path}/tune.db"
    assert tried(task_of(models), 3, storage) == whole[:3]
    assert tried(task_of(models), 7, storage) == whole[:7]
    assert whole[0][3]["horizon"] == PlannerConfig().horizon  # the settings as given come first
    with pytest.raises(InputError, match="study test in --storage has seed = 0 instead of 1; give the same to go on"):
        open_study(task_of(models, seed=1), storage, "test")
    with pytest.raises(InputError, match=r"--storage cannot be used \(.*such as sqlite"):
        open_study(task_of(models), "nonsense://user:secret@host", "test")


def test_a_hopeless_trial_is_given_up_and_a_level_one_is_not(models):
    task = task_of(models, horizon=6)
    study = open_study(task, None, "test")
    for horizon in (2, 6):
        study.enqueue_trial({**task.space.first_guess(), "horizon": horizon})
    with Workers(1) as workers:
        run_trials(study, task, 3, workers)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert [len(t.intermediate_values) for t in study.trials] == [9, 6, 9]  # two rounds were enough
    assert study.trials[1].user_attrs["why"] == "it was worse than the best one in 6 cases"
    assert finished(study) == 3
    assert best_trial(study).params["horizon"] == 6


def test_processes_give_what_one_gives_and_a_killed_one_is_told():
    jobs = [Parabola(horizon=horizon, case=horizon) for horizon in range(8)]
    with Workers(2) as workers:
        assert workers.run(jobs) == [job.run() for job in jobs]
        with pytest.raises(InputError, match="killed from outside, maybe for memory; give a smaller --jobs"):
            workers.run([Killed()])


def test_settings_are_better_only_beyond_noise(models):
    task = task_of(models, horizon=4)
    with Workers(1) as workers:
        comparison = compare(task, PlannerConfig(horizon=6), workers)
        assert comparison.is_better
        assert comparison.p == pytest.approx(1 / 64)  # six of six
        assert not compare(task, PlannerConfig(horizon=4), workers).is_better
        assert not compare(task, PlannerConfig(horizon=2), workers).is_better
    mixed = [Outcome(price=p, figures={}) for p in (1.0, 2.0, 1.0, 2.0, 0.9)]
    assert not Comparison(base=mixed, found=mixed[::-1]).is_better


def test_the_price_of_a_run_bears_noise_and_disasters():
    assert price(0.0, 0) == 0.0
    assert price(1.0, 6) - price(0.5, 6) < price(1.0, 9) - price(1.0, 6)  # three steps are more than half a cm^2
    assert price(2000.0, 25) < 10 * price(5.0, 10)
    assert price(2000.0, 25) > price(50.0, 25) > price(5.0, 25) > price(5.0, 10)


def test_every_trial_has_the_same_starts_and_the_comparison_others(models, bundle_path: Path):
    goals = {name: find_goal(name).pose for name in ("left", "center")}
    judge = LoopJudge(path=bundle_path, bundle=models, mpc=MpcConfig(), goals=goals, loops=2, checks=3, seed=5)

    def cases(jobs: list) -> list[tuple]:
        return [(job.trial.case.name, job.trial.case.box, job.trial.case.sim.seed) for job in jobs]

    one, other = (judge.rounds(PlannerConfig(beta=beta)) for beta in (0.0, 1.0))
    assert [cases(jobs) for jobs in one] == [cases(jobs) for jobs in other]
    assert [name for name, _, _ in cases(one[1])] == ["left", "center"]
    tuned_by = {box for jobs in one for _, box, _ in cases(jobs)}
    compared_by = {box for _, box, _ in cases(judge.check(PlannerConfig()))}
    assert (len(tuned_by), len(compared_by)) == (2, 3)
    assert not tuned_by & compared_by


def test_the_yardstick_knows_a_good_step_from_a_poor_one(models, bundle_path: Path):
    base = PlannerConfig(horizon=2)
    cases = [
        Case(
            state=State(stamp_s=0.0, x=models.reference_x[row]),
            goal=find_goal("center").goal(models.layout),
            carry=initial_carry(row),
            executed=True,
            outlook=Outlook(start_s=0.0, motion_m=np.zeros(2)),
        )
        for row in (0, 200)
    ]
    judge = BagJudge(bundle_path, models, base, MpcConfig(), cases, {"bag": "none"})
    assert judge.about == {"judge": "recorded decisions", "decisions": 2, "bag": "none"}

    def cost(planner: PlannerConfig) -> float:
        [[job]] = judge.rounds(planner)
        return job.run().price

    # The step of the best plan costs nothing, and to rest costs something.
    assert abs(cost(base.replaced(**LONG))) < 1e-3
    assert cost(base.replaced(iterations=10, restarts=1, learning_rate=1e-5)) > 0.05
    assert [job.case.carry.generator_state for job in judge.check(base)] == [cases[1].carry.generator_state]
