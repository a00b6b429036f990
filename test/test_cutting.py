"""Recordings become transitions where they can, and say why where they cannot."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.cutting import CutConfig, Rejected, SentStep, Track, cut, demonstrations
from sgp_core.safety import Fault
from sgp_core.types import Reason, State

SIZE = 12
BAD = Fault(reason=Reason.BAD_STATE, text="2 of 5 markers visible")


def along(times_s: np.ndarray, pusher_m: np.ndarray, box_m: np.ndarray | None = None) -> list[State]:
    """Pusher (and box, if it is not to stand) along x at some times."""
    box_m = np.zeros(len(times_s)) if box_m is None else box_m
    states = []
    for t, p, b in zip(times_s, pusher_m, box_m, strict=True):
        x = np.zeros(SIZE)
        x[:-2:2], x[-2] = b, p
        states.append(State(stamp_s=float(t), x=x))
    return states


def led(duration_s: float, speed_mps: float = 0.05, period_s: float = 0.01) -> list[State]:
    """A box pushed along at constant speed."""
    times = np.arange(0.0, duration_s + 1e-9, period_s)
    return along(times, speed_mps * times, speed_mps * times)


def kinds(rejected: list[Rejected]) -> list[str]:
    return [one.reason.split("(")[0].split(":")[0].strip() for one in rejected]


def test_every_mark_counts_or_is_told() -> None:
    words = ["stop", "start", "stop", "start", "start", "discard", "start", "stop", "start"]
    kept, others = demonstrations([(float(k), word) for k, word in enumerate(words)])
    assert kept == [(1.0, 2.0), (6.0, 7.0)]
    told = [(one.start_s, one.end_s, one.reason.split(" (")[0]) for one in others]
    assert told == [
        (0.0, 0.0, "a demonstration ended here"),
        (3.0, 4.0, "a demonstration began here"),
        (4.0, 5.0, "discarded"),
        (8.0, 8.0, "a demonstration began here"),
    ]


class TestWithoutSteps:
    def test_a_recording_is_cut_every_step_duration(self) -> None:
        rows, rejected = cut(led(5.0), [], [], CutConfig())
        assert [row.stamp_s for row in rows] == pytest.approx([0.0, 1.0, 2.0, 3.0, 4.0])
        for row in rows:
            np.testing.assert_allclose(row.u, [0.05, 0.0], atol=1e-9)
            np.testing.assert_array_equal(row.u, row.u_commanded)
            np.testing.assert_allclose(row.x_next - row.x, np.tile([0.05, 0.0], 6), atol=1e-9)
        assert rejected == []
        assert {row.demonstration for row in rows} == {0}

    def test_another_step_duration(self) -> None:
        rows, _ = cut(led(5.0), [], [], CutConfig(step_duration_s=0.5))
        assert len(rows) == 10
        np.testing.assert_allclose(rows[0].u, [0.025, 0.0], atol=1e-9)

    def test_states_between_samples_lie_on_a_line(self) -> None:
        states = led(3.0, period_s=0.07)
        rows, _ = cut(states, [], [], CutConfig(step_duration_s=0.5))
        for row in rows:
            np.testing.assert_allclose(row.x[-2], 0.05 * row.stamp_s, atol=1e-9)

    def test_rest_is_kept_once_and_only_after_a_motion(self) -> None:
        times = np.arange(0.0, 10.0, 0.01)
        rows, rejected = cut(along(times, 0.05 * np.clip(times - 3.0, 0.0, 2.0)), [], [], CutConfig())
        assert [row.stamp_s for row in rows] == pytest.approx([3.0, 4.0, 5.0])
        assert kinds(rejected) == ["nothing moved", "nothing moved"]
        assert (rejected[0].start_s, rejected[0].end_s) == pytest.approx((0.0, 3.0))
        assert rejected[1].start_s == pytest.approx(6.0)

    def test_a_gap_is_told_with_the_reason_and_a_long_one_ends_the_demonstration(self) -> None:
        for gap_s, numbers in ((0.5, {7}), (3.0, {7, 8})):
            states = [s for s in led(12.0) if not 4.3 < s.stamp_s < 4.3 + gap_s]
            rows, rejected = cut(states, [], [(4.4, BAD)], CutConfig(), first_demonstration=7)
            assert {row.demonstration for row in rows} == numbers
            (one,) = rejected
            assert one.reason == "BAD_STATE: 2 of 5 markers visible"
            assert one.start_s == pytest.approx(4.0)
            assert one.end_s == pytest.approx(4.3 + gap_s)  # the next one begins right behind
            assert rows[4].stamp_s == pytest.approx(4.3 + gap_s)

    def test_a_gap_without_a_frame_says_so(self) -> None:
        states = [s for s in led(6.0) if not 2.2 < s.stamp_s < 2.6]
        _, rejected = cut(states, [], [(5.0, BAD)], CutConfig())
        assert kinds(rejected) == ["no marker was recorded"]

    def test_a_short_gap_is_bridged(self) -> None:
        states = [s for s in led(6.0) if not 2.95 < s.stamp_s < 3.02]
        rows, rejected = cut(states, [], [], CutConfig())
        assert (len(rows), rejected) == (6, [])

    def test_a_box_moved_by_hand_begins_a_demonstration(self) -> None:
        times = np.arange(0.0, 9.0, 0.01)
        pusher = 0.05 * np.clip(times, 0.0, 3.0) + 0.05 * np.clip(times - 5.0, 0.0, 9.0)
        box = np.where(times < 4.0, 0.0, np.clip(times - 4.0, 0.0, 1.0))
        rows, rejected = cut(along(times, pusher, box), [], [], CutConfig())
        assert kinds(rejected) == ["the box was moved while the pusher rested"]
        assert [row.demonstration for row in rows] == [0, 0, 0, 0, 1, 1, 1]

    def test_a_box_moved_unseen_begins_a_demonstration(self) -> None:
        times = np.arange(0.0, 8.0, 0.01)
        pusher = 0.05 * np.clip(times, 0.0, 3.0) + 0.05 * np.clip(times - 4.5, 0.0, 9.0)
        states = along(times, pusher, np.where(times < 4.0, 0.0, 0.2))
        states = [s for s in states if not 3.0 < s.stamp_s < 4.49]
        rows, _ = cut(states, [], [], CutConfig())
        assert {row.demonstration for row in rows if row.stamp_s < 3.0} == {0}
        assert {row.demonstration for row in rows if row.stamp_s > 4.0} == {1}

    def test_a_clock_set_back_mixes_nothing(self) -> None:
        forward, back = led(5.0), [State(stamp_s=s.stamp_s, x=s.x + 1.0) for s in led(5.0)]
        rows, rejected = cut([*forward, *back], [], [], CutConfig(), first_demonstration=3)
        assert [row.demonstration for row in rows] == [3] * 5 + [4] * 5
        for row in rows:
            np.testing.assert_allclose(row.u, [0.05, 0.0], atol=1e-9)
        assert kinds(rejected) == ["the clock was set back; steps after that are not used"]

    def test_nothing_gives_nothing(self) -> None:
        assert cut([], [], [], CutConfig()) == ([], [])
        assert cut(led(0.5), [], [], CutConfig()) == ([], [])


class TestWithSteps:
    def test_transitions_begin_where_steps_do(self) -> None:
        steps = [SentStep(stamp_s=t, u=np.array([0.06, 0.0])) for t in (0.25, 1.25, 2.3)]
        rows, rejected = cut(led(4.0), steps, [], CutConfig())
        assert [row.stamp_s for row in rows] == pytest.approx([0.25, 1.25, 2.3])
        for row in rows:
            np.testing.assert_allclose(row.u, [0.05, 0.0], atol=1e-9)  # where it went
            np.testing.assert_array_equal(row.u_commanded, [0.06, 0.0])  # where it was told to go
        assert rejected == []

    def test_steps_that_were_replaced_are_left_out_and_told_together(self) -> None:
        steps = [SentStep(stamp_s=0.05 * k, u=np.array([0.05, 0.0])) for k in range(40)]
        rows, rejected = cut(led(4.0), steps, [], CutConfig())
        assert len(rows) == 1  # the last one was carried out
        (one,) = rejected
        assert "replaced before they were carried out (0.05 s of 1 s)" in one.reason
        assert (one.start_s, one.end_s) == pytest.approx((0.0, 1.95))

    def test_steps_beyond_the_recording_are_told(self) -> None:
        steps = [SentStep(stamp_s=t, u=np.array([0.05, 0.0])) for t in (-1.0, 1.0, 3.5)]
        rows, rejected = cut(led(4.0), steps, [], CutConfig())
        assert [row.stamp_s for row in rows] == [1.0]
        assert [one.reason for one in rejected] == [
            "the recording begins after the step does",
            "the recording ends before the step does",
        ]

    def test_the_order_in_which_they_came_does_not_matter(self) -> None:
        steps = [SentStep(stamp_s=t, u=np.array([0.05, 0.0])) for t in (2.0, 0.0, 1.0)]
        states = led(4.0)
        rows, _ = cut(states[::-1], steps, [], CutConfig())
        assert [row.stamp_s for row in rows] == [0.0, 1.0, 2.0]


@settings(max_examples=60, deadline=None)
@given(
    gaps=st.lists(st.floats(0.0, 0.4), min_size=2, max_size=120),
    steps=st.lists(st.floats(-1.0, 12.0), max_size=8),
    duration_s=st.floats(0.05, 2.0),
)
def test_every_transition_is_of_measured_states_and_no_time_is_used_twice(
    gaps: list[float], steps: list[float], duration_s: float
) -> None:
    times = np.cumsum(gaps)
    config = CutConfig(step_duration_s=duration_s)
    states = along(times, 0.05 * times, 0.03 * times)
    sent = [SentStep(stamp_s=t, u=np.array([0.01, 0.0])) for t in steps]
    rows, rejected = cut(states, sent, [], config)
    track = Track(states, config.gap_s)
    for row in rows:
        assert track.broken(row.stamp_s, row.stamp_s + duration_s) is None
        np.testing.assert_allclose(row.x[-2], 0.05 * row.stamp_s, atol=1e-6)
        np.testing.assert_allclose(row.u, row.x_next[-2:] - row.x[-2:])
    starts = [row.stamp_s for row in rows]
    assert starts == sorted(starts)
    assert all(b - a >= 0.9 * duration_s - 1e-6 for a, b in itertools.pairwise(starts))
    assert all(one.end_s >= one.start_s and one.reason for one in rejected)
    if sent:
        assert len(rows) <= len(sent)
