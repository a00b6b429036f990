"""A study of planner settings: Optuna proposes, a judge says what each is worth.

Each proposal depends on the seed, the number of its trial and the trials before it, and on nothing else: so the same
seed gives the same study, in one go or several, and processes that share a study draw different numbers. Only a trial
that was interrupted has used up its number.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.pruners import WilcoxonPruner
from optuna.samplers import TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState
from scipy.stats import wilcoxon
from sqlalchemy.exc import SQLAlchemyError

from sgp_core.bundle import ModelBundle
from sgp_core.config import PlannerConfig
from sgp_core.errors import InputError
from sgp_core.tuning_jobs import Judge, Outcome, Workers, plan_ms
from sgp_core.tuning_space import Space
from sgp_core.types import Goal

ABOUT = "about"
GIVE_UP_BELOW = 0.1  # probability that a trial which is not worse than the best one looks as bad as this
TOGETHER_S = (0.2, 0.5, 1.0)  # tries to open a data base that another process has just begun to make
NOISE_BELOW = 0.05  # probability that settings which are no better look as much better as these
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is tuned.

    Attributes:
        bundle: to plan with.
        space: what may be proposed.
        judge: says what it is worth.
        goal: for the time of a plan [m; table].
        plan_ms: the time a plan may take [ms]; 0: any.
        seed: of the proposals.
    """

    bundle: ModelBundle
    space: Space
    judge: Judge
    goal: Goal
    plan_ms: float
    seed: int

    @property
    def about(self) -> dict[str, Any]:
        """What must be the same for all trials of a study."""
        return {
            "bundle": self.bundle.sha256,
            "base": self.space.base.to_dict(),
            "fixed": sorted(self.space.fixed),
            "plan_ms": self.plan_ms,
            "seed": self.seed,
            **self.judge.about,
        }


def open_study(task: Task, storage: str | None, name: str) -> Study:
    """A study that is new, or goes on.

    Args:
        task: what it is about.
        storage: URL of a data base that processes share, or None for the memory of this process.
        name: of the study in there.

    Raises:
        InputError: the data base cannot be used, or its study is about something else.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # Made for a mean over cases: it compares case by case with the best trial so far.
        pruner = WilcoxonPruner(p_threshold=GIVE_UP_BELOW)
    try:
        study = _study(storage, name, pruner)
    except (SQLAlchemyError, StorageInternalError, ImportError, ValueError) as error:
        # Neither the URL nor all of the error: both may hold a password.
        raise InputError(
            f"--storage cannot be used ({type(error).__name__}); give a data base that exists and whose driver is"
            " installed, such as sqlite:///tune.db or postgresql+psycopg://user@host/base"
        ) from error
    # As it comes back from a data base: tuples are lists there.
    about = json.loads(json.dumps(task.about))
    known: dict[str, Any] | None = study.user_attrs.get(ABOUT)
    if known is None and study.trials:
        raise InputError(f"study {name} in --storage was not made by `sgp tune`; give another --study")
    for key, value in about.items():
        if known is not None and (there := known.get(key)) != value:
            raise InputError(
                f"study {name} in --storage has {key} = {there} instead of {value}; give the same to go on with it, or"
                " another --study"
            )
    if known is None:
        study.set_user_attr(ABOUT, about)
        study.enqueue_trial(task.space.first_guess(), skip_if_exists=True)
    return study


def _study(storage: str | None, name: str, pruner: WilcoxonPruner) -> Study:
    """As `optuna.create_study`; where processes begin together each makes the tables, and one fails at first."""
    for wait_s in TOGETHER_S:
        try:
            return optuna.create_study(storage=storage, study_name=name, pruner=pruner, load_if_exists=True)
        except (SQLAlchemyError, StorageInternalError):
            time.sleep(wait_s)
    return optuna.create_study(storage=storage, study_name=name, pruner=pruner, load_if_exists=True)


def run_trials(
    study: Study, task: Task, trials: int, workers: Workers, tell: Callable[[int], None] = lambda _: None
) -> None:
    """Try settings until the study has so many finished trials; others may work on it at the same time.

    Args:
        study: of `open_study`.
        task: the same.
        trials: finished ones in all, the pruned included.
        workers: for the jobs.
        tell: called after each with the number of finished ones.
    """
    while (done := finished(study)) < trials:
        trial = study.ask()
        # A sampler of its own for each trial, whoever made the ones before.
        seed = int(np.random.SeedSequence((task.seed, trial.number)).generate_state(1)[0])
        study.sampler = TPESampler(seed=seed, constant_liar=True)
        try:
            value = _tried(trial, task, workers)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        study.tell(trial, value, state=TrialState.PRUNED if value is None else None)
        tell(done + 1)


def finished(study: Study) -> int:
    """How many trials were brought to an end."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def best_trial(study: Study) -> FrozenTrial:
    """The one with the lowest price. Raises InputError, with the reason, when none was completed."""
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if not done:
        reasons = [t.user_attrs["why"] for t in study.trials if "why" in t.user_attrs]
        last = f"; the last one because {reasons[-1]}" if reasons else ""
        raise InputError(f"none of {finished(study)} trials was completed{last}")
    return min(done, key=lambda trial: trial.value if trial.value is not None else np.inf)


