"""A recorded run is planned again: the same with the same settings, and different where they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bag_maker import TF, BagMaker
from typer.testing import CliRunner

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_ros import convert, convert_mocap
from sgp_ros.bags import Bag
from sgp_ros.cli import app
from sgp_ros.mocap_settings import load_layout

pytestmark = [pytest.mark.timeout(240), pytest.mark.ros]


def sgp(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def replayed(bag: Path, out: Path, *words: object, seed: int = 3) -> dict:
    sgp("replay", bag, "--out", out, "--seed", seed, *words)
    assert (out / "replay.png").stat().st_size > 10_000
    assert "![the run](replay.png)" in (out / "report.md").read_text()
    return json.loads((out / "replay.json").read_text())


def test_a_demo_replays_as_it_was(finished_demo: Path, tmp_path: Path) -> None:
    found = replayed(finished_demo / "bag", tmp_path / "a")
    summary = json.loads((finished_demo / "summary.json").read_text())
    assert found["states_recorded"] > 100
    assert found["states_before_first"] < found["states_recorded"]  # a busy recorder takes seconds to find the topics
    assert found["states_matched"] >= 0.99
    # On a busy machine mocap_node loses a sample of the pusher now and then, and interpolates it.
    assert found["states_identical"] >= 0.9
    assert found["states_off_mm_max"] < 3.0
    assert found["steps"] >= summary["steps"] >= 3
    assert found["off_mm_median"] < 0.01
    assert found["steps_within_tolerance"] >= 0.7
    assert found["same_verdict"] == 1.0
    # Again, to the last bit.
    assert replayed(finished_demo / "bag", tmp_path / "b")["rows"] == found["rows"]


def test_the_sample_bag_replays_to_the_last_bit(tmp_path: Path) -> None:
    """Recorded once and kept: `sgp demo --goal right --seed 7`, less what a replay does not read."""
    found = replayed(Path(__file__).parent / "sample_bag", tmp_path, seed=7)
    assert found["states_recorded"] == 898
    assert found["states_matched"] == found["states_identical"] == 1.0
    assert found["steps"] == 14
    # Another processor rounds otherwise, and a plan is where many thousand roundings lead.
    assert found["steps_within_tolerance"] >= 0.85
    assert found["off_mm_median"] < 0.01
    assert found["same_verdict"] == 1.0


def test_a_run_whose_pusher_was_in_tf_replays(tmp_path: Path) -> None:
    """The sample, as an arm would have recorded it: the pusher as a frame, and on no other topic."""
    topic, frame = "/sgp/vrpn_mocap/pusher/pose", "base_link"
    with Bag(Path(__file__).parent / "sample_bag") as bag, BagMaker(tmp_path / "bag", load_layout("")) as maker:
        maker.writer.add_topic("/tf", TF, reliable=True, latched=False)
        for name in sorted(set(bag.topics) - {*maker.topics, topic, "/sgp/step"}):
            maker.writer.add_topic(name, bag.topics[name], reliable=True, latched=False)
        for raw in bag.raw(set(bag.topics)):
            if raw.topic != topic:
                maker.writer.write(raw.topic, raw.received_ns, raw.data)
                continue
            at = bag.decoded(raw)
            placed = convert_mocap.transform_of(at.pose, 1.0)
            stamp_s = convert.seconds(at.header.stamp)
            maker.transform("/tf", frame, "tool0", stamp_s, placed, received_ns=raw.received_ns)
    found = replayed(tmp_path / "bag", tmp_path / "out", "--arm", "servo", "--set", "iterations=10", seed=7)
    assert found["states_recorded"] == 898
    assert found["states_matched"] == 1.0
    assert found["states_off_mm_max"] < 1e-6


def test_another_setting_decides_otherwise_from_the_same_states(finished_demo: Path, tmp_path: Path) -> None:
    same, other = (
        replayed(finished_demo / "bag", tmp_path / "a"),
        replayed(finished_demo / "bag", tmp_path / "b", "--set", "beta=10"),
    )
    assert [row["state_stamp_s"] for row in same["rows"]] == [row["state_stamp_s"] for row in other["rows"]]
    assert other["steps_within_tolerance"] < 1.0
    assert other["changed"] == {"beta": "10"}
    nearer = [
        (b["data_distance"], a["data_distance"])
        for a, b in zip(same["rows"], other["rows"], strict=True)
        if a["data_distance"] is not None
    ]
    assert np.mean([b for b, _ in nearer]) < np.mean([a for _, a in nearer])


def test_a_demo_becomes_data(finished_demo: Path, tmp_path: Path) -> None:
    told = sgp("dataset", "from-bag", finished_demo / "bag", "-o", tmp_path / "data.npz")
    assert "transitions" in told
    data = Transitions.load(tmp_path / "data.npz")
    assert len(data) >= 2
    assert np.linalg.norm(data.u - data.u_commanded, axis=1).max() < 0.01


def test_what_is_missing_is_told(finished_demo: Path) -> None:
    for words, told in (
        (["--set", "betta=1"], "--set betta: no such setting; known are"),
        (["--set", "beta=much"], "beta = 'much' is not a float"),
        (["--namespace", "other"], "has no /other/vrpn_mocap"),
        (["--bundle", "/nowhere"], "bundle:=/nowhere does not exist"),
    ):
        with pytest.raises(InputError, match=told):
            sgp("replay", finished_demo / "bag", *words)
