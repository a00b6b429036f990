"""The simulated rig behaves like a box on a table, and demonstrations on it are worth learning from."""

import numpy as np
import pytest
from typer.testing import CliRunner

from sgp_core.config import SimConfig
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.goals import load_goals
from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path
from sgp_core.sim.collect import CollectConfig, collect
from sgp_core.sim.demonstrator import way_round
from sgp_core.sim.rig import Rig, clearance
from sgp_ros.cli import app
from sgp_ros.collect import settings_of

LAYOUT = MarkerLayout.load(share_path("config", "layout.yaml"))
QUIET = SimConfig(marker_noise_m=0.0)


def pushed(u, seconds=1.0, **rig) -> Rig:
    made = Rig(LAYOUT, QUIET, **rig)
    made.advance(0.5)
    made.move(made.pusher(), np.array(u), seconds)
    made.advance(1.0)
    return made


def test_the_box_stays_where_nobody_pushes():
    rig = Rig(LAYOUT, QUIET, (0.6, 0.1, 0.4), (0.4, 0.0))
    rig.advance(20.0)
    np.testing.assert_allclose(rig.box_pose(), (0.6, 0.1, 0.4), atol=2e-4)
    assert rig.time_s == pytest.approx(20.0)


def test_a_straight_push_moves_the_box_by_what_is_left_after_the_gap():
    rig = pushed([0.05, 0.0])
    gap = 0.50 - 0.0867 / 2 - 0.035 - 0.41
    x, y, yaw = rig.box_pose()
    assert x - 0.50 == pytest.approx(0.05 - gap, abs=2e-3)
    assert (y, yaw) == pytest.approx((0.0, 0.0), abs=2e-3)


def test_a_push_beside_the_centre_turns_the_box():
    left, right = (pushed([0.05, 0.0], pusher_m=(0.41, y)).box_pose()[2] for y in (0.05, -0.05))
    assert left < -0.1
    assert right > 0.1
    assert left == pytest.approx(-right, abs=0.02)  # the world is symmetric


def test_the_box_stops_when_the_pusher_stops_whatever_the_mass():
    for mass in (0.25, 1.0):
        rig = Rig(LAYOUT, QUIET.replaced(mass_kg=mass))
        rig.move(rig.pusher(), np.array([0.05, 0.0]), 1.0)
        rig.advance(0.2)  # the servo settles
        before = rig.box_pose()
        rig.advance(2.0)
        np.testing.assert_allclose(rig.box_pose(), before, atol=1e-3)  # quasistatic


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_box_that_is_heavier_on_one_side_stays_behind_there(side):
    rig = Rig(LAYOUT, QUIET.replaced(mass_offset_m=(0.0, side * 0.015)))
    rig.move(rig.pusher(), np.array([0.05, 0.0]), 1.0)
    assert rig.box_pose()[2] * side > 0.05  # pushed through its middle


def test_a_hand_puts_the_box_where_it_is_wanted():
    rig = pushed([0.05, 0.0])
    rig.put_box((0.6, 0.1, 0.4))
    rig.advance(1.0)
    np.testing.assert_allclose(rig.box_pose(), (0.6, 0.1, 0.4), atol=2e-4)  # it lies, at rest
    with pytest.raises(InputError, match="overlaps the pusher"):
        rig.put_box((float(rig.pusher()[0]), float(rig.pusher()[1]), 0.0))
    np.testing.assert_allclose(rig.box_pose(), (0.6, 0.1, 0.4), atol=2e-4)


def test_noise_is_as_asked_and_by_seed():
    first, again, other = (Rig(LAYOUT, SimConfig(marker_noise_m=0.001, seed=s)) for s in (1, 1, 2))
    samples = np.array([first.noisy_markers() - first.markers() for _ in range(2000)])
    assert samples.std() == pytest.approx(0.001, rel=0.05)
    np.testing.assert_array_equal(again.noisy_markers() - again.markers(), samples[0])
    assert not np.array_equal(other.noisy_markers(), again.noisy_markers())


def test_a_pusher_inside_the_box_is_refused():
    with pytest.raises(InputError, match="overlaps the box"):
        Rig(LAYOUT, QUIET, pusher_m=(0.47, 0.0))