def _tried(trial: Trial, task: Task, workers: Workers) -> float | None:
    """The mean price, or None for a trial that was given up."""
    planner = task.space.settings(_proposed(trial, task.space))
    trial.set_user_attr("sigmas", list(planner.sigmas))
    if task.plan_ms:
        took_ms = plan_ms(task.bundle, planner, task.goal, task.plan_ms)
        trial.set_user_attr("plan_ms", took_ms)
        if took_ms > task.plan_ms:
            trial.set_user_attr("why", f"a plan takes {took_ms:.0f} ms, more than {task.plan_ms:g} ms")
            return None
    outcomes: list[Outcome] = []
    rounds = task.judge.rounds(planner)
    for jobs in rounds:
        for outcome in workers.run(jobs):
            trial.report(outcome.price, len(outcomes))
            outcomes.append(outcome)
        for name, value in means(outcomes).items():
            trial.set_user_attr(name, value)
        if jobs is not rounds[-1] and trial.should_prune():
            trial.set_user_attr("why", f"it was worse than the best one in {len(outcomes)} cases")
            return None
    return mean_price(outcomes)


def _proposed(trial: Trial, space: Space) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in space.ranges:
        if one.whole:
            found[one.name] = trial.suggest_int(one.name, int(one.low), int(one.high), log=one.by_ratio)
        else:
            found[one.name] = trial.suggest_float(one.name, one.low, one.high, log=one.by_ratio)
    return found


def mean_price(outcomes: list[Outcome]) -> float:
    """What settings are judged by."""
    return float(np.mean([one.price for one in outcomes]))


def means(outcomes: list[Outcome]) -> dict[str, float]:
    """Of the figures for people, by name."""
    return {name: float(np.mean([one.figures[name] for one in outcomes])) for name in outcomes[0].figures}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The base and what was found, on cases that were not used to find it."""

    base: list[Outcome]
    found: list[Outcome]

    @property
    def p(self) -> float:
        """How likely the same cases would be so much cheaper by chance (Wilcoxon's signed-rank test, one-sided)."""
        less = np.array([one.price - other.price for one, other in zip(self.base, self.found, strict=True)])
        return float(wilcoxon(less, alternative="greater", zero_method="zsplit").pvalue)

    @property
    def is_better(self) -> bool:
        """Beyond noise, and on average."""
        return self.p < NOISE_BELOW and mean_price(self.found) < mean_price(self.base)


def compare(task: Task, found: PlannerConfig, workers: Workers, tell: Callable[[], None] = lambda: None) -> Comparison:
    """Both on the judge's other cases; `tell` is called after each."""
    base = workers.run(task.judge.check(task.space.base), tell)
    return Comparison(base=base, found=workers.run(task.judge.check(found), tell))
