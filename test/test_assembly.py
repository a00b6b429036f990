"""Frames from samples, against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.assembly import FrameAssembler
from sgp_core.config import EstimatorConfig
from sgp_core.types import MarkerFrame

NAMES = ("m1", "m2", "m3", "m4")
PLACES = np.array([[0.03, 0.06], [-0.03, 0.05], [0.01, -0.07], [-0.02, -0.03]])
MARKERS = PLACES + np.array([0.5, 0.0])
PUSHER = np.array([0.41, 0.02])


def assembler(**changes: float) -> FrameAssembler:
    return FrameAssembler(NAMES, EstimatorConfig().replaced(**changes))


def moved(k: int) -> np.ndarray:
    """Markers of frame k: 1 mm further each time."""
    return MARKERS + np.array([0.001 * k, 0.0])


def feed(frames: FrameAssembler, stamp_s: float, markers: np.ndarray, skip: tuple[str, ...] = ()) -> list[MarkerFrame]:
    """One camera frame: the markers that are seen, then the pusher, all with one stamp."""
    out: list[MarkerFrame] = []
    for name, position in zip(NAMES, markers, strict=True):
        if name not in skip:
            out += frames.add_marker(name, stamp_s, position)
    return out + frames.add_pusher(stamp_s, PUSHER + np.array([0.1 * stamp_s, 0.0]))


def test_full_frame_leaves_at_once_with_its_own_stamp() -> None:
    (frame,) = feed(assembler(), 10.0, MARKERS)
    assert frame.stamp_s == 10.0
    assert frame.visible.all()
    np.testing.assert_array_equal(frame.positions_m, MARKERS)
    np.testing.assert_allclose(frame.pusher_m, PUSHER + np.array([1.0, 0.0]))


def test_every_frame_at_100_hz_is_assembled_although_the_tolerance_spans_two() -> None:
    frames = assembler(sync_tolerance_s=0.02)
    out = []
    for k in range(200):
        out += feed(frames, 10.0 + 0.01 * k, moved(k))
    assert len(out) == 200
    assert all(frame.visible.all() for frame in out)
    assert frames.counts["late"] == 0


def test_hidden_marker_leaves_after_the_tolerance_and_is_never_filled_from_another_frame() -> None:
    frames = assembler(sync_tolerance_s=0.02)
    out: list[MarkerFrame] = []
    for k in range(100):
        out += feed(frames, 10.0 + 0.01 * k, moved(k), ("m2",) if k % 5 == 4 else ())
    for frame in out[40:]:
        k = round((frame.stamp_s - 10.0) / 0.01)
        np.testing.assert_allclose(frame.positions_m[frame.visible], moved(k)[frame.visible])
        assert frame.visible.tolist() == [True, k % 5 != 4, True, True]
    assert [round((f.stamp_s - 10.0) / 0.01) for f in out] == sorted({round((f.stamp_s - 10.0) / 0.01) for f in out})


def test_a_long_occlusion_does_not_widen_the_frames() -> None:
    """A gap of 2 s must not be taken for the period: then a sample of the next frame would fill a hidden marker."""
    frames, out = assembler(sync_tolerance_s=0.02), []
    for k in range(400):
        skip = ("m1",) if 150 <= k < 350 or k % 7 == 0 else ()
        out += feed(frames, 10.0 + 0.01 * k, moved(k), skip)
    for frame in out[40:]:
        k = round((frame.stamp_s - 10.0) / 0.01)
        assert frame.visible.tolist() == [not (150 <= k < 350 or k % 7 == 0), True, True, True]
        np.testing.assert_allclose(frame.positions_m[frame.visible], moved(k)[frame.visible])


def test_frame_waits_for_the_pusher_then_interpolates_it_exactly() -> None:
    frames = assembler()
    assert frames.add_pusher(9.99, np.array([0.40, 0.0])) == []
    for name, position in zip(NAMES, MARKERS, strict=True):
        assert frames.add_marker(name, 10.0, position) == []
    (frame,) = frames.add_pusher(10.03, np.array([0.44, 0.08]))
    np.testing.assert_allclose(frame.pusher_m, [0.41, 0.02])


@pytest.mark.parametrize(("age_s", "known"), [(0.015, True), (0.03, False)])
def test_pusher_on_one_side_only_must_be_near(age_s: float, known: bool) -> None:
    frames = assembler()
    frames.add_pusher(10.0 - age_s, PUSHER)
    for name, position in zip(NAMES, MARKERS, strict=True):
        assert frames.add_marker(name, 10.0, position) == []
    (frame,) = frames.add_marker("m1", 10.05, MARKERS[0])  # newer than the frame by more than the tolerance
    assert np.isfinite(frame.pusher_m).all() == known
    if known:
        np.testing.assert_array_equal(frame.pusher_m, PUSHER)


@pytest.mark.parametrize(("gap_s", "known"), [(0.25, False), (0.5, True)])
def test_pusher_is_not_invented_across_a_gap_longer_than_allowed(gap_s: float, known: bool) -> None:
    frames = assembler(pusher_gap_s=gap_s)
    frames.add_pusher(9.8, PUSHER)
    for name, position in zip(NAMES, MARKERS, strict=True):
        frames.add_marker(name, 10.0, position)
    (frame,) = frames.add_pusher(10.2, PUSHER)  # the frame no longer waits, but 0.4 s lie between the samples
    assert np.isfinite(frame.pusher_m).all() == known


def test_samples_further_apart_than_the_tolerance_do_not_meet() -> None:
    frames = assembler(sync_tolerance_s=0.005)
    frames.add_marker("m1", 10.0, MARKERS[0])
    out = frames.add_marker("m2", 10.006, MARKERS[1])
    assert [frame.visible.tolist() for frame in out] == [[True, False, False, False]]


def test_pusher_that_outruns_the_camera_does_not_break_frames() -> None:
    frames, out = assembler(), []
    for k in range(50):
        now_s = 10.0 + 0.01 * k
        out += frames.add_pusher(now_s, np.array([0.4 + 0.1 * (now_s - 10.0), 0.0]))
        for name, position in zip(NAMES, MARKERS, strict=True):
            out += frames.add_marker(name, now_s - 0.055, position)
    assert len(out) == 50
    assert all(frame.visible.all() for frame in out)
    np.testing.assert_allclose(out[-1].pusher_m, [0.4 + 0.1 * (out[-1].stamp_s - 10.0), 0.0])


def test_late_sample_is_dropped_and_counted() -> None:
    frames = assembler()
    feed(frames, 10.0, MARKERS)
    assert frames.add_marker("m1", 9.99, MARKERS[0]) == []
    assert frames.add_marker("m1", 10.0, MARKERS[0]) == []
    assert frames.add_pusher(10.0, PUSHER) == []
    assert frames.counts["late"] == 3


def test_sample_that_comes_twice_counts_once() -> None:
    frames = assembler()
    for name, position in zip(NAMES, MARKERS, strict=True):
        assert frames.add_marker(name, 10.0, position) == []
        assert frames.add_marker(name, 10.0, position) == []
    assert len(frames.add_pusher(10.0, PUSHER)) == 1
    assert frames.add_pusher(10.1, PUSHER) == []
    assert frames.counts["late"] == 4


def test_backwards_time_clears_and_starts_again() -> None:
    frames = assembler()
    feed(frames, 100.0, MARKERS)
    (frame,) = feed(frames, 3.0, MARKERS)
    assert frame.stamp_s == 3.0
    assert frames.counts["cleared"] == 1


@pytest.mark.parametrize("ahead_s", [-2.0, 1.1])
def test_two_clocks_that_are_apart_do_not_stop_the_frames_and_give_no_pusher(ahead_s: float) -> None:
    """Each sample of the one looks like a clock set back beside the other's, or tells where the pusher was long ago."""
    frames, left = assembler(), []
    for number in range(300):
        stamp_s = 100.0 + 0.01 * number
        for name, position in zip(NAMES, MARKERS, strict=True):
            left += frames.add_marker(name, stamp_s, position)
        left += frames.add_pusher(stamp_s + ahead_s, PUSHER)
    assert len(left) > 290
    assert all(np.isnan(frame.pusher_m).all() for frame in left)
    assert frames.counts["cleared"] == 0


