"""States from frames: known answers, and what a mocap room may try."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgp_core.config import EstimatorConfig
from sgp_core.estimation import Estimator
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault
from sgp_core.share import share_path
from sgp_core.types import MarkerFrame, Reason, State

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))
CONFIG = EstimatorConfig()
PUSHER = np.array([0.41, 0.02])
PERIOD_S = 0.01


def frame_of(
    markers: np.ndarray, *hidden: int, stamp_s: float = 7.0, pusher: np.ndarray = PUSHER, layout: MarkerLayout = LAYOUT
) -> MarkerFrame:
    positions = np.array(markers, dtype=float)
    positions[list(hidden)] = np.nan
    seen = np.array([index not in hidden for index in range(layout.count)])
    return MarkerFrame(stamp_s=stamp_s, positions_m=positions, visible=seen, pusher_m=pusher)


def state_of(result: State | Fault) -> State:
    assert isinstance(result, State), result
    return result


def fault_of(result: State | Fault | np.ndarray) -> Fault:
    assert isinstance(result, Fault), result
    return result


def estimated(markers: np.ndarray, *hidden: int) -> State | Fault:
    return Estimator(LAYOUT, CONFIG).estimate(frame_of(markers, *hidden))


class Camera:
    """Frames at 100 Hz with the noise of a camera, into one estimator."""

    def __init__(self, **changes: float) -> None:
        self.estimator = Estimator(LAYOUT, CONFIG.replaced(**changes))
        self.now_s = 10.0
        self.random = np.random.default_rng(0)

    def see(self, markers: np.ndarray, *hidden: int, noise_m: float = 1e-4) -> State | Fault:
        self.now_s += PERIOD_S
        noisy = markers + self.random.normal(0.0, noise_m, markers.shape) if noise_m else markers
        return self.estimator.estimate(frame_of(noisy, *hidden, stamp_s=self.now_s))

    def watch(self, markers: np.ndarray, seconds: float, *hidden: int, noise_m: float = 1e-4) -> list[State | Fault]:
        return [self.see(markers, *hidden, noise_m=noise_m) for _ in range(round(seconds / PERIOD_S))]


def states(results: Iterable[State | Fault]) -> list[bool]:
    return [isinstance(result, State) for result in results]


HERE = LAYOUT.markers_at(0.5, 0.0, 0.1)
THERE = LAYOUT.markers_at(0.8, 0.1, 0.1)


@settings(deadline=None)
@given(
    x=st.floats(0.3, 0.9),
    y=st.floats(-0.3, 0.3),
    yaw=st.floats(-3.1, 3.1),
    hidden=st.sets(st.integers(0, 4), max_size=3),
)
def test_hidden_markers_are_rebuilt_exactly(x: float, y: float, yaw: float, hidden: set[int]) -> None:
    truth = LAYOUT.markers_at(x, y, yaw)
    state = state_of(estimated(truth, *hidden))
    assert state.stamp_s == 7.0
    np.testing.assert_allclose(state.x, LAYOUT.pack(truth, PUSHER), atol=1e-9)


def test_visible_markers_pass_as_measured() -> None:
    noisy = HERE + np.random.default_rng(0).normal(0.0, 0.0005, HERE.shape)
    state = state_of(estimated(noisy, 3))
    np.testing.assert_array_equal(LAYOUT.markers(state.x)[[0, 1, 2, 4]], noisy[[0, 1, 2, 4]])
    assert np.linalg.norm(LAYOUT.markers(state.x)[3] - noisy[3]) < 0.003


def test_what_is_not_finite_or_not_visible_counts_as_hidden() -> None:
    broken, visible = HERE.copy(), np.full(5, True)
    broken[1], broken[4], visible[4] = [np.inf, 0.0], [9.0, 9.0], False
    frame = MarkerFrame(stamp_s=1.0, positions_m=broken, visible=visible, pusher_m=PUSHER)
    state = state_of(Estimator(LAYOUT, CONFIG).estimate(frame))
    np.testing.assert_allclose(LAYOUT.markers(state.x), HERE, atol=1e-9)


def test_swapped_labels_are_repaired_as_measured() -> None:
    noisy = HERE + np.random.default_rng(0).normal(0.0, 0.0005, HERE.shape)
    state = state_of(estimated(noisy[[1, 0, 2, 3, 4]]))
    np.testing.assert_array_equal(LAYOUT.markers(state.x), noisy)


def test_outlier_is_replaced_by_its_place_on_the_box() -> None:
    wrong = HERE.copy()
    wrong[2] += [0.03, 0.04]
    np.testing.assert_allclose(LAYOUT.markers(state_of(estimated(wrong)).x), HERE, atol=1e-9)


@pytest.mark.parametrize(("factor", "words"), [(1e3, "unit_m to 0.001"), (0.0, "units")])
def test_millimetres_and_zeros_are_refused_in_words(factor: float, words: str) -> None:
    fault = fault_of(estimated(HERE * factor))
    assert fault.reason == Reason.BAD_STATE
    assert words in fault.text


def test_a_rigid_box_in_millimetres_is_refused_too() -> None:
    """One body's pose in millimetres, with markers from the layout in metres."""
    fault = fault_of(estimated(LAYOUT.markers_at(500.0, 20.0, 0.1)))
    assert fault.reason == Reason.BAD_STATE
    assert "unit_m" in fault.text


