"""Any sequence of events: nothing unsafe, no crash; and each fault put into the code is found. See docs/trust.md."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from fuzz_events import KINDS, Event, play, sequences
from fuzz_mutants import MUTANTS, Mutant, event
from hypothesis import HealthCheck, example, given, settings

from sgp_ros.running import SgpNode


@pytest.mark.timeout(400)  # a thousand ticks of three nodes, on a machine that may be busy
@settings(max_examples=6, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(sequences)
@example([(kind, 7, 1) for kind in range(len(KINDS))])
def test_no_sequence_of_events_makes_an_unsafe_step(events: list[Event]) -> None:
    assert play(events).oracles.unsafe == []


def test_a_sound_rig_pushes_and_arrives() -> None:
    world = play([event("long_run", 15)] * 4)
    assert world.oracles.unsafe == []
    assert world.oracles.moving_sent > 5
    assert world.oracles.taken > 5
    assert world.oracles.reason == "GOAL_REACHED"


def test_what_runs_is_the_nodes_own_code() -> None:
    for node in play([]).nodes.values():
        own = type(node).__mro__[1]
        assert own.__module__.startswith("sgp_ros.")
        assert issubclass(own, SgpNode)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_fault_put_in_is_found(mutant: Mutant) -> None:
    assert play(mutant.events).oracles.unsafe == []
    with mutant.make():
        unsafe = play(mutant.events).oracles.unsafe
    assert mutant.found in "\n".join(unsafe)