def test_whole_frames_wait_for_the_pusher_and_keep_their_hidden_markers() -> None:
    frames, hidden = assembler(), MARKERS.copy()
    hidden[1] = np.nan
    assert frames.add_pusher(9.99, PUSHER) == []
    assert frames.add_frame(10.0, hidden) == []
    assert frames.add_frame(10.004, MARKERS) == []
    first, second = frames.add_pusher(10.01, PUSHER)
    assert (first.stamp_s, first.visible.tolist()) == (10.0, [True, False, True, True])
    assert (second.stamp_s, second.visible.tolist()) == (10.004, [True] * 4)
    assert (frames.counts["frames"], frames.counts["hidden"]) == (2, 1)


def test_whole_frame_without_a_pusher_leaves_after_the_tolerance() -> None:
    frames = assembler(sync_tolerance_s=0.02)
    assert frames.add_frame(10.0, MARKERS) == []
    (frame,) = frames.add_frame(10.03, MARKERS)
    assert frame.stamp_s == 10.0
    assert np.isnan(frame.pusher_m).all()


def test_late_repeated_and_disordered_whole_frames_are_dropped_and_counted() -> None:
    frames, stamps = assembler(), []
    for stamp_s in (10.00, 10.01, 10.01, 10.005, 10.02, 9.5, 10.03):
        stamps += [frame.stamp_s for frame in frames.add_frame(stamp_s, moved(0))]
        stamps += [frame.stamp_s for frame in frames.add_pusher(stamp_s + 0.001, PUSHER)]
    assert stamps == [10.00, 10.01, 10.02, 10.03]
    assert frames.counts["late"] == 3 + 3  # and the pusher samples that came with them


