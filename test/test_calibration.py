"""Frames from matched points: exact on exact points, honest about noise, and clear about what is wrong."""

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from sgp_core.calibration import calibrate, calibration_yaml
from sgp_core.config import FramesConfig
from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_core.matched_points import MatchedPoints
from sgp_core.rigid_fit import fit_rigid
from sgp_core.stillness import still_mean

TOOL_M = 0.02
# Table below a base that stands 0.3 m above it, turned and leaning a little.
TABLE_FROM_BASE = Transform.from_numbers((0.0, 0.0, 0.3, 0.01, -0.02, 0.0))
TABLE_FROM_MOCAP = Transform.from_numbers((1.0, -2.0, 0.4, np.pi / 2, 0.02, 0.7))  # y up
ON_TABLE = ((0.35, -0.25), (0.9, -0.25), (0.9, 0.25), (0.35, 0.25), (0.6, 0.0))


def matched(*, noise_m: float = 0.0, lifted: bool = True, seed: int = 0, places=ON_TABLE) -> MatchedPoints:
    table = [(x, y, TOOL_M) for x, y in places] + ([(0.6, 0.05, 0.12)] if lifted else [])
    mocap = TABLE_FROM_MOCAP.inverse().apply(np.array(table))
    mocap = mocap + np.random.default_rng(seed).normal(0.0, noise_m, mocap.shape)
    return MatchedPoints(mocap_m=mocap, base_m=TABLE_FROM_BASE.inverse().apply(np.array(table)))


def changed(points: MatchedPoints, row: int, by_m: tuple[float, float, float]) -> MatchedPoints:
    mocap = points.mocap_m.copy()
    mocap[row] += by_m
    return MatchedPoints(mocap_m=mocap, base_m=points.base_m)


def same(a: Transform, b: Transform) -> bool:
    return bool(
        np.allclose(a.rotation, b.rotation, atol=1e-9) and np.allclose(a.translation_m, b.translation_m, atol=1e-9)
    )


class TestFrames:
    @pytest.mark.parametrize("lifted", [True, False])
    def test_exact_points_give_the_exact_frames(self, lifted):
        found = calibrate(matched(lifted=lifted), tool_height_m=TOOL_M)
        # The origin is below the base along the table's normal, x along the base's: the same frame but for that.
        base = found.table_from_base
        assert np.allclose(base.translation_m, [0.0, 0.0, 0.3], atol=1e-9)
        assert base.tilt_rad == pytest.approx(TABLE_FROM_BASE.tilt_rad, abs=1e-9)
        assert base.rotation[1, 0] == pytest.approx(0.0, abs=1e-12)
        points = matched(lifted=lifted)
        assert np.allclose(found.table_from_mocap.apply(points.mocap_m), base.apply(points.base_m), atol=1e-9)
        assert found.residuals_m.max() < 1e-9
        assert list(np.flatnonzero(found.lifted)) == ([5] if lifted else [])
        assert found.warnings == ()

    def test_three_points_on_the_table_and_one_lifted_are_enough(self):
        found = calibrate(matched(places=ON_TABLE[1:4]), tool_height_m=TOOL_M)
        assert list(found.lifted) == [False, False, False, True]
        assert same(found.table_from_mocap, calibrate(matched(), tool_height_m=TOOL_M).table_from_mocap)

    def test_points_on_the_table_are_at_tool_height(self):
        points = matched()
        found = calibrate(points, tool_height_m=TOOL_M)
        assert np.allclose(found.table_from_mocap.apply(points.mocap_m)[:5, 2], TOOL_M, atol=1e-9)
        assert found.table_from_mocap.apply(points.mocap_m)[5, 2] == pytest.approx(0.12)

    def test_origin_and_yaw_move_the_table_frame(self):
        points = matched()
        plain = calibrate(points, tool_height_m=TOOL_M)
        moved = calibrate(points, tool_height_m=TOOL_M, origin_m=(0.2, -0.1), yaw_rad=0.5)
        shift = Transform.from_numbers((0.2, -0.1, 0.0, 0.0, 0.0, 0.5))
        assert same(shift @ moved.table_from_mocap, plain.table_from_mocap)
        assert same(shift @ moved.table_from_base, plain.table_from_base)

    def test_marker_beside_the_tool(self):
        offset = (0.03, -0.01, 0.08)
        points = matched()
        base_from_mocap = TABLE_FROM_BASE.inverse() @ TABLE_FROM_MOCAP
        seen = MatchedPoints(
            mocap_m=base_from_mocap.inverse().apply(points.base_m + np.array(offset)), base_m=points.base_m
        )
        found = calibrate(seen, tool_height_m=TOOL_M, marker_offset_m=offset)
        assert same(found.table_from_mocap, calibrate(points, tool_height_m=TOOL_M).table_from_mocap)

    def test_hanging_base_is_told_by_the_lifted_point(self):
        upside_down = Transform.from_numbers((0.0, 0.0, 0.0, np.pi, 0.0, 0.0))
        points = matched()
        hanging = MatchedPoints(mocap_m=points.mocap_m, base_m=upside_down.apply(points.base_m))
        found = calibrate(hanging, tool_height_m=TOOL_M)
        assert found.table_from_mocap.apply(points.mocap_m)[5, 2] == pytest.approx(0.12)
        assert any("upside down" in text for text in found.warnings)

    @pytest.mark.parametrize("noise_m", [1e-4, 3e-4])
    def test_noise_stays_small_at_the_box(self, noise_m):
        corners = np.array([[0.3, -0.35, 0.0], [0.95, 0.35, 0.0], [0.6, 0.0, 0.04]])
        truth = calibrate(matched(), tool_height_m=TOOL_M).table_from_mocap
        errors = []
        for seed in range(20):
            found = calibrate(matched(noise_m=noise_m, seed=seed), tool_height_m=TOOL_M).table_from_mocap
            errors.append(np.linalg.norm(found.apply(truth.inverse().apply(corners)) - corners, axis=-1).max())
        assert 0.1 * noise_m < np.mean(errors) < 2.0 * noise_m

    def test_fit_is_never_a_reflection(self):
        a = np.random.default_rng(0).normal(size=(6, 3))
        b = a * np.array([1.0, 1.0, -1.0])
        assert np.linalg.det(fit_rigid(a, b).rotation) == pytest.approx(1.0)
        assert np.linalg.det(fit_rigid(a, b, mirrored=True).rotation) == pytest.approx(-1.0)