def test_one_visible_marker_or_no_pusher_gives_no_state() -> None:
    few = fault_of(estimated(HERE, 1, 2, 3, 4))
    assert few.reason == Reason.BAD_STATE
    assert "1 of 5" in few.text
    blind = fault_of(Estimator(LAYOUT, CONFIG).estimate(frame_of(HERE, pusher=np.array([np.nan, 0.0]))))
    assert blind.reason == Reason.NO_PUSHER


def test_the_box_is_followed_while_the_pusher_is_not_known() -> None:
    camera = Camera()
    camera.see(HERE)
    for k in range(100):
        pose = LAYOUT.markers_at(0.5 + 0.003 * k, 0.0, 0.1)
        camera.estimator.estimate(frame_of(pose, stamp_s=10.02 + PERIOD_S * k, pusher=np.full(2, np.nan)))
    camera.now_s = 11.02
    assert isinstance(camera.see(THERE - [0.0, 0.1]), State)


# -- frozen


def test_one_frozen_marker_counts_as_hidden_after_the_timeout() -> None:
    camera, stuck = Camera(frozen_timeout_s=0.2), HERE[2].copy()
    for k in range(60):
        truth = LAYOUT.markers_at(0.5, 0.0, 0.1) + camera.random.normal(0.0, 1e-4, HERE.shape)
        truth[2] = stuck
        state = state_of(camera.see(truth, noise_m=0.0))
        assert (LAYOUT.markers(state.x)[2] == stuck).all() == (k <= 20)
    assert camera.estimator.quality["marker3"].last == "frozen"
    state_of(camera.see(HERE))
    assert camera.estimator.quality["marker3"].last == "seen"


def test_a_marker_that_froze_on_a_moving_box_is_an_outlier_at_once() -> None:
    camera, stuck = Camera(), HERE[2].copy()
    for k in range(30):
        truth = LAYOUT.markers_at(0.5 + 0.002 * k, 0.0, 0.1)
        seen = truth.copy()
        seen[2] = stuck
        state = state_of(camera.see(seen, noise_m=0.0))
        assert np.linalg.norm(LAYOUT.markers(state.x) - truth, axis=1).max() < 1.6 * CONFIG.rigid_tolerance_m
    assert camera.estimator.quality["marker3"].last == "outlier"


@pytest.mark.parametrize("hidden", [(), (0, 1, 2), (0, 1, 2, 3)])
def test_a_driver_that_repeats_itself_is_refused_until_it_moves(hidden: tuple[int, ...]) -> None:
    camera = Camera(frozen_timeout_s=0.2)
    camera.watch(HERE, 0.5)
    results = camera.watch(HERE, 0.5, *hidden, noise_m=0.0)
    if len(hidden) < 4:
        assert states(results) == [True] * 21 + [False] * 29
    fault = fault_of(results[-1])
    assert fault.reason == Reason.FROZEN_STATE
    assert "marker5" in fault.text
    assert "0.49 s" in fault.text
    assert all(states(camera.watch(HERE, 0.1)))


