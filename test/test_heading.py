"""Where a tool that was raised comes down again: on the way it came, and never on what it had just begun to leave."""

from __future__ import annotations

import numpy as np
import pytest
from arm_rig import Rig, down

from sgp_core.arm import BACK_M
from sgp_core.heading import TAKEN_M, Heading
from sgp_core.types import Reason

GAP_M = 0.004  # between a way round the box and the box (`way_round.WAY_GAP_M`), from which on it may be touched


def raised_and_lowered(rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """Where the tool stopped, and where it came down."""
    rig.enable(False)
    stopped_m = rig.run(4.0)[-1][:2]
    rig.enable()
    rig.run_until(Reason.RUNNING)
    return stopped_m, rig.run(0.2)[-1][:2]


def test_it_comes_down_further_back_on_the_way_it_came() -> None:
    rig = down()
    rig.step(0.04, 0.0)
    rig.run(1.5)
    stopped_m, at_m = raised_and_lowered(rig)
    np.testing.assert_allclose(at_m - stopped_m, [-BACK_M, 0.0], atol=2e-4)


@pytest.mark.parametrize("after_s", [0.03, 0.06, 0.09, 0.12, 0.15, 0.18, 0.22, 0.30])
def test_what_it_has_only_begun_to_leave_it_does_not_come_down_on(after_s: float) -> None:
    """Pushed in x, and stopped at the beginning of a way back: the box is where it was."""
    rig = down()
    rig.step(0.04, 0.0)
    pushed_m = rig.run(1.5)[-1][:2]
    rig.step(-0.03, 0.0)
    rig.run(after_s)
    stopped_m, at_m = raised_and_lowered(rig)
    assert stopped_m[0] < pushed_m[0]
    assert at_m[0] < pushed_m[0] - 3e-4


def test_a_touch_at_the_end_of_a_way_along_the_box_is_known() -> None:
    rig = down()
    rig.step(0.0, 0.04)
    rig.run(1.5)
    rig.step(GAP_M, 0.0)
    rig.run(1.5)
    stopped_m, at_m = raised_and_lowered(rig)
    np.testing.assert_allclose(at_m - stopped_m, [-BACK_M, 0.0], atol=2e-4)


def test_a_way_that_turns_slowly_has_the_direction_of_its_end() -> None:
    heading = Heading()
    for angle in np.linspace(0.0, np.pi / 2, 200):
        heading.take(1e-4 * np.array([np.cos(angle), np.sin(angle)]))
    assert heading.direction[1] > 0.9
    heading.take(np.array([TAKEN_M / 2, 0.0]))
    assert heading.direction[1] > 0.9
    heading.forget()
    assert not heading.direction.any()
