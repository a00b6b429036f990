"""`sgp calibrate` from files and live: what it writes, what it refuses, and that captured points stay."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from calibration_rig import LAYOUT, PLACES, ROOT, SIZES, TABLE_FROM_BASE, TABLE_FROM_MOCAP, same, written_frames

from sgp_core.layout import MarkerLayout
from sgp_core.marker_tracks import Recording, Sample
from sgp_core.matched_points import MatchedPoints
from sgp_ros.cli import main


def points_file(path: Path, *, bad: int | None = None, scale: float = 1.0) -> Path:
    mocap = TABLE_FROM_MOCAP.inverse().apply(PLACES)
    if bad is not None:
        mocap[bad] += (0.02, 0.0, 0.0)
    MatchedPoints(mocap_m=mocap * scale, base_m=TABLE_FROM_BASE.inverse().apply(PLACES)).save(path)
    return path


def recording_file(path: Path) -> Path:
    recording = Recording(path)
    for frame in range(400):
        phase = max(0.0, frame / 50.0 - 2.0)
        markers = LAYOUT.markers_at(0.6 + 0.1 * np.sin(phase), 0.0, 0.8 * np.sin(0.7 * phase))
        for name, (x, y) in zip(LAYOUT.names, markers, strict=True):
            recording.add(Sample(stamp_s=frame / 50.0, name=name, position_m=(float(x), float(y), 0.0)))
    recording.close()
    return path


@pytest.fixture
def sgp(monkeypatch, capsys, tmp_path):
    """Run `sgp calibrate` in this process and a folder of its own; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sgp", "calibrate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        return ended.value.code or 0, " ".join(told.out.split()), " ".join(told.err.split())

    return run


class TestFramesFromFiles:
    def test_writes_what_the_nodes_read(self, sgp, tmp_path):
        points_file(tmp_path / "points.csv")
        code, told, _ = sgp("frames", "--base-frame", "arm_base")
        assert code == 0
        assert "rms 0.00 mm" in told
        assert "table:=calibration.yaml" in told
        config = written_frames(tmp_path / "calibration.yaml")
        assert same(config.table_from_mocap, TABLE_FROM_MOCAP)
        assert same(config.table_from_base, TABLE_FROM_BASE)
        assert config.base_frame == "arm_base"
        comment = (tmp_path / "calibration.yaml").read_text()
        assert "from points.csv" in comment
        assert "Residuals in mm: 0.00" in comment

    def test_millimetres(self, sgp, tmp_path):
        points_file(tmp_path / "points.csv", scale=1e3)
        code, _, words = sgp("frames")
        assert code == 2
        assert "--unit-m 0.001" in words
        assert sgp("frames", "--unit-m", "0.001")[0] == 0
        assert same(written_frames(tmp_path / "calibration.yaml").table_from_mocap, TABLE_FROM_MOCAP)

    def test_a_bad_point_is_named_and_nothing_written(self, sgp, tmp_path):
        points_file(tmp_path / "points.csv", bad=2)
        code, _, words = sgp("frames")
        assert code == 2
        assert "Suspect is point 3" in words
        assert len(MatchedPoints.load(tmp_path / "points.csv")) == 5
        assert list(tmp_path.iterdir()) == [tmp_path / "points.csv"]

    def test_never_replaces_unasked(self, sgp, tmp_path):
        points_file(tmp_path / "points.csv")
        (tmp_path / "calibration.yaml").write_text("mine\n")
        code, _, words = sgp("frames")
        assert code == 2
        assert "calibration.yaml exists; give --force" in words
        assert (tmp_path / "calibration.yaml").read_text() == "mine\n"
        assert sgp("frames", "--force")[0] == 0
        assert same(written_frames(tmp_path / "calibration.yaml").table_from_mocap, TABLE_FROM_MOCAP)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "points file points.csv cannot be read: No such file"),
            (("--mocap-topic", "/a"), "live capture needs --mocap-topic and either"),
            (("--arm-topic", "/a", "--arm-tf", "b,c"), "live capture needs"),
            (("--mocap-topic", "/a", "--arm-tf", "b"), "--arm-tf b must be two frames"),
            (("--mocap-name", "p"), "--mocap-name needs --mocap-topic"),
            (("--origin", "1"), "--origin 1 must be 2 finite numbers"),
            (("--marker-offset", "1,2,c"), "--marker-offset 1,2,c must be 3 numbers"),
        ],
    )
    def test_bad_arguments(self, sgp, arguments, words):
        code, _, told = sgp("frames", *arguments)
        assert code == 2
        assert words in told


class TestLayoutFromFiles:
    def test_writes_a_layout(self, sgp, tmp_path):
        recording_file(tmp_path / "markers.csv")
        code, told, _ = sgp("layout", "--box-at", "0.6,0,0", *SIZES)
        assert code == 0
        assert "400 frames, 0 left out; moved by 100 mm" in told
        made = MarkerLayout.load(tmp_path / "layout.yaml")
        assert np.abs(made.places - LAYOUT.places).max() < 1e-5
        assert made.box_size_m == LAYOUT.box_size_m

    def test_table_frame_and_template(self, sgp, tmp_path):
        samples = recording_file(tmp_path / "table.csv").read_text().splitlines()[2:]
        inverse = TABLE_FROM_MOCAP.inverse()
        rows = ["stamp_s,name,x,y,z"]
        for stamp_s, name, *position in (line.split(",") for line in samples):
            rows.append(",".join([stamp_s, name, *map(str, inverse.apply(np.array(position, dtype=float)))]))
        (tmp_path / "mocap.csv").write_text("\n".join(rows))
        points_file(tmp_path / "points.csv")
        assert sgp("frames")[0] == 0
        default = str(ROOT / "config/layout.yaml")
        arguments = ("layout", "--csv", "mocap.csv", "--table", "calibration.yaml", "--box-at", "0.6,0,0")
        assert sgp(*arguments, "--like", default, "--names", "a,b,c,d,e")[0] == 0
        assert np.abs(MarkerLayout.load(tmp_path / "layout.yaml").places - LAYOUT.places).max() < 1e-4

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "the size of box and pusher is needed"),
            (("--box-size", "1,2", "--pusher-radius", "0.1"), "--box-size 1,2 must be 3 finite numbers"),
            (SIZES, "recording markers.csv cannot be read"),
            ((*SIZES, "--table", "no.yaml"), "parameter file no.yaml cannot be read"),
            ((*SIZES, "--like", "no.yaml"), "layout file no.yaml cannot be read"),
        ],
    )
    def test_bad_arguments(self, sgp, arguments, words):
        code, _, told = sgp("layout", *arguments)
        assert code == 2
        assert words in told


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((), ("frames", "layout", "Order on a new rig")),
        (("frames",), ("four places", "--mocap-topic", "residual", "Example")),
        (("layout",), ("rest", "--box-at", "rigid", "Example")),
    ],
)
def test_help_teaches(sgp, command, words):
    code, told, _ = sgp(*command, "--help")
    assert code == 0
    assert [word for word in words if word not in told] == []