def test_whole_frame_does_not_hand_out_the_callers_array() -> None:
    frames, markers = assembler(), MARKERS.copy()
    frames.add_frame(10.0, markers)
    markers[:] = 0.0
    (frame,) = frames.add_pusher(10.0, PUSHER)
    np.testing.assert_array_equal(frame.positions_m, MARKERS)


def bunched(frames: int, apart_s: float) -> list[tuple[float, str, int]]:
    """Samples of 250 Hz frames, stamped on receipt in bunches of two: stamp, name, frame."""
    return [
        (10.0 + 0.008 * (k // 2) + (k % 2) * apart_s + i * 0.3 * apart_s, name, k)
        for k in range(frames)
        for i, name in enumerate(NAMES)
    ]


def test_bunched_receive_stamps_do_not_split_frames() -> None:
    """Half of the gaps between a marker's samples are microseconds: they must not be taken for the period."""
    frames, out = assembler(), []
    for stamp_s, name, k in bunched(60, 2e-5):
        out += frames.add_marker(name, stamp_s, np.array([float(k), 0.0]))
        out += frames.add_pusher(stamp_s, PUSHER)
    assert [frame.positions_m[:, 0].tolist() for frame in out] == [[float(k)] * 4 for k in range(60)]


@settings(max_examples=30, deadline=None)
@given(
    apart_s=st.sampled_from([1e-6, 2e-5, 1e-4]),
    others=st.permutations(NAMES[1:]),
    hidden=st.lists(st.tuples(st.integers(1, 3), st.integers(20, 59)), max_size=12),
)
def test_bunched_receive_stamps_neither_mix_frames_nor_stall(
    apart_s: float, others: list[str], hidden: list[tuple[int, int]]
) -> None:
    """Topics of one bunch may be taken in any order after the first one, as long as each topic keeps its own."""
    gone = {(NAMES[index], k) for index, k in hidden}
    order = [NAMES[0], *others]
    samples = [sample for sample in bunched(60, apart_s) if (sample[1], sample[2]) not in gone]

    def turn(sample: tuple[float, str, int]) -> tuple[int, int, int]:
        _, name, k = sample
        return (k // 2, order.index(name), k)

    frames, out = assembler(), []
    for stamp_s, name, k in sorted(samples, key=turn):
        out += frames.add_marker(name, stamp_s, np.array([float(k), 0.0]))
        out += frames.add_pusher(stamp_s, PUSHER)
    late = [frame for frame in out if frame.positions_m[0, 0] >= 20]
    assert [frame.positions_m[0, 0] for frame in late] == sorted({float(k) for k in range(20, 60)})[: len(late)]
    assert len(late) >= 40 - 10  # the last ones still wait
    for frame in late:
        k = int(frame.positions_m[0, 0])
        assert set(frame.positions_m[frame.visible, 0].tolist()) == {float(k)}
        assert frame.visible.tolist() == [(name, k) not in gone for name in NAMES]


@pytest.mark.parametrize(
    "arrival", ["1a 1b 2b 3a 3b 4b", "1a 2b 1b 3a 3b 4b", "2b 1a 1b 3a 3b 4b", "1a 3a 2b 4b 3b 1b"]
)
def test_a_sample_that_joined_the_frame_before_its_own_moves_on(arrival: str) -> None:
    """Frame a, without markers 2 and 4, and frame b, stamped on receipt 20 us apart, as one bunch."""
    frames, out = assembler(), []
    for sample in arrival.split():
        index, late = int(sample[0]) - 1, sample[1] == "b"
        out += frames.add_marker(NAMES[index], 10.0 + 5e-6 * index + 2e-5 * late, np.array([float(late), 0.0]))
    first, second = out + frames.add_pusher(10.1, PUSHER)
    assert first.visible.tolist() == [True, False, True, False]
    assert second.visible.all()
    assert set(first.positions_m[first.visible, 0]) == {0.0}
    assert set(second.positions_m[:, 0]) == {1.0}
    assert first.stamp_s < second.stamp_s
