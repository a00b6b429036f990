"""Many plans per step: where to push is chosen once per step, and looked for in parts meanwhile."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from sgp_core.adjoint import models_of
from sgp_core.bundle import ModelBundle, load_bundle
from sgp_core.candidates import Candidates
from sgp_core.config import MpcConfig, PlannerConfig, SimConfig
from sgp_core.goals import find_goal
from sgp_core.mpc import Controller, initial_carry, toward_another_goal
from sgp_core.planner import Planner
from sgp_core.safety import region_of
from sgp_core.share import share_path
from sgp_core.sim.rig import Rig, clearance
from sgp_core.types import AT_GOAL, Aim, Goal, Plan, Reason, Search, State
from sgp_core.way_round import way_round

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
        self.aims: list[tuple[Aim | None, Aim]] = []  # given, and of the plan
        self.lasts = 1.0 / RATE_HZ

    def plan(self, *args: Any, **how: Any) -> Plan:
        assert how["search"].lasts == min(1.0, self.lasts)
        self.searches.append(dataclasses.replace(how["search"], lasts=1.0, left=1.0))
        plan = super().plan(*args, **how)
        self.aims.append((how["aim"], plan.aim))
        return plan


def test_a_choice_per_step_and_parts_of_a_search_in_between(bundle: ModelBundle, goal: Goal) -> None:
    solver = Asked(bundle, CONFIG)
    controller = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ), solver)
    carry = initial_carry(0)
    for cycle in range(26):
        carry = controller.control(state_of(bundle, cycle / RATE_HZ), goal, carry).carry
    asked = solver.searches
    assert [k for k, search in enumerate(asked) if search.choose] == [5, 15, 25]
    assert [search.look for search in asked[:5]] == [0, 1, 2, 3, 4]  # nothing is known yet, and it stands
    assert [search.look for search in asked[6:15]] == [0, None, 1, None, 2, None, 3, None, 4]
    assert sorted(found.part for found in carry.looked) == list(range(PARTS))
    # Nothing moves, so what was found in the step before is found again: the best of all parts are compared.
    found = sorted((one for part in carry.looked for one in part.shortlist), key=lambda one: one.cost_m2)
    assert len(found) > len(asked[15].among) == 2 * CONFIG.sequences
    assert asked[15].among == tuple(one.row for one in found[: 2 * CONFIG.sequences])
    # Towards another goal all is searched at once, however often it changes: nothing waits for it to stay.
    controller.control(state_of(bundle, 2.6), goal, toward_another_goal(carry))
    assert asked[-1] == Search()


def test_before_the_first_push_the_pusher_rests_until_all_is_looked_at(bundle: ModelBundle, goal: Goal) -> None:
    controller, carry = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ)), initial_carry(0)
    for cycle in range(PARTS):
        decision = controller.control(state_of(bundle, cycle / RATE_HZ), goal, carry)
        carry = decision.carry
        assert decision.step.status is Reason.RUNNING
        assert not decision.step.u.any()
        assert decision.step.reason == "looking round for where to push from"
    assert controller.control(state_of(bundle, PARTS / RATE_HZ), goal, carry).step.u.any()


def test_a_step_that_is_carried_on_keeps_what_it_aims_at(bundle: ModelBundle) -> None:
    turned = Goal.from_pose(bundle.layout, 0.60, -0.05, 0.9)  # takes more than one push
    solver = Asked(bundle, CONFIG)
    controller, carry = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ), solver), initial_carry(0)
    for cycle in range(26):
        carry = controller.control(state_of(bundle, cycle / RATE_HZ), turned, carry).carry
    assert solver.aims[5][1].box is not None
    for k in range(6, 26):
        (_, before), (given, after) = solver.aims[k - 1], solver.aims[k]
        assert given == before
        assert after == before or solver.searches[k].choose


def test_one_plan_per_step_chooses_each_time(bundle: ModelBundle, goal: Goal) -> None:
    solver = Asked(bundle, CONFIG)
    solver.lasts = 1.0
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
    assert all(len(listed) <= CONFIG.sequences for listed in lists)
    among = tuple(one.row for listed in lists for one in listed)
    assert len(set(among)) == len(among)
    chosen = candidates.from_sides(state, goal, roll, among)
    assert len(chosen) == len(whole)
    for one, other in zip(chosen, whole, strict=True):
        np.testing.assert_allclose(one.u, other.u, atol=1e-12)
        np.testing.assert_allclose(one.from_m, other.from_m, atol=1e-12)
        assert one.aim.later_m2 == pytest.approx(other.aim.later_m2, rel=1e-4)


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
    for cycle in range(15):
        carry = controller.control(state_of(bundle, cycle / RATE_HZ), goal, carry).carry
    assert len(carry.looked) == PARTS
    for parts, stamp_s in ((1, 1.5), (3, 1.5), (PARTS, 4.0)):
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
    assert solver.searches == [Search(choose=False, look=0), Search()]


def test_a_plan_that_looks_round_is_the_last_one_carried_on(bundle: ModelBundle, goal: Goal) -> None:
    planner, pushes = Planner(bundle, CONFIG), np.array([[0.02, 0.001], [0.01, 0.0], [0.0, 0.0], [0.0, 0.0]])
    search = Search(choose=False, look=1, left=0.5)
    plan = planner.plan(state_of(bundle), goal, pushes, torch.Generator().manual_seed(0), search=search)
    np.testing.assert_allclose(plan.u, pushes, atol=1e-7)
    assert plan.iterations == 0
    assert plan.objective == plan.warm_start_objective
    assert 0 < len(plan.shortlist) <= CONFIG.sequences
    # Where there is no way to where its pushes were to begin, there is nothing to carry on.
    cut_off = CONFIG.replaced(workspace_m=(0.3, 0.60, -0.35, 0.35))
    far_m = np.array([0.74, 0.0])
    plan = Planner(bundle, cut_off).plan(
        state_of(bundle), goal, pushes, torch.Generator().manual_seed(0), from_m=far_m, search=search
    )
    assert plan.iterations > 0
    assert plan.shortlist == ()
    # Such a plan has looked nowhere, and what nobody looked at is not known to be empty.
    begun = Controller(bundle, cut_off, MpcConfig(rate_hz=RATE_HZ))
    carry = dataclasses.replace(initial_carry(0), u=pushes, from_m=far_m, chosen_s=0.0, stamp_s=0.0, aim=AT_GOAL)
    decision = begun.control(state_of(bundle, 0.1), goal, carry)
    assert decision.search is not None
    assert decision.search.look == 0
    assert decision.carry.looked == ()


@pytest.mark.parametrize("rate_hz", [1.2, 1.4, 1.6])
def test_at_any_rate_what_is_compared_is_looked_at_again(bundle: ModelBundle, goal: Goal, rate_hz: float) -> None:
    solver = Asked(bundle, CONFIG)
    solver.lasts = 1.0 / rate_hz
    controller, carry = Controller(bundle, CONFIG, MpcConfig(rate_hz=rate_hz), solver), initial_carry(0)
    for cycle in range(14):
        carry = controller.control(state_of(bundle, cycle / rate_hz), goal, carry).carry
    later = solver.searches[-4:]
    assert all(search == Search() for search in later) or any(search.look is not None for search in later)


@pytest.mark.parametrize(
    "search", [Search(), Search(among=(3, 17)), Search(choose=False), Search(choose=False, look=4)]
)
def test_a_search_in_a_word(search: Search) -> None:
    assert Search.of(search.text) == search
    with pytest.raises(ValueError, match="not a search"):
        Search.of("gone on")


@pytest.mark.parametrize("name", ["left", "center", "right"])
def test_ten_plans_a_second_reach_the_goal(bundle: ModelBundle, name: str) -> None:
    """About as soon as one plan a second does, which takes five to seven steps."""
    layout, controller = bundle.layout, Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ))
    goal, carry = Goal.from_pose(layout, *find_goal(name).pose), initial_carry(0)
    rig = Rig(layout, SimConfig(seed=1))
    rig.advance(0.5)
    target_m, began_s = rig.pusher(), rig.time_s
    while rig.time_s - began_s < 20.0:
        state = State(stamp_s=rig.time_s, x=layout.pack(rig.noisy_markers(), rig.pusher()))
        decision = controller.control(state, goal, carry)
        carry = decision.carry
        if decision.plan is None:
            break
        target_m = target_m + decision.step.u / RATE_HZ
        rig.set_target(target_m)
        rig.advance(1.0 / RATE_HZ)
    assert decision.plan is None, f"{decision.marker_error_m * 1e3:.0f} mm away after 20 s"


def test_a_step_keeps_its_speed_until_it_ends(bundle: ModelBundle) -> None:
    """Replanned ten times, a push goes as far in a step as if it were planned once."""
    settings = CONFIG.replaced(learning_rate=1e-5, beta=0.0)  # hardly moves away from its warm start
    controller, layout = Controller(bundle, settings, MpcConfig(rate_hz=RATE_HZ)), bundle.layout
    goal, carry = Goal.from_pose(layout, 0.75, 0.0, 0.0), initial_carry(0)
    carry = controller.control(state_of(bundle), goal, carry).carry
    begun = np.array([[0.03, 0.0], [0.01, 0.0], [0.0, 0.0], [0.0, 0.0]])
    carry, x, sent = dataclasses.replace(carry, u=begun, from_m=None, chosen_s=0.0), state_of(bundle).x, []
    for cycle in range(1, 10):
        decision = controller.control(State(stamp_s=cycle / RATE_HZ, x=x), goal, carry)
        carry = decision.carry
        sent.append(decision.step.u)
        assert decision.plan is not None
        np.testing.assert_allclose(decision.plan.u[0], [0.03 * (1.0 - cycle / RATE_HZ), 0.0], atol=2e-4)
    np.testing.assert_allclose(sent, np.tile([0.03, 0.0], (9, 1)), atol=2e-3)


def test_a_choice_in_the_middle_of_a_step_begins_with_what_is_left_of_it(bundle: ModelBundle) -> None:
    controller = Controller(bundle, CONFIG, MpcConfig(rate_hz=RATE_HZ))
    carry = dataclasses.replace(
        initial_carry(0), u=np.array([[0.02, 0.0], [0.03, 0.0], [0.0, 0.0], [0.0, 0.0]]), left=0.5, stamp_s=0.0
    )
    u, left = controller._warm_start(state_of(bundle), carry, executed=True, choose=True)
    np.testing.assert_allclose(u[:, 0], [0.035, 0.015, 0.0, 0.0])  # half a step at 0.04, then at 0.03
    assert left == 1.0
    u, left = controller._warm_start(state_of(bundle, 0.1), carry, executed=True, choose=False)
    np.testing.assert_allclose(u[:, 0], [0.016, 0.03, 0.0, 0.0])
    assert left == pytest.approx(0.4)


def test_a_rest_of_a_step_stays_inside_the_workspace_at_its_speed(bundle: ModelBundle) -> None:
    settings = CONFIG.replaced(learning_rate=1e-5, beta=0.0, workspace_m=(0.3, 0.57, -0.35, 0.35))
    controller = Controller(bundle, settings, MpcConfig(rate_hz=RATE_HZ))
    goal, carry = Goal.from_pose(bundle.layout, 0.75, 0.0, 0.0), initial_carry(0)
    carry = controller.control(state_of(bundle), goal, carry).carry
    begun = np.array([[0.04, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    carry = dataclasses.replace(carry, u=begun, from_m=None, left=0.3, chosen_s=0.0)
    step = controller.control(state_of(bundle, 0.1), goal, carry).step
    assert step.status is Reason.RUNNING
    assert 0.0 < step.u[0] <= 0.01 + 1e-6  # and not a hundred millimetres


def test_a_walk_is_led_at_full_speed_but_never_into_the_box(bundle: ModelBundle) -> None:
    layout = bundle.layout
    candidates, box = Candidates(bundle, CONFIG, region_of(CONFIG)), (0.65, 0.0, 0.0)
    around = way_round(layout, CONFIG.contacts_per_side)
    for place in range(len(around.places)):
        for pusher in ([0.56, 0.0], [0.60, -0.12], [0.65, 0.1], [0.76, 0.02]):
            state = State(stamp_s=0.0, x=layout.pack(layout.markers_at(*box), np.array(pusher)))
            walked = candidates.again(state, np.zeros((4, 2)), around.places[place] + box[:2])
            assert walked is not None
            steps, once = candidates.walk(state, walked, 1.0)
            _, lead = candidates.walk(state, walked, 0.1)
            if not len(steps):
                continue
            assert once is not None
            assert lead is not None
            np.testing.assert_array_equal(once, steps[0])
            assert np.abs(lead).max() <= CONFIG.step_limit_m + 1e-9
            assert np.linalg.norm(lead) >= np.linalg.norm(steps[0]) - 1e-9
            gaps = [clearance(layout, box, state.x[-2:] + share * lead) for share in np.linspace(0.05, 1.0, 20)]
            assert min(gaps) >= min(0.003, clearance(layout, box, state.x[-2:]))
