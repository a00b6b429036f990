"""Frames from samples and states from frames, against known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgp_core.config import EstimatorConfig, FramesConfig
from sgp_core.errors import InputError
from sgp_core.estimation import FrameAssembler, estimate, table_rows, to_table
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.types import MarkerFrame, Reason, State

LAYOUT = MarkerLayout(
    names=("m1", "m2", "m3", "m4"),
    places_m=((0.03, 0.06), (-0.03, 0.05), (0.01, -0.07), (-0.02, -0.03)),
    box_size_m=(0.0867, 0.1703, 0.0391),
    pusher_radius_m=0.035,
)
CONFIG = EstimatorConfig()
PUSHER = np.array([0.41, 0.02])


def assembler(**changes: float) -> FrameAssembler:
    return FrameAssembler(LAYOUT.names, CONFIG.replaced(**changes))


def feed(frames: FrameAssembler, stamp_s: float, markers: np.ndarray, skip: tuple[str, ...] = ()) -> list[MarkerFrame]:
    """One camera frame: the markers that are seen, then the pusher, all with one stamp."""
    out: list[MarkerFrame] = []
    for name, position in zip(LAYOUT.names, markers, strict=True):
        if name not in skip:
            out += frames.add_marker(name, stamp_s, position)
    return out + frames.add_pusher(stamp_s, PUSHER + np.array([0.1 * stamp_s, 0.0]))


def test_full_frame_leaves_at_once_with_its_own_stamp() -> None:
    frames, markers = assembler(), LAYOUT.markers_at(0.5, 0.0, 0.3)
    (frame,) = feed(frames, 10.0, markers)
    assert frame.stamp_s == 10.0
    assert frame.visible.all()
    np.testing.assert_array_equal(frame.positions_m, markers)
    np.testing.assert_allclose(frame.pusher_m, PUSHER + np.array([1.0, 0.0]))


def test_every_frame_at_100_hz_is_assembled_although_the_tolerance_spans_two() -> None:
    frames = assembler(sync_tolerance_s=0.02)
    out = []
    for k in range(200):
        out += feed(frames, 10.0 + 0.01 * k, LAYOUT.markers_at(0.5 + 0.001 * k, 0.0, 0.0))
    assert len(out) == 200
    assert all(frame.visible.all() for frame in out)
    assert frames.counts["late"] == 0


def test_hidden_marker_leaves_after_the_tolerance_and_is_never_filled_from_another_frame() -> None:
    frames = assembler(sync_tolerance_s=0.02)
    out: list[MarkerFrame] = []
    for k in range(100):
        skip = ("m2",) if k % 5 == 4 else ()
        out += feed(frames, 10.0 + 0.01 * k, LAYOUT.markers_at(0.5 + 0.001 * k, 0.0, 0.0), skip)
    for frame in out[40:]:
        k = round((frame.stamp_s - 10.0) / 0.01)
        truth = LAYOUT.markers_at(0.5 + 0.001 * k, 0.0, 0.0)
        np.testing.assert_allclose(frame.positions_m[frame.visible], truth[frame.visible])
        assert frame.visible.tolist() == [True, k % 5 != 4, True, True]
    assert [round((f.stamp_s - 10.0) / 0.01) for f in out] == sorted({round((f.stamp_s - 10.0) / 0.01) for f in out})


def test_frame_waits_for_the_pusher_then_interpolates_it_exactly() -> None:
    frames, markers = assembler(), LAYOUT.markers_at(0.5, 0.0, 0.0)
    assert frames.add_pusher(9.99, np.array([0.40, 0.0])) == []
    for name, position in zip(LAYOUT.names, markers, strict=True):
        assert frames.add_marker(name, 10.0, position) == []
    (frame,) = frames.add_pusher(10.03, np.array([0.44, 0.08]))
    np.testing.assert_allclose(frame.pusher_m, [0.41, 0.02])


def test_pusher_on_one_side_only_must_be_near() -> None:
    markers = LAYOUT.markers_at(0.5, 0.0, 0.0)
    for age_s, known in ((0.015, True), (0.03, False)):
        frames = assembler()
        frames.add_pusher(10.0 - age_s, PUSHER)
        for name, position in zip(LAYOUT.names, markers, strict=True):
            assert frames.add_marker(name, 10.0, position) == []
        (frame,) = frames.add_marker("m1", 10.05, markers[0])  # newer than the frame by more than the tolerance
        assert np.isfinite(frame.pusher_m).all() == known
        if known:
            np.testing.assert_array_equal(frame.pusher_m, PUSHER)


def test_pusher_is_not_invented_across_a_long_gap() -> None:
    frames, markers = assembler(), LAYOUT.markers_at(0.5, 0.0, 0.0)
    frames.add_pusher(9.8, PUSHER)
    for name, position in zip(LAYOUT.names, markers, strict=True):
        frames.add_marker(name, 10.0, position)
    (frame,) = frames.add_pusher(10.2, PUSHER)  # the frame no longer waits, but 0.4 s lie between the samples
    assert np.isnan(frame.pusher_m).all()


def test_samples_further_apart_than_the_tolerance_do_not_meet() -> None:
    frames, markers = assembler(sync_tolerance_s=0.005), LAYOUT.markers_at(0.5, 0.0, 0.0)
    frames.add_marker("m1", 10.0, markers[0])
    out = frames.add_marker("m2", 10.006, markers[1])
    assert [frame.visible.tolist() for frame in out] == [[True, False, False, False]]


def test_pusher_that_outruns_the_camera_does_not_break_frames() -> None:
    frames, out = assembler(), []
    for k in range(50):
        now_s = 10.0 + 0.01 * k
        out += frames.add_pusher(now_s, np.array([0.4 + 0.1 * (now_s - 10.0), 0.0]))
        for name, position in zip(LAYOUT.names, LAYOUT.markers_at(0.5, 0.0, 0.0), strict=True):
            out += frames.add_marker(name, now_s - 0.055, position)
    assert len(out) == 50
    assert all(frame.visible.all() for frame in out)
    np.testing.assert_allclose(out[-1].pusher_m, [0.4 + 0.1 * (out[-1].stamp_s - 10.0), 0.0])


def test_late_sample_is_dropped_and_counted() -> None:
    frames, markers = assembler(), LAYOUT.markers_at(0.5, 0.0, 0.0)
    feed(frames, 10.0, markers)
    assert frames.add_marker("m1", 9.99, markers[0]) == []
    assert frames.add_marker("m1", 10.0, markers[0]) == []
    assert frames.add_pusher(10.0, PUSHER) == []
    assert frames.counts["late"] == 3


def test_backwards_time_clears_and_starts_again() -> None:
    frames, markers = assembler(), LAYOUT.markers_at(0.5, 0.0, 0.0)
    feed(frames, 100.0, markers)
    (frame,) = feed(frames, 3.0, markers)
    assert frame.stamp_s == 3.0
    assert frames.counts["cleared"] == 1


def frame_of(markers: np.ndarray, visible: list[bool] | None = None, pusher: np.ndarray = PUSHER) -> MarkerFrame:
    seen = np.array([True] * LAYOUT.count if visible is None else visible)
    return MarkerFrame(stamp_s=7.0, positions_m=np.where(seen[:, None], markers, np.nan), visible=seen, pusher_m=pusher)


@given(
    x=st.floats(0.3, 0.9),
    y=st.floats(-0.3, 0.3),
    yaw=st.floats(-3.1, 3.1),
    visible=st.lists(st.booleans(), min_size=4, max_size=4).filter(lambda seen: sum(seen) >= 2),
)
def test_hidden_markers_are_rebuilt_exactly(x: float, y: float, yaw: float, visible: list[bool]) -> None:
    truth = LAYOUT.markers_at(x, y, yaw)
    state = estimate(frame_of(truth, visible), LAYOUT, CONFIG)
    assert isinstance(state, State)
    assert state.stamp_s == 7.0
    np.testing.assert_allclose(state.x, LAYOUT.pack(truth, PUSHER), atol=1e-9)


def test_visible_markers_pass_as_measured() -> None:
    noisy = LAYOUT.markers_at(0.5, 0.0, 0.1) + np.random.default_rng(0).normal(0.0, 0.0005, (4, 2))
    state = estimate(frame_of(noisy, [True, True, True, False]), LAYOUT, CONFIG)
    assert isinstance(state, State)
    np.testing.assert_array_equal(LAYOUT.markers(state.x)[:3], noisy[:3])
    assert np.linalg.norm(LAYOUT.markers(state.x)[3] - noisy[3]) < 0.003


def test_non_finite_marker_counts_as_hidden() -> None:
    truth = LAYOUT.markers_at(0.5, 0.0, 0.1)
    broken = truth.copy()
    broken[1] = [np.inf, 0.0]
    state = estimate(
        MarkerFrame(stamp_s=1.0, positions_m=broken, visible=np.full(4, True), pusher_m=PUSHER), LAYOUT, CONFIG
    )
    assert isinstance(state, State)
    np.testing.assert_allclose(LAYOUT.markers(state.x), truth, atol=1e-9)


@pytest.mark.parametrize("factor", [1e3, 0.0])
def test_millimetres_or_zeros_break_the_rigid_shape(factor: float) -> None:
    fault = estimate(frame_of(LAYOUT.markers_at(0.5, 0.0, 0.1) * factor), LAYOUT, CONFIG)
    assert isinstance(fault, Fault)
    assert fault.reason == Reason.BAD_STATE
    assert "units" in fault.text


def test_swapped_markers_are_refused_by_name() -> None:
    fault = estimate(frame_of(LAYOUT.markers_at(0.5, 0.0, 0.1)[[1, 0, 2, 3]]), LAYOUT, CONFIG)
    assert isinstance(fault, Fault)
    assert fault.reason == Reason.BAD_STATE
    assert any(name in fault.text for name in LAYOUT.names)


def test_one_visible_marker_or_no_pusher_gives_no_state() -> None:
    truth = LAYOUT.markers_at(0.5, 0.0, 0.1)
    few = estimate(frame_of(truth, [True, False, False, False]), LAYOUT, CONFIG)
    assert isinstance(few, Fault)
    assert few.reason == Reason.BAD_STATE
    assert "1 of 4" in few.text
    blind = estimate(frame_of(truth, pusher=np.array([np.nan, 0.0])), LAYOUT, CONFIG)
    assert isinstance(blind, Fault)
    assert blind.reason == Reason.NO_PUSHER


def test_table_from_mocap_y_up() -> None:
    """A y-up mocap frame standing at (0.1, 0.2) of the table: its y is the table's z, its z the table's -y."""
    rows = table_rows((0.1, 0.2, 0.0, np.pi / 2, 0.0, 0.0))
    np.testing.assert_allclose(to_table(rows, np.array([1.0, 5.0, 2.0])), [1.1, -1.8], atol=1e-12)
    np.testing.assert_allclose(to_table(table_rows((0.0,) * 6), np.array([1.0, 2.0, 3.0])), [1.0, 2.0])
    turned = table_rows((0.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2))
    np.testing.assert_allclose(to_table(turned, np.array([1.0, 0.0, 9.0])), [0.0, 1.0], atol=1e-12)


def test_table_from_mocap_needs_six_numbers() -> None:
    with pytest.raises(InputError, match="table_from_mocap"):
        FramesConfig(table_from_mocap=(0.0, 0.0))