class TestRefusals:
    @pytest.mark.parametrize("row", range(6))
    @pytest.mark.parametrize("off_m", [0.008, 0.05])
    def test_one_bad_point_is_named(self, row, off_m):
        way = Rotation.random(random_state=row).as_matrix()[0] * off_m
        with pytest.raises(InputError, match=f"Suspect is point {row + 1}:.* away from"):
            calibrate(changed(matched(noise_m=1e-4), row, tuple(way)), tool_height_m=TOOL_M)

    def test_a_bad_point_among_four_is_named(self):
        points = changed(matched(lifted=False, places=ON_TABLE[:4]), 1, (0.02, 0.0, 0.0))
        with pytest.raises(InputError, match=r"residual is \d+\.\d mm .*3 mm"):
            calibrate(points, tool_height_m=TOOL_M)

    @pytest.mark.parametrize(
        ("points", "words"),
        [
            (MatchedPoints(mocap_m=matched().mocap_m[:3], base_m=matched().base_m[:3]), "3 points are too few"),
            (matched().scaled(1000.0), "millimetres; give --unit-m 0.001"),
            (MatchedPoints(mocap_m=matched().mocap_m, base_m=matched().base_m * 1e3), "arm's points.*millimetres"),
            (MatchedPoints(mocap_m=matched().mocap_m * 1e3, base_m=matched().base_m * 1e3), "metres are needed"),
            (MatchedPoints(mocap_m=matched().mocap_m[:, [0, 2, 1]], base_m=matched().base_m), "mirrored"),
            (matched(lifted=False, places=((0.3, 0), (0.5, 0.001), (0.7, 0), (0.9, 0))), "lie on a line"),
            (matched(lifted=False, places=((0.3, 0), (0.36, 0), (0.36, 0.06), (0.3, 0.06))), "spread over"),
            (matched(lifted=False, places=((0.3, 0), (0.3, 0), (0.9, 0.2), (0.5, -0.3))), "points 1 and 2 are 0.0 mm"),
            (matched().scaled(1.06), "mocap distances are 1.060 times"),
            (matched(noise_m=0.02), "no single point explains it"),
        ],
    )
    def test_what_cannot_be_right(self, points, words):
        with pytest.raises(InputError, match=words):
            calibrate(points, tool_height_m=TOOL_M)

    def test_mirrored_axes_in_one_plane(self):
        flat = matched(lifted=False)
        mirrored = MatchedPoints(mocap_m=flat.mocap_m[:, [0, 2, 1]], base_m=flat.base_m)
        with pytest.raises(InputError, match="axis would point down"):
            calibrate(mirrored, tool_height_m=TOOL_M)

    def test_a_point_between_table_and_lifted(self):
        points = matched(lifted=False)
        table = np.vstack([TABLE_FROM_BASE.apply(points.base_m), [0.5, 0.1, TOOL_M + 0.012]])
        made = MatchedPoints(
            mocap_m=TABLE_FROM_MOCAP.inverse().apply(table), base_m=TABLE_FROM_BASE.inverse().apply(table)
        )
        with pytest.raises(InputError, match="point 6 is 12 mm off the plane"):
            calibrate(made, tool_height_m=TOOL_M)


