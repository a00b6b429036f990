"""The planners that `sgp evaluate` knows, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sgp_core.baselines.cem import CemConfig, CemPlanner
from sgp_core.baselines.cloning import CloningPlanner, train_policy
from sgp_core.baselines.ensemble import EnsembleObjective, load_members
from sgp_core.baselines.gradient import GradientPlanner
from sgp_core.baselines.learned_distance import DistanceObjective, train_distance
from sgp_core.baselines.mppi import MppiConfig, MppiPlanner
from sgp_core.baselines.shooting import LearnedObjective, Objective
from sgp_core.bundle import ModelBundle
from sgp_core.config import Config, PlannerConfig
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.mpc import Solver
from sgp_core.planner import Planner


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A planner with all its settings, picklable.

    Args:
        name: as in `KINDS`.
        planner: limits, objective, horizon, budget; how a planner that descends a gradient searches.
        own: how this one searches; None when `planner` says it all.
        learned: file or folder of what it learned besides the bundle; None when nothing.
    """

    name: str
    planner: PlannerConfig
    own: Config | None = None
    learned: Path | None = None

    def solver(self, bundle: ModelBundle) -> Solver:
        """What plans. Raises InputError when settings and bundle do not fit."""
        objective_of = KINDS[self.name].objective
        if objective_of is None:
            return Planner(bundle, self.planner)
        if self.name == CLONING:
            return CloningPlanner(bundle, self.planner, _there(self.learned))
        objective = objective_of(bundle, self.planner, self.learned)
        if isinstance(self.own, CemConfig):
            return CemPlanner(bundle, self.planner, self.own, objective)
        if isinstance(self.own, MppiConfig):
            return MppiPlanner(bundle, self.planner, self.own, objective)
        return GradientPlanner(bundle, self.planner, objective)


@dataclass(frozen=True, kw_only=True)
class Given:
    """What the user gives besides the bundle."""

    data: Path | None = None  # .npz that the bundle was trained on
    ensemble: Path | None = None  # folder of bundles


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What there is to know about a planner before it is made."""

    about: str
    objective: Callable[[ModelBundle, PlannerConfig, Path | None], Objective] | None = None  # None: `Planner` has it
    penalised: bool = True  # whether beta means anything to it
    own: Config | None = None  # how it searches, by default; None descends a gradient
    learns: Callable[[ModelBundle, Given, Path], Path] | None = None  # what it needs, into a folder


def contenders(
    names: Mapping[str, Mapping[str, str]],
    settings: list[PlannerConfig],
    bundle: ModelBundle,
    given: Given,
    folder: Path,
) -> list[Contender]:
    """Planners under each of the settings; one that knows no beta once for those that differ in nothing else.

    Args:
        names: planners, and for each the changes to its own settings.
        settings: what all have in common.
        bundle: the models, from which some learn more.
        given: what they learn it from besides.
        folder: where that is put; it has to stay as long as they are used.

    Raises:
        InputError: no such planner, a setting it does not have, or something it needs was not given.
    """
    for name, own in names.items():
        if name not in KINDS:
            raise InputError(f"--planner {name} is not known; choose from {', '.join(KINDS)}")
        if own and KINDS[name].own is None:
            raise InputError(f"--set {name}.{next(iter(own))}: {name} has no settings of its own; leave out `{name}.`")
    found = []
    for name, own in names.items():
        kind = KINDS[name]
        unlike = settings
        if not kind.penalised:
            unlike = list(dict.fromkeys(dataclasses.replace(config, beta=0.0) for config in settings))
        changed = kind.own.replaced(**own) if kind.own is not None else None
        learned = kind.learns(bundle, given, folder) if kind.learns is not None else None
        found += [Contender(name=name, planner=config, own=changed, learned=learned) for config in unlike]
    return found


def _policy(bundle: ModelBundle, given: Given, folder: Path) -> Path:
    if given.data is None:
        raise InputError(f"--planner {CLONING} needs the demonstrations; give the file of `sgp train` as --data")
    train_policy(bundle, Transitions.load(given.data), folder / "policy.pt")
    return folder / "policy.pt"


def _members(bundle: ModelBundle, given: Given, _folder: Path) -> Path:
    if given.ensemble is None:
        raise InputError(
            "an ensemble needs several bundles of the same data, by `sgp train --seed 1`, `--seed 2` and so on; give"
            " the folder they are in as --ensemble"
        )
    load_members(bundle, given.ensemble)
    return given.ensemble


def _distance(bundle: ModelBundle, _given: Given, folder: Path) -> Path:
    file = folder / "distance.pt"
    if not file.exists():  # two planners use the same
        train_distance(bundle, file)
    return file


def _own_objective(bundle: ModelBundle, config: PlannerConfig, _learned: Path | None) -> Objective:
    return LearnedObjective(bundle, config)


def _ensemble_objective(bundle: ModelBundle, config: PlannerConfig, learned: Path | None) -> Objective:
    return EnsembleObjective(bundle, config, load_members(bundle, _there(learned)))


def _distance_objective(bundle: ModelBundle, config: PlannerConfig, learned: Path | None) -> Objective:
    return DistanceObjective(bundle, config, _there(learned))


def _there(learned: Path | None) -> Path:
    assert learned is not None, "`contenders` lets everything be learned first"
    return learned


CLONING = "cloning"
KINDS: dict[str, Kind] = {
    "sgp": Kind(about="score-guided planning"),
    "vanilla": Kind(about="the same without the score, beta 0", penalised=False),
    "cem": Kind(about="cross-entropy method on sgp's objective", objective=_own_objective, own=CemConfig()),
    "mppi": Kind(about="MPPI on sgp's objective", objective=_own_objective, own=MppiConfig()),
    CLONING: Kind(about="behaviour cloning, needs --data", objective=_own_objective, penalised=False, learns=_policy),
    "ensemble": Kind(
        about="variance of an ensemble as penalty, needs --ensemble", objective=_ensemble_objective, learns=_members
    ),
    "ensemble-cem": Kind(about="the same by CEM", objective=_ensemble_objective, learns=_members, own=CemConfig()),
    "distance": Kind(
        about="learned distance to data as penalty (Eq. 43)", objective=_distance_objective, learns=_distance
    ),
    "distance-cem": Kind(about="the same by CEM", objective=_distance_objective, learns=_distance, own=CemConfig()),
}
