"""Whether to trust a bundle: every check, and all that its pictures need (D.2, Fig. 4, Prop. 2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sgp_core import check_rules as rules
from sgp_core.bundle import ModelBundle
from sgp_core.check_config import Check, CheckConfig, Place, Verdict
from sgp_core.check_data import Jury, jury_of
from sgp_core.check_measures import Landing, Tear, landings, marker_distances, random_goals, tears
from sgp_core.checks import one_step_error, rollout_error
from sgp_core.config import PlannerConfig
from sgp_core.data import Transitions
from sgp_core.distance import nearest_distance
from sgp_core.error_bound import ErrorBound, error_bound
from sgp_core.goals import NamedGoal
from sgp_core.training import tuples_of

HORIZON = 4  # steps of the paper's plans and of Figs. 4C and 4D
STAGES = ("held-out error", "score descent", "plans", "bound")


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that was found out about a bundle, for tables and pictures."""

    bundle: ModelBundle
    jury: Jury
    config: CheckConfig
    seed: int
    checks: list[Check]
    landings: list[Landing]
    tears: list[Tear]
    places: list[Place]
    bound: ErrorBound

    @property
    def verdict(self) -> Verdict:
        """The worst of all checks."""
        return max((check.verdict for check in self.checks), key=list(Verdict).index)


def check_model(
    bundle: ModelBundle,
    data: Transitions,
    start: NamedGoal,
    goals: dict[str, NamedGoal],
    config: CheckConfig,
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Findings:
    """Run every check.

    Args:
        bundle: the models.
        data: what it was trained on, or another data set of the same box and table.
        start: where the box will start [m, rad; table].
        goals: by name, where it should go.
        config: thresholds.
        seed: of noise, plans and estimates; the same seed gives the same figures.
        progress: called with each of `STAGES` as it begins.

    Raises:
        InputError: data that do not fit the bundle, or settings that do not fit it.
    """
    jury = jury_of(bundle, data, seed)
    progress(STAGES[0])
    held_out, z = jury.held_out, tuples_of(jury.held_out, bundle.normalizer)
    away = nearest_distance(z, bundle.reference).double().numpy()
    spacing = float(np.quantile(away, config.spacing_quantile))
    one_step, four_steps = one_step_error(bundle, held_out), rollout_error(bundle, held_out, HORIZON)
    progress(STAGES[1])
    demonstrated = np.concatenate([bundle.reference.double().numpy(), z.double().numpy()])
    landed = landings(bundle, z, demonstrated, seed)
    progress(STAGES[2])
    torn = _tears(bundle, held_out, goals, config, seed)
    progress(STAGES[3])
    bound = error_bound(bundle, jury.known, jury.unknown, seed)
    places, marker_spacing_m = _places(bundle, held_out, start, goals, config)
    worst = held_out.layout.pose_of(held_out.layout.markers(jury.unknown.x[int(bound.error_m.argmax())]))
    checks = [
        rules.data(jury, away, bundle, config),
        rules.one_step(one_step, worst, config),
        rules.four_steps(four_steps, config),
        rules.lands_on_data(landed, spacing, config),
        rules.lands_rigid(landed, config),
        rules.plans_rigid(torn, config),
        *(rules.near_data(place, marker_spacing_m, config) for place in places),
        rules.bound_holds(bound, one_step["displacement_mm_pushes"], config),
    ]
    return Findings(
        bundle=bundle,
        jury=jury,
        config=config,
        seed=seed,
        checks=checks,
        landings=landed,
        tears=torn,
        places=places,
        bound=bound,
    )


def _tears(
    bundle: ModelBundle, held_out: Transitions, goals: dict[str, NamedGoal], config: CheckConfig, seed: int
) -> list[Tear]:
    """Towards the goals themselves, and for the rest of the plans towards random ones."""
    rows = np.random.default_rng(seed).permutation(len(held_out))[: config.plans]
    named = [goal.pose for goal in goals.values()]
    wanted = [*named, *random_goals(bundle.layout, held_out.x, len(rows), seed)][: len(rows)]
    return tears(bundle, held_out.x[rows], wanted, PlannerConfig(beta=config.beta, horizon=HORIZON), seed)


def _places(
    bundle: ModelBundle,
    held_out: Transitions,
    start: NamedGoal,
    goals: dict[str, NamedGoal],
    config: CheckConfig,
) -> tuple[list[Place], float]:
    """Start and goals with their distances to the data, and the distance that held-out boxes have [m]."""
    layout = bundle.layout
    named = {"start": start, **{f"goal {name}": goal for name, goal in goals.items()}}
    markers = np.array([goal.goal(layout).markers_m for goal in named.values()])
    distance, nearest = marker_distances(layout, bundle.reference_x, markers)
    usual = marker_distances(layout, bundle.reference_x, layout.markers(held_out.x))[0]
    found = [
        Place(
            name=name,
            pose=goal.pose,
            distance_m=float(d),
            nearest=layout.pose_of(layout.markers(bundle.reference_x[k])),
        )
        for (name, goal), d, k in zip(named.items(), distance, nearest, strict=True)
    ]
    return found, float(np.quantile(usual, config.spacing_quantile))