class TestStillness:
    def test_mean_and_noise(self):
        samples = np.array([0.5, -0.2, 0.1]) + np.random.default_rng(1).normal(0.0, 3e-4, (200, 3))
        samples[::10] = np.nan
        samples[5] = 0.0
        mean, noise_m = still_mean(samples, "marker", noisy=True)
        assert np.allclose(mean, [0.5, -0.2, 0.1], atol=1e-4)
        assert noise_m == pytest.approx(3e-4 * np.sqrt(3), rel=0.1)

    @pytest.mark.parametrize(
        ("samples", "words"),
        [
            (np.zeros((2, 3)), "2 messages"),
            (np.full((50, 3), np.nan), "hidden in 50 of 50"),
            (np.tile([0.5, 0.1, 0.2], (50, 1)), "alike to the last bit"),
            (np.linspace([0.5, 0, 0.1], [0.51, 0, 0.1], 50), "moved by 5.1 mm"),
            (0.5 + 0.01 * np.cos(np.arange(150)).reshape(50, 3), "shakes by"),
        ],
    )
    def test_what_is_no_place(self, samples, words):
        with pytest.raises(InputError, match=words):
            still_mean(samples, "marker", noisy=True)


class TestFiles:
    def test_points_survive_the_file(self, tmp_path):
        points = matched(noise_m=1e-3)
        points.save(tmp_path / "p.csv")
        again = MatchedPoints.load(tmp_path / "p.csv")
        assert np.allclose(again.mocap_m, points.mocap_m, atol=1e-6)
        assert np.allclose(again.base_m, points.base_m, atol=1e-6)

    def test_columns_in_any_order_with_comments(self, tmp_path):
        path = tmp_path / "p.csv"
        path.write_text("# by hand\nname,base_x,base_y,base_z,mocap_x,mocap_y,mocap_z\na,1,2,3,4,5,6\n\n")
        points = MatchedPoints.load(path)
        assert points.mocap_m.tolist() == [[4.0, 5.0, 6.0]]
        assert points.base_m.tolist() == [[1.0, 2.0, 3.0]]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", "lacks the columns"),
            ("mocap_x,mocap_y\n1,2\n", "lacks the columns \\['mocap_z', 'base_x'"),
            ("mocap_x,mocap_y,mocap_z,base_x,base_y,base_z\n1,2,3,4,5\n", "line 2: '1,2,3,4,5' needs six numbers"),
            ("mocap_x,mocap_y,mocap_z,base_x,base_y,base_z\n1,2,3,4,5,nan\n", "line 2: .* holds NaN"),
        ],
    )
    def test_bad_points_files(self, tmp_path, text, words):
        path = tmp_path / "p.csv"
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            MatchedPoints.load(path)

    def test_yaml_is_what_the_nodes_read(self):
        found = calibrate(matched(), tool_height_m=TOOL_M)
        sections = yaml.safe_load(calibration_yaml(found, "one\ntwo", "base_link"))
        assert list(sections) == ["/**/mocap_node", "/**/pusher_node"]
        for section in sections.values():
            config = FramesConfig().replaced(**section["ros__parameters"])
            assert all(type(v) is float for v in section["ros__parameters"]["table_from_mocap"])
            for name in ("table_from_mocap", "table_from_base"):
                written = Transform.from_numbers(getattr(config, name))
                assert np.allclose(written.rotation, getattr(found, name).rotation, atol=1e-6)
                assert np.allclose(written.translation_m, getattr(found, name).translation_m, atol=1e-6)
