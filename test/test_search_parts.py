"""Many plans per step: where to push is chosen once per step, and looked for in parts meanwhile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sgp_core.adjoint import models_of
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.candidates import Candidates
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.goals import find_goal
from sgp_core.mpc import Controller, initial_carry, toward_another_goal
from sgp_core.planner import Planner
from sgp_core.safety import region_of
from sgp_core.share import share_path
from sgp_core.types import Goal, Plan, Search, State

PARTS = 5
CONFIG = PlannerConfig(iterations=6, sigmas=(0.01,), restarts=2, sequences=2, search_parts=PARTS, contacts_per_side=3)
RATE_HZ = 10.0


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return load_bundle(share_path("models", "default"))


@pytest.fixture(scope="module")
def goal(bundle: ModelBundle) -> Goal:
    return Goal.from_pose(bundle.layout, 0.55, 0.0, 0.0)


def state_of(bundle: ModelBundle, stamp_s: float = 0.0) -> State:
    return State(stamp_s=stamp_s, x=bundle.layout.pack(bundle.layout.markers_at(0.65, 0.0, 0.0), np.array([0.56, 0.0])))


class Asked(Planner):
    """Remembers which searches it was asked for."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.searches: list[Search] = []

    def plan(self, *args: Any, **how: Any) -> Plan:
        self.searches.append(how["search"])
        return super().plan(*args, **how)


def test_a_choice_per_step_and_parts_of_a_search_in_between(bundle: ModelBundle, goal: Goal) -> None:
    solver = Asked(bundle, CONFIG)
    controller = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ), solver)
    carry = initial_carry(0)
    for cycle in range(21):
        carry = controller.control(state_of(bundle, cycle / RATE_HZ), goal, carry).carry
    asked = solver.searches
    assert [k for k, search in enumerate(asked) if search.choose] == [0, 10, 20]
    assert [search.look for search in asked[1:10]] == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert asked[0].among == ()  # nothing is known yet: all
    assert len(asked[10].among) == len(carry.looked) * CONFIG.sequences
    assert sorted(found.part for found in carry.looked) == list(range(PARTS))
    assert sorted(asked[10].among) == sorted(row for found in carry.looked for row in found.shortlist)  # nothing moves
    controller.control(state_of(bundle, 2.1), goal, toward_another_goal(carry))
    assert asked[-1] == Search()


def test_one_plan_per_step_chooses_each_time(bundle: ModelBundle, goal: Goal) -> None:
    solver = Asked(bundle, CONFIG)
    controller, carry = Controller(bundle, CONFIG, MpcConfig(rate_hz=1.0), solver), initial_carry(0)
    for stamp_s in (0.0, 1.02, 1.96, 0.4, 1.4):  # late, early, a clock that was set back
        carry = controller.control(state_of(bundle, stamp_s), goal, carry).carry
    assert solver.searches == [Search()] * 5


@torch.no_grad()
def test_the_parts_together_find_what_the_whole_search_finds(bundle: ModelBundle, goal: Goal) -> None:
    candidates = Candidates(bundle, CONFIG, region_of(CONFIG))
    roll, state = models_of(bundle)[0].roll, state_of(bundle)
    whole = candidates.from_sides(state, goal, roll)
    lists = [candidates.shortlist(state, goal, roll, part) for part in range(PARTS)]
    assert all(len(rows) <= CONFIG.sequences for rows in lists)
    among = tuple(row for rows in lists for row in rows)
    assert len(set(among)) == len(among)
    chosen = candidates.from_sides(state, goal, roll, among)
    assert len(chosen) == len(whole)
    for one, other in zip(chosen, whole, strict=True):
        np.testing.assert_allclose(one.u, other.u, atol=1e-12)
        np.testing.assert_allclose(one.from_m, other.from_m, atol=1e-12)
        assert one.later_m2 == pytest.approx(other.later_m2, rel=1e-4)


@torch.no_grad()
def test_a_shortlist_of_other_settings_does_no_harm(bundle: ModelBundle, goal: Goal) -> None:
    fewer = CONFIG.replaced(contacts_per_side=1)
    candidates, roll = Candidates(bundle, fewer, region_of(fewer)), models_of(bundle)[0].roll
    beside = 4 * 7  # pushes beside the box, the others are from where the pusher is
    assert len(candidates.from_sides(state_of(bundle), goal, roll, (0, beside - 1, 10**6))) >= 1
    everything = candidates.from_sides(state_of(bundle), goal, roll)
    nothing_known = candidates.from_sides(state_of(bundle), goal, roll, (10**6,))
    assert [one.u.tolist() for one in nothing_known] == [one.u.tolist() for one in everything]


def test_what_was_looked_for_under_other_settings_or_before_a_break_is_forgotten(
    bundle: ModelBundle, goal: Goal
) -> None:
    controller, carry = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ)), initial_carry(0)
    for cycle in range(10):
        carry = controller.control(state_of(bundle, cycle / RATE_HZ), goal, carry).carry
    assert len(carry.looked) == PARTS
    for parts, stamp_s in ((1, 1.0), (3, 1.0), (PARTS, 4.0)):
        config = CONFIG.replaced(search_parts=parts)
        solver = Asked(bundle, config)
        after = Controller(bundle, config, MpcConfig(rate_hz=RATE_HZ), solver)
        after.control(state_of(bundle, stamp_s), goal, carry)
        assert solver.searches == [Search()]


def test_a_step_that_was_not_begun_is_not_carried_on(bundle: ModelBundle, goal: Goal) -> None:
    solver = Asked(bundle, CONFIG)
    controller = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ), solver)
    carry = controller.control(state_of(bundle), goal, initial_carry(0)).carry
    controller.control(state_of(bundle, 0.1), goal, carry, executed=False)
    assert solver.searches == [Search()] * 2


@pytest.mark.parametrize(
    "search", [Search(), Search(among=(3, 17)), Search(choose=False), Search(choose=False, look=4)]
)
def test_a_search_in_a_word(search: Search) -> None:
    assert Search.of(search.text) == search
    with pytest.raises(ValueError, match="not a search"):
        Search.of("gone on")


@pytest.mark.parametrize("name", ["left", "center"])
def test_ten_plans_a_second_reach_the_goal(bundle: ModelBundle, name: str) -> None:
    """The models are the physics here, so that what is left is the way in which plans follow each other."""
    layout, controller = bundle.layout, Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ))
    goal, carry = Goal.from_pose(layout, *find_goal(name).pose), initial_carry(0)
    x = layout.pack(layout.markers_at(0.5, 0.0, 0.0), np.array([0.41, 0.0]))
    for cycle in range(200):
        decision = controller.control(State(stamp_s=cycle / RATE_HZ, x=x), goal, carry)
        carry = decision.carry
        if decision.plan is None:
            break
        with torch.no_grad():
            u = torch.from_numpy(decision.step.u / RATE_HZ).float()[None]
            x = bundle.dynamics(torch.from_numpy(x).float()[None], u)[0].double().numpy()
    assert decision.plan is None, f"{decision.marker_error_m * 1e3:.0f} mm away after {cycle / RATE_HZ:.0f} s"