def test_one_live_marker_among_frozen_ones_is_a_frozen_driver() -> None:
    camera = Camera(frozen_timeout_s=0.2)
    for _ in range(40):
        seen = HERE.copy()
        seen[0] += camera.random.normal(0.0, 1e-4, 2)
        last = camera.see(seen, noise_m=0.0)
    assert fault_of(last).reason == Reason.FROZEN_STATE


def test_a_marker_hidden_in_between_stays_frozen() -> None:
    camera = Camera(frozen_timeout_s=0.2)
    camera.see(HERE, noise_m=0.0)
    camera.watch(HERE, 0.3, 0)
    seen = HERE + camera.random.normal(0.0, 1e-4, HERE.shape)
    seen[0] = HERE[0]
    camera.see(seen, noise_m=0.0)
    assert camera.estimator.quality["marker1"].last == "frozen"


def test_zero_switches_the_frozen_check_off_while_running() -> None:
    camera = Camera(frozen_timeout_s=0.2)
    assert not all(states(camera.watch(HERE, 0.5, noise_m=0.0)))
    camera.estimator.config = CONFIG.replaced(frozen_timeout_s=0.0)
    assert all(states(camera.watch(HERE, 1.0, noise_m=0.0)))


# -- jumps


@pytest.mark.parametrize("there", [THERE, LAYOUT.markers_at(0.5, 0.0, 0.1 + np.pi)], ids=["moved", "turned"])
def test_a_jump_is_believed_after_it_was_seen_for_long_enough(there: np.ndarray) -> None:
    camera = Camera(box_speed_limit_mps=0.5, reacquire_s=0.095)
    camera.watch(HERE, 0.1)
    results = camera.watch(there, 0.3)
    assert states(results) == [False] * 10 + [True] * 20
    fault = fault_of(results[0])
    assert fault.reason == Reason.BAD_STATE
    assert "jumped" in fault.text
    assert np.linalg.norm(LAYOUT.markers(state_of(results[-1]).x) - there, axis=1).max() < 0.001
    assert not isinstance(camera.see(HERE), State)  # the way back is as long


def test_a_place_seen_now_and_then_is_never_believed() -> None:
    camera = Camera(reacquire_s=0.05)
    camera.watch(HERE, 0.1)
    for k in range(200):
        wrong = k % 4 != 0
        assert isinstance(camera.see(THERE if wrong else HERE), State) != wrong


def test_time_alone_does_not_make_a_ghost_believable() -> None:
    """0.2 m away for 0.2 s: slower than box_speed_limit_mps on the whole, but not from one frame to the next."""
    camera = Camera(reacquire_s=0.25)
    camera.watch(HERE, 0.1)
    assert not any(states(camera.watch(HERE + np.array([0.2, 0.0]), 0.2)))
    assert all(states(camera.watch(HERE, 0.1)))


def test_a_doubted_place_must_itself_hold_still() -> None:
    camera = Camera(reacquire_s=0.1)
    camera.watch(HERE, 0.1)
    results = [camera.see(LAYOUT.markers_at(*camera.random.uniform(0.6, 0.9, 2), 0.0)) for _ in range(30)]
    assert not any(states(results))


def test_after_an_occlusion_the_box_may_be_elsewhere() -> None:
    """In 0.5 s it may have gone 0.75 m at 1.5 m/s; but one frame is not enough to believe that."""
    camera = Camera()
    camera.watch(HERE, 0.1)
    camera.watch(HERE, 0.5, 0, 1, 2, 3)
    assert isinstance(camera.see(THERE), Fault)
    camera.watch(THERE, EstimatorConfig().reacquire_s)
    assert isinstance(camera.see(THERE), State)


def test_fast_but_possible_motion_passes() -> None:
    camera = Camera()
    for k in range(100):
        assert isinstance(camera.see(LAYOUT.markers_at(0.4 + 0.008 * k, 0.0, 0.05 * k)), State)