@pytest.mark.parametrize(("point", "expected"), [((0.40, 0.0), 0.02165), ((0.5, 0.2), 0.07985), ((0.5, 0.0), -0.07835)])
def test_clearance(point, expected):
    assert clearance(LAYOUT, (0.5, 0.0, 0.0), np.array(point)) == pytest.approx(expected, abs=1e-9)


def test_the_way_to_the_other_side_goes_round_the_box():
    box, pusher, target = (0.6, 0.0, 0.0), np.array([0.5, 0.0]), np.array([0.7, 0.0])
    for _ in range(40):
        ahead = way_round(LAYOUT, box, pusher, target) - pusher
        pusher = pusher + ahead * min(1.0, 0.02 / max(np.linalg.norm(ahead), 1e-9))
        assert clearance(LAYOUT, box, pusher) > 0.0
    np.testing.assert_allclose(pusher, target, atol=1e-3)


def test_demonstrations_push_from_all_sides_and_rest():
    data = collect(LAYOUT, CollectConfig(demonstrations=25, seed=3), SimConfig())
    assert 100 < len(data) <= 25 * CollectConfig().longest
    moved = np.linalg.norm(data.layout.markers(data.x_next - data.x), axis=-1).mean(axis=-1) > 0.002
    assert 0.25 < moved.mean() < 0.8
    rest = np.abs(data.u).max(axis=1) < 1e-3
    assert 0.02 < rest.mean() < 0.3
    # Directions of the pushes that moved the box, in the box frame: more than one side.
    poses = np.array([data.layout.pose_of(m) for m in data.layout.markers(data.x)])
    angle = np.arctan2(data.u[:, 1], data.u[:, 0])[moved] - poses[moved, 2]
    assert len(np.unique(np.round(angle / (np.pi / 2)) % 4)) >= 3
    # Realised displacement: near the commanded one, and exactly what the state says.
    np.testing.assert_allclose(data.u, data.x_next[:, -2:] - data.x[:, -2:])
    assert np.abs(data.u - data.u_commanded).max() < 0.01


def test_another_box_comes_from_its_files_alone(tmp_path):
    folder = share_path("config", "examples", "second_rig")
    layout, told = MarkerLayout.load(folder / "layout.yaml"), ["--settings", str(folder / "collect.yaml")]
    words = ["collect", "--layout", str(folder / "layout.yaml"), *told, "--demonstrations", "6", "-o"]
    assert (
        CliRunner()
        .invoke(app, [*words, str(tmp_path / "data.npz"), "--set", "anywhere=0", "--set", "play=0"])
        .exit_code
        == 0
    )
    data = Transitions.load(tmp_path / "data.npz")
    assert data.layout == layout
    assert data.x.shape[1] == layout.state_size == 2 * 8 + 2
    starts = [layout.pose_of(layout.markers(data.x[data.demonstration == k])[0]) for k in range(6)]
    assert (np.abs(np.array(starts) - (0.48, 0.06, 0.2)) < (0.031, 0.051, 0.31)).all()  # as start_spread says
    assert sorted(load_goals(folder / "goals.yaml")) == ["bin", "gate", "shelf"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("box_start: [0.5, 0.0]", "box_start = (0.5, 0.0) needs three numbers: x, y, yaw"),
        ("goal_low: [0.9, 0.0, 0.0]", "goal_low = (0.9, 0.0, 0.0) must not exceed goal_high"),
        ("seed: 3", "seed is no setting of a collection; give --seed"),
        ("goals: 3", "goals is no setting of a collection; known are anywhere, box_start"),
        ("- 1", "must hold lines like"),
        ("{", "is not YAML"),
    ],
)
def test_settings_that_make_no_sense_are_refused(text, words, tmp_path):
    (tmp_path / "collect.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        settings_of(tmp_path / "collect.yaml", {})
    assert f"settings file {tmp_path / 'collect.yaml'}" in str(caught.value)
    assert words in str(caught.value)


def test_collect_is_reproducible_and_a_demonstration_does_not_depend_on_the_others():
    few, more = (collect(LAYOUT, CollectConfig(demonstrations=n, seed=5), SimConfig()) for n in (2, 3))
    again = collect(LAYOUT, CollectConfig(demonstrations=2, seed=5), SimConfig())
    assert few.sha256 == again.sha256
    np.testing.assert_array_equal(more.select(more.demonstration < 2).x, few.x)
