"""The follower: within its caps whatever it follows, inside whatever it must not leave, and there in the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.follower import Follower
from sgp_core.line import Ahead, TimedLine
from sgp_core.workspace import Region

DT_S, SPEED, ACCELERATION = 0.01, 0.12, 0.5


def run(
    line: TimedLine, follower: Follower, begin_s: float, duration_s: float, *, dt_s: float = DT_S, allowed=None
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities tick by tick."""
    out = []
    for k in range(1, round(duration_s / dt_s) + 1):
        caps = (SPEED, ACCELERATION) if allowed is None else (SPEED, ACCELERATION, allowed)
        follower.follow(dt_s, line.ahead(begin_s + k * dt_s), *caps)
        out.append((follower.position_m, follower.velocity_mps))
    positions, velocities = zip(*out, strict=True)
    return np.array(positions), np.array(velocities)


def line_to(end: tuple[float, float], duration_s: float = 1.0, start: tuple[float, float] = (0.0, 0.0)) -> TimedLine:
    line = TimedLine()
    line.restart(0.0, np.array(start))
    line.draw(0.0, duration_s, np.array(end), SPEED)
    return line


def test_ahead_of_a_line() -> None:
    line = line_to((0.05, -0.02))
    np.testing.assert_allclose(line.at(0.5), [0.025, -0.01])
    np.testing.assert_allclose(line.ahead(0.25).end_m, [0.05, -0.02])
    assert line.ahead(0.25).left_s == 0.75
    assert line.ahead(1.5).left_s == 0.0


def test_a_step_is_followed_straight_and_ends_exactly_without_overshoot() -> None:
    positions, velocities = run(line_to((0.05, -0.02)), Follower(np.zeros(2)), 0.0, 2.0)
    np.testing.assert_array_equal(positions[-1], [0.05, -0.02])
    assert not velocities[-1].any()
    assert np.abs(positions @ [0.02, 0.05]).max() < 1e-12  # straight
    assert positions[:, 0].max() <= 0.05 + 1e-12


@pytest.mark.parametrize("length_m", [0.002, 0.02, 0.05, 0.07])
def test_it_arrives_when_the_line_ends_and_is_near_it_on_the_way(length_m: float) -> None:
    line = line_to((length_m, 0.0))
    positions, velocities = run(line, Follower(np.zeros(2)), 0.0, 1.0)
    assert abs(positions[-1, 0] - length_m) < 2e-4
    assert np.linalg.norm(velocities[-1]) < 0.01
    off = [np.linalg.norm(line.at((k + 1) * DT_S) - p) for k, p in enumerate(positions)]
    assert max(off) <= 1.3 * (1.5 * length_m) ** 2 / (2 * ACCELERATION) + 0.05 * length_m


def test_it_arrives_in_time_on_the_way_back_and_from_a_running_start() -> None:
    for first, second in (((0.03, 0.0), (-0.01, 0.0)), ((0.03, 0.0), (0.05, 0.0)), ((0.03, 0.0), (0.016, 0.0))):
        line, follower = line_to(first), Follower(np.zeros(2))
        run(line, follower, 0.0, 0.5)
        line.draw(0.5, 1.5, np.array(second), SPEED)
        positions, _ = run(line, follower, 0.5, 1.0)
        assert np.linalg.norm(positions[-1] - second) < 3e-4
        assert np.linalg.norm(positions[-20] - second) > 1e-4  # nor much too early


def test_late_it_goes_as_fast_as_it_may() -> None:
    positions, velocities = run(line_to((0.10, 0.0), 0.0), Follower(np.zeros(2)), 0.0, 2.0)
    assert np.linalg.norm(velocities, axis=1).max() == pytest.approx(SPEED)
    there = np.argmax(np.abs(positions[:, 0] - 0.10) < 1e-3) * DT_S
    assert there == pytest.approx(0.10 / SPEED + SPEED / ACCELERATION, abs=0.1)


def test_braking_takes_v_over_a_and_stands() -> None:
    follower = Follower(np.zeros(2))
    run(line_to((0.05, 0.0)), follower, 0.0, 0.5)
    speed, before = float(np.linalg.norm(follower.velocity_mps)), follower.position_m
    ticks = 0
    while not follower.standing:
        follower.brake(DT_S, ACCELERATION)
        ticks += 1
    assert ticks == np.ceil(speed / ACCELERATION / DT_S - 1e-9)
    assert 0.0 < follower.position_m[0] - before[0] <= speed**2 / (2 * ACCELERATION)