def test_no_wait_means_no_doubt() -> None:
    camera = Camera(reacquire_s=0.0)
    camera.see(HERE)
    assert isinstance(camera.see(THERE), State)


def test_labels_swapped_within_the_only_visible_pair_do_not_turn_the_box() -> None:
    """The distance is right and the labels are not: only the moment before tells."""
    camera = Camera()
    camera.watch(HERE, 0.1)
    state = state_of(camera.see(HERE[[0, 1, 2, 4, 3]], 0, 1, 2))
    assert np.linalg.norm(LAYOUT.markers(state.x) - HERE, axis=1).max() < 0.003
    assert camera.estimator.quality["marker4"].last == "swapped"


def test_three_visible_with_one_foreign_are_enough_for_a_box_that_was_just_seen() -> None:
    camera, seen = Camera(), HERE.copy()
    seen[2] += [0.05, 0.02]
    assert isinstance(camera.see(seen, 0, 4), Fault)
    camera.watch(HERE, 0.1)
    assert isinstance(camera.see(seen, 0, 4), State)
    camera.now_s += 2.0  # long ago: anybody may have moved it
    assert isinstance(camera.see(seen, 0, 4), Fault)


def test_backwards_time_forgets_where_the_box_was() -> None:
    camera = Camera()
    camera.watch(HERE, 0.1)
    camera.now_s = 1.0
    assert all(states(camera.watch(THERE, 0.1)))


def test_one_disordered_frame_forgets_nothing() -> None:
    camera = Camera()
    camera.watch(HERE, 0.1)
    camera.now_s -= 0.05
    assert isinstance(camera.see(THERE), Fault)


# -- clouds


def test_cloud_becomes_frames_and_states() -> None:
    camera, noisy = Camera(), HERE + np.random.default_rng(1).normal(0.0, 1e-4, HERE.shape)
    cloud = np.vstack([[[0.9, 0.3], [0.45, 0.01]], noisy[[4, 2, 0, 1, 3]]])
    markers = camera.estimator.match_points(cloud, 10.0)
    assert isinstance(markers, np.ndarray)
    np.testing.assert_array_equal(markers, noisy)
    state_of(camera.estimator.estimate(frame_of(markers, stamp_s=10.0)))
    few = camera.estimator.match_points(cloud[[0, 2, 4]], 10.01)  # two markers and a reflection, right after
    assert isinstance(few, np.ndarray)
    assert np.isfinite(few[:, 0]).tolist() == [True, False, False, False, True]
    assert fault_of(camera.estimator.match_points(cloud[[0, 2, 4]], 12.0)).reason == Reason.BAD_STATE


# -- quality


def test_quality_counts_what_became_of_each_label() -> None:
    camera, wrong = Camera(), HERE.copy()
    camera.watch(HERE, 0.04)
    wrong[[3, 4]] = wrong[[4, 3]]
    wrong[2] += [0.03, 0.04]
    camera.see(wrong)
    camera.see(HERE * 1e3, 0)
    counts = {name: dict(quality.counts) for name, quality in camera.estimator.quality.items()}
    assert counts == {
        "marker1": {"seen": 5, "hidden": 1},
        "marker2": {"seen": 5, "refused": 1},
        "marker3": {"seen": 4, "outlier": 1, "refused": 1},
        "marker4": {"seen": 4, "swapped": 1, "refused": 1},
        "marker5": {"seen": 4, "swapped": 1, "refused": 1},
    }


def test_quality_says_how_far_a_marker_is_off() -> None:
    wrong = HERE.copy()
    wrong[2] += [0.03, 0.04]
    estimator = Estimator(LAYOUT, CONFIG)
    estimator.estimate(frame_of(wrong))
    assert estimator.quality["marker3"].residual_m == pytest.approx(0.05)
    assert estimator.quality["marker3"].words() == "now outlier, outlier 100.0 %, residual 50.0 mm"
    assert estimator.quality["marker1"].residual_m == pytest.approx(0.0, abs=1e-12)
    estimator.estimate(frame_of(HERE, 2))
    assert estimator.quality["marker3"].words() == "now hidden, outlier 50.0 %, hidden 50.0 %"
