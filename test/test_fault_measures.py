"""What the suite of faults measures with, and the relay that does them, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from fault_relay import Disturbance, Way, shifted
from fault_watch import BOX, PUSHER, STATE, STATUS, STEP, Record, Seen
from rclpy.serialization import deserialize_message, serialize_message
from ros_bench import LAYOUT

from sgp_core.config import PlannerConfig
from sgp_core.safety import Fault
from sgp_core.types import Reason, State
from sgp_ros import convert, messages

LIMITS = PlannerConfig()
START_S = 1000.0


def went(count: int, **how: object) -> tuple[list[int], list[tuple[float, int]]]:
    """What goes on of numbered messages at once, and what later."""
    at_once: list[int] = []
    later: list[tuple[float, int]] = []

    def wait(after_s: float, act: object) -> None:
        known = len(at_once)
        act()  # type: ignore[operator]
        later.append((after_s, at_once.pop(known)))

    way = Way(lambda data: at_once.append(convert.stamp_ns(_pose(data).header.stamp) // convert.NS), wait)
    way.disturb(Disturbance(**how))  # type: ignore[arg-type]
    for number in range(count):
        way.take(serialize_message(messages.pose_to_msg(float(number), 0.01 * number, 0.0)))
    return at_once, later


def _pose(data: bytes) -> object:
    from geometry_msgs.msg import PoseStamped

    return deserialize_message(data, PoseStamped)


class TestRelay:
    def test_hands_on_what_nothing_is_done_to(self) -> None:
        assert went(5) == ([0, 1, 2, 3, 4], [])

    @pytest.mark.parametrize("part", [0.2, 0.6])
    def test_loses_the_part_it_should(self, part: float) -> None:
        at_once, _ = went(2000, drop=part)
        assert abs(len(at_once) / 2000 - (1.0 - part)) < 0.04
        assert at_once == went(2000, drop=part)[0]  # the same every time
        assert went(20, drop=1.0) == ([], [])

    def test_swaps_each_two(self) -> None:
        assert went(5, reorder=True) == ([1, 0, 3, 2], [])

    def test_delays_each(self) -> None:
        assert went(2, delay_s=0.2) == ([], [(0.2, 0), (0.2, 1)])

    def test_sets_stamps_forward_and_back_and_keeps_the_rest(self) -> None:
        data = serialize_message(messages.pose_to_msg(START_S + 0.75, 0.3, 0.1))
        for by_s in (-2.5, 0.5):
            pose = deserialize_message(shifted(data, by_s), type(messages.pose_to_msg(0.0, 0.0, 0.0)))
            assert convert.seconds(pose.header.stamp) == START_S + 0.75 + by_s
            assert (pose.pose.position.x, pose.pose.position.y) == (0.3, 0.1)

    def test_repeats_the_first_one_with_new_stamps(self) -> None:
        places, way = [], Way(lambda data: places.append(_pose(data)), lambda _after_s, act: act())
        way.disturb(Disturbance(freeze=True))
        for number in range(3):
            way.take(serialize_message(messages.pose_to_msg(float(number), 0.1 * number, 0.0)))
        assert [convert.seconds(one.header.stamp) for one in places] == [0.0, 1.0, 2.0]
        assert [one.pose.position.x for one in places] == [0.0, 0.0, 0.0]


def seen(at_s: float, message: object) -> Seen:
    return Seen(at_s, message, at_s)


def record(places_m: np.ndarray, period_s: float = 0.02) -> Record:
    """A pusher that was measured at these places, one after the other, and states all the while."""
    made = Record()
    for index, (x_m, y_m) in enumerate(places_m):
        at_s = START_S + index * period_s
        made.seen[PUSHER].append(seen(at_s, messages.pose_to_msg(at_s, x_m, y_m)))
        state = State(stamp_s=at_s, x=LAYOUT.pack(LAYOUT.markers_at(0.6, 0.0, 0.0), np.array([x_m, y_m])))
        made.seen[STATE].append(seen(at_s, messages.state_to_msg(state)))
    return made


def line(speed_mps: float, moving_s: float, whole_s: float, begin_m: float = 0.5) -> np.ndarray:
    """Places (n, 2) of a pusher that goes along x for a while, then stands [m; table]."""
    times_s = np.minimum(np.arange(0.0, whole_s, 0.02), moving_s)
    return np.column_stack([begin_m + speed_mps * times_s, np.zeros(len(times_s))])


def add_step(made: Record, after_s: float, x_m: float) -> None:
    at_s = START_S + after_s
    made.seen[STEP].append(seen(at_s, messages.step_to_msg(at_s, np.array([x_m, 0.0]))))


def unsafe(made: Record) -> list[str]:
    return made.unsafe(START_S, LIMITS, 0.5, stamps=True)


class TestRecord:
    def test_tells_when_a_pusher_stopped(self) -> None:
        made = record(line(0.05, 0.8, 2.0))
        assert abs(made.stopped_after_s(START_S) - 0.78) < 0.03  # a millimetre before the end
        assert abs(made.stopped_after_s(START_S + 0.5) - 0.28) < 0.03
        assert made.stopped_after_s(START_S + 1.0) == 0.0
        assert abs(made.moved_m(START_S) - 0.04) < 1e-3
        assert made.stopped_after_s(START_S, BOX) == 0.0

    def test_words_come_in_order_and_name_who_said_them(self) -> None:
        made = Record()
        for at_s, reason in ((START_S + 1.0, Reason.STALE_STATE), (START_S, Reason.RUNNING)):
            made.seen[STATUS].append(seen(at_s, messages.report("sgp/mpc", Fault(reason=reason, text="so"), {})))
        assert [(words.who, words.reason, words.text) for words in made.words(START_S)] == [
            ("status", "RUNNING", "so"),
            ("status", "STALE_STATE", "so"),
        ]

    def test_finds_nothing_unsafe_in_a_usual_push(self) -> None:
        made = record(line(0.05, 0.8, 2.0))
        add_step(made, 0.1, 0.04)
        assert unsafe(made) == []

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda made: add_step(made, 0.1, 0.08), "step_limit_m"),
            (lambda made: add_step(made, 0.1, float("nan")), "not finite"),
            (lambda made: add_step(made, 2.6, 0.04), "rests on a state 0.6"),
        ],
    )
    def test_finds_an_unsafe_step(self, change: object, words: str) -> None:
        made = record(line(0.05, 0.8, 2.0))
        change(made)  # type: ignore[operator]
        (found,) = unsafe(made)
        assert words in found

    def test_finds_a_step_and_a_pusher_outside_the_workspace(self) -> None:
        made = record(line(0.0, 0.0, 0.5, begin_m=0.94))
        add_step(made, 0.1, 0.05)
        assert "workspace_m" in unsafe(made)[0]
        assert "the measured pusher" in unsafe(record(line(0.0, 0.0, 0.1, begin_m=0.97)))[0]

    def test_finds_a_pusher_that_is_too_fast(self) -> None:
        assert "moved at 0.300 m/s" in unsafe(record(line(0.3, 0.5, 1.0)))[0]