def test_one_axis_comes_down_at_its_speed() -> None:
    follower = Follower(np.array([0.12]))
    down, heights = Ahead(end_m=np.array([0.02]), left_s=0.0), []
    for _ in range(300):
        follower.follow(DT_S, down, 0.05, ACCELERATION)
        heights.append(follower.position_m[0])
    steps = np.diff(heights)
    assert steps.min() >= -0.05 * DT_S - 1e-12
    assert steps.max() <= 0.0
    assert heights[-1] == 0.02
    assert np.argmax(np.array(heights) <= 0.0201) * DT_S == pytest.approx(2.0 + 0.1, abs=0.1)


def test_ticks_of_any_length_and_none() -> None:
    follower = Follower(np.zeros(2))
    follower.follow(0.0, Ahead(end_m=np.ones(2), left_s=0.0), SPEED, ACCELERATION)
    assert follower.standing
    positions, _ = run(line_to((0.05, 0.0)), follower, 0.0, 4.0, dt_s=0.1)
    np.testing.assert_allclose(positions[-1], [0.05, 0.0], atol=1e-6)


def test_the_way_round_a_keep_out_slides_along_it() -> None:
    region = Region((0.0, 1.0, 0.0, 1.0), (0.2, 0.4, 0.2, 0.4))
    follower = Follower(np.array([0.1, 0.3]))
    line = TimedLine()
    line.restart(0.0, follower.position_m)
    line.draw(0.0, 0.1, np.array([0.3, 0.1]), SPEED)  # cuts the corner of the keep-out's surroundings, not itself
    positions, _ = run(line, follower, 0.0, 6.0, allowed=inside(region))
    np.testing.assert_allclose(positions[-1], [0.3, 0.1], atol=1e-9)
    assert region.kept_out_by(positions).max() <= 1e-9


def inside(region: Region):
    def allowed(here: np.ndarray, stop: np.ndarray) -> bool:
        if region.outside_by(stop) > max(float(region.outside_by(here)), 0.0) + 1e-9:
            return False
        end = region.clamp(stop)
        return bool(np.linalg.norm(region.reached(here, end) - end) < 1e-9)

    return allowed


CORNER = Region((0.0, 0.3, 0.0, 0.3), (0.12, 0.18, 0.12, 0.18))


@settings(max_examples=40, deadline=None)
@given(
    start=st.tuples(st.floats(0.0, 0.1), st.floats(0.0, 0.3)),
    wishes=st.lists(
        st.tuples(st.floats(-0.1, 0.4), st.floats(-0.1, 0.4), st.floats(0.0, 1.0), st.integers(1, 80)),
        min_size=1,
        max_size=10,
    ),
    late=st.lists(st.floats(0.002, 0.02), min_size=7, max_size=7),
)
def test_caps_and_region_hold_whatever_is_asked(start, wishes, late) -> None:
    follower, line, now_s, tick = Follower(np.array(start)), TimedLine(), 0.0, 0
    line.restart(0.0, np.array(start))
    for x, y, duration_s, ticks in wishes:
        end = CORNER.reached(line.at(now_s), np.array([x, y]))
        line.draw(now_s, now_s + duration_s, end, SPEED)
        for _ in range(ticks):
            dt_s, tick = late[tick % len(late)], tick + 1
            now_s += dt_s
            before_m, before_mps = follower.position_m, follower.velocity_mps
            follower.follow(dt_s, line.ahead(now_s), SPEED, ACCELERATION, inside(CORNER))
            assert np.linalg.norm(follower.velocity_mps) <= SPEED + 1e-9
            assert np.linalg.norm(follower.velocity_mps - before_mps) <= ACCELERATION * dt_s + 1e-9
            np.testing.assert_allclose(follower.position_m, before_m + follower.velocity_mps * dt_s, atol=1.1e-9)
            assert CORNER.outside_by(follower.position_m) <= 1e-8
            assert CORNER.kept_out_by(follower.position_m) <= 1e-8
