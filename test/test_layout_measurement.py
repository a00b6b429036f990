"""The marker layout from a box that is moved by hand: known layouts come back, loose and look-alike ones are told."""

import numpy as np
import pytest
import yaml

from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout
from sgp_core.layout_measurement import layout_yaml, measure_layout
from sgp_core.look_alike import look_alike
from sgp_core.marker_tracks import Recording, Sample, load_samples, tracks_of

LAYOUT = MarkerLayout(
    names=("a", "b", "c", "d", "e"),
    places_m=((0.030, 0.065), (-0.032, 0.048), (0.012, 0.002), (-0.025, -0.055), (0.034, -0.070)),
    box_size_m=(0.0867, 0.1703, 0.0391),
    pusher_radius_m=0.035,
)
BOX_AT = (0.6, -0.1, 0.4)
SIZES = {"box_size_m": LAYOUT.box_size_m, "pusher_radius_m": LAYOUT.pusher_radius_m}


def recorded(
    *,
    noise_m=3e-4,
    hidden=0.0,
    swapped=0.0,
    labelled=True,
    loose_m=0.0,
    still=False,
    seed=0,
    rate_hz=100.0,
    layout=LAYOUT,
) -> list[Sample]:
    """Two seconds at rest, six moved about; markers of one frame are stamped 0.1 ms apart."""
    draw = np.random.default_rng(seed)
    samples = []
    for frame in range(int(8.0 * rate_hz)):
        time_s = frame / rate_hz
        phase = 0.0 if still else max(0.0, time_s - 2.0)
        x, y, yaw = BOX_AT + np.array([0.1, 0.1, 0.8]) * np.sin(np.array([1.0, 0.7, 0.9]) * phase)
        markers = layout.markers_at(x, y, yaw) + draw.normal(0.0, noise_m, (layout.count, 2))
        markers[2] += loose_m * np.sin(3.0 * time_s)
        if draw.random() < swapped:
            markers[[0, 3]] = markers[[3, 0]]
        for n in range(layout.count) if labelled else draw.permutation(layout.count):
            if draw.random() >= hidden:
                name, stamp_s = (layout.names[n], time_s + 1e-4 * n) if labelled else ("", time_s)
                samples.append(Sample(stamp_s=stamp_s, name=name, position_m=(*map(float, markers[n]), 0.05)))
    return samples


def measured(samples: list[Sample], names: tuple[str, ...] = (), box_at=BOX_AT):
    return measure_layout(tracks_of(samples, names), box_at=box_at, **SIZES)


class TestPlaces:
    @pytest.mark.parametrize(
        "how", [{}, {"noise_m": 1e-3}, {"hidden": 0.2}, {"swapped": 0.05}, {"rate_hz": 240.0}], ids=str
    )
    def test_the_layout_comes_back(self, how):
        found = measured(recorded(**how))
        assert found.layout.names == LAYOUT.names
        assert np.abs(found.layout.places - LAYOUT.places).max() < 2e-4
        # Of a frame's ten coordinates, the pose takes up three.
        assert found.rigidity_m == pytest.approx(how.get("noise_m", 3e-4) * np.sqrt(2 * 7 / 10), rel=0.2)
        assert found.warnings == ()
        assert (found.dropped > 0) == ("swapped" in how)

    @pytest.mark.parametrize("hidden", [0.0, 0.1])
    def test_unlabelled_points_are_followed_and_reflections_drop_out(self, hidden):
        samples = recorded(labelled=False, hidden=hidden)
        stamps = sorted({sample.stamp_s for sample in samples})
        samples += [Sample(stamp_s=stamp_s, name="", position_m=(0.3, 0.3, 0.0)) for stamp_s in stamps]
        found = measured(samples)
        assert found.layout.names == ("marker1", "marker2", "marker3", "marker4", "marker5")
        nearest = np.linalg.norm(found.layout.places[:, None] - LAYOUT.places[None], axis=-1)
        assert sorted(nearest.argmin(axis=0)) == [0, 1, 2, 3, 4]
        assert nearest.min(axis=0).max() < 2e-4

    def test_without_a_pose_the_origin_is_the_middle(self):
        found = measured(recorded(), box_at=None)
        assert np.abs(found.layout.places.mean(axis=0)).max() < 1e-4
        assert any("--box-at" in text for text in found.warnings)

    def test_names_choose_and_order_the_markers(self):
        assert measured(recorded(), ("e", "a", "c")).layout.names == ("e", "a", "c")

    def test_the_file_is_a_layout(self, tmp_path):
        found = measured(recorded())
        path = tmp_path / "layout.yaml"
        path.write_text(layout_yaml(found.layout, "measured"))
        assert MarkerLayout.load(path) == found.layout
        assert path.read_text().startswith("# measured\n")
        assert set(yaml.safe_load(path.read_text())) == {"names", "places_m", "box_size_m", "pusher_radius_m"}


class TestRefusals:
    @pytest.mark.parametrize("loose_m", [0.006, 0.02])
    def test_a_loose_marker_is_named(self, loose_m):
        with pytest.raises(InputError, match=r"not rigid.* c (moves by|is)"):
            measured(recorded(loose_m=loose_m))

    @pytest.mark.parametrize(
        ("samples", "names", "words"),
        [
            ([], (), "no marker sample"),
            (recorded()[:50], (), "frames are too few"),
            (recorded(), ("a", "b", "f"), "no sample of marker f; recorded are a, b, c, d, e"),
            (recorded(), ("a", "b"), "2 markers cannot show"),
            (recorded(labelled=False), ("a", "b"), "5 points move together, but 2 names"),
            ([s for s in recorded() if s.stamp_s > 2.5], (), "moves from the beginning"),
            ([s for s in recorded() if s.name != "b" or s.stamp_s < 0.5], (), r"b was seen in \d%"),
        ],
        ids=["none", "short", "unknown", "two", "unlabelled", "no rest", "rare"],
    )
    def test_what_cannot_be_measured(self, samples, names, words):
        with pytest.raises(InputError, match=words):
            measured(samples, names)

    def test_millimetres(self):
        samples = [
            Sample(stamp_s=s.stamp_s, name=s.name, position_m=(1e3 * s.position_m[0], 1e3 * s.position_m[1], 0.0))
            for s in recorded()
        ]
        with pytest.raises(InputError, match="millimetres"):
            measured(samples)


class TestWarnings:
    def test_a_box_that_was_not_moved(self):
        assert any("may not show" in text for text in measured(recorded(still=True)).warnings)

    def test_a_box_pose_that_cannot_be(self):
        found = measured(recorded(), box_at=(0.7, -0.1, 0.4))
        assert any("outside the box" in text for text in found.warnings)

    def test_a_layout_that_looks_like_itself(self):
        corners = MarkerLayout(
            names=LAYOUT.names[:4],
            places_m=((0.03, 0.05), (-0.03, 0.05), (0.03, -0.05), (-0.03, -0.053)),
            box_size_m=LAYOUT.box_size_m,
            pusher_radius_m=0.035,
        )
        turn_rad, worst_m = look_alike(corners)
        assert abs(turn_rad) == pytest.approx(np.pi, abs=0.1)
        assert worst_m < 0.003
        assert any("turned by" in text for text in measured(recorded(layout=corners)).warnings)

    def test_the_default_layout_does_not(self):
        assert look_alike(LAYOUT)[1] > 0.015


class TestRecording:
    def test_a_recording_is_whole_at_every_moment(self, tmp_path):
        path = tmp_path / "r.csv"
        samples = recorded()[:20]
        recording = Recording(path)
        for count, sample in enumerate(samples, 1):
            recording.add(sample)
            assert len(load_samples(path)) == count  # before it is closed
        recording.close()
        assert [s.name for s in load_samples(path)] == [s.name for s in samples]

    def test_mocap_positions_are_moved_to_the_table(self, tmp_path):
        path = tmp_path / "r.csv"
        path.write_text("stamp_s,name,x,y,z\n1.5,a,0.1,0.2,0.3\n")
        place = Transform.from_numbers((1.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2))
        assert load_samples(path, place)[0].position_m == pytest.approx((0.8, 0.1, 0.3))
        path.write_text("# frame: table\nstamp_s,name,x,y,z\n1.5,a,0.1,0.2,0.3\n")
        with pytest.raises(InputError, match="leave out --table"):
            load_samples(path, place)

    @pytest.mark.parametrize(
        ("text", "words"),
        [("stamp_s,x\n", "lacks the columns"), ("stamp_s,name,x,y,z\n1,a,b,2,3\n", "line 2"), ("", "lacks")],
    )
    def test_bad_recordings(self, tmp_path, text, words):
        path = tmp_path / "r.csv"
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            load_samples(path)
