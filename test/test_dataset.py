"""`sgp dataset from-bag`: what a rig recorded becomes the transitions that happened, or a reason why not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_maker import NS, START_S, TF, TYPES, BagMaker, pushed
from typer.testing import CliRunner

from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_ros.bag_states import Follower, Reading
from sgp_ros.cli import app
from sgp_ros.mocap_settings import load_layout

LAYOUT = load_layout("")
STEPS = [np.array([0.04, 0.0]), np.array([0.045, 0.01]), np.array([0.03, -0.01]), np.array([0.0, 0.0])]
AT = LAYOUT.markers_at(0.5, 0.0, 0.0)
NOWHERE = Transform.from_numbers((0.0,) * 6)


def from_bag(*words: object) -> str:
    """Output of the command; InputError passes through."""
    result = CliRunner().invoke(app, ["dataset", "from-bag", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    """A bag, and the true states before and after each of its steps."""
    path = tmp_path_factory.mktemp("recorded") / "bag"
    with BagMaker(path, LAYOUT) as maker:
        return path, *pushed(maker, STEPS)


class TestCut:
    def test_transitions_are_those_of_the_rig(
        self, recorded: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
    ) -> None:
        path, before, after = recorded
        told = from_bag(path, "-o", tmp_path / "data.npz")
        assert "4 transitions of 1 demonstrations" in told
        data = Transitions.load(tmp_path / "data.npz")
        assert np.abs(data.x - before).max() < 1.5e-3  # the camera's noise is 0.3 mm
        assert np.abs(data.x_next - after).max() < 1.5e-3
        np.testing.assert_allclose(data.u, (after - before)[:, -2:], atol=1e-4)
        np.testing.assert_allclose(data.u_commanded, STEPS, atol=1e-9)
        assert (tmp_path / "data.png").stat().st_size > 10_000
        (source,) = data.provenance["bags"]
        assert (source["bag"], source["transitions"]) == ("bag", 4)
        assert 430 <= source["states"] <= 440

    def test_led_by_hand_it_is_cut_every_second(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            pushed(maker, STEPS[:3], said=False)
        told = from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz")
        assert "cut every step_duration_s" in told
        data = Transitions.load(tmp_path / "data.npz")
        assert 2 <= len(data) <= 4
        np.testing.assert_array_equal(data.u, data.u_commanded)
        assert data.u.sum(axis=0)[0] > 0.07

    def test_marked_demonstrations_count_and_discarded_ones_do_not(self, tmp_path: Path) -> None:
        words = ("start", "stop", "start", "discard", "start", "stop")
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            # The first one is marked just before its first step, as a program does.
            maker.marks(*zip((-0.001, 3.05, 3.1, 5.9, 5.95, 9.1), words, strict=True))
            pushed(maker, STEPS[:3] * 3)
        told = from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz")
        assert "2 demonstrations marked and kept" in told
        data = Transitions.load(tmp_path / "data.npz")
        assert data.demonstration.tolist() == [0, 0, 0, 1, 1, 1]
        np.testing.assert_allclose(data.u_commanded, STEPS[:3] * 2, atol=1e-9)

    def test_what_comes_after_the_clock_was_set_back_is_not_mixed_with_what_was_before(self, tmp_path: Path) -> None:
        """As when a simulation starts again: stamps of everything begin anew, only the recorder's clock goes on."""
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            later = [(10.0 + k, word) for k, word in enumerate(("start", "stop") * 2)]
            maker.marks((-0.1, "start"), (2.1, "stop"), *later, set_back_s=10.0)
            pushed(maker, STEPS[:2])

            def again(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                maker.frame(stamp_s - 10.0, markers + 0.2, pusher + 0.2, received_s=stamp_s + 0.005)

            pushed(maker, STEPS, start_s=START_S + 10.0, said=False, frame=again)
            for number, u in enumerate(STEPS):  # in the middle of the steps of before, by their stamps
                maker.step(START_S + 0.5 + number, u, received_s=START_S + 10.5 + number)
        told = from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz")
        assert "4 steps after the clock was set back" in told
        data = Transitions.load(tmp_path / "data.npz")
        np.testing.assert_allclose(data.u_commanded, STEPS[:2], atol=1e-9)
        assert data.x.max() < 0.7  # nothing of the second time

    def test_steps_by_keyboard_say_only_where_the_pusher_was_told_to_go(self, tmp_path: Path) -> None:
        """Between marks, a key sends a step every 50 ms, and each replaces the one before."""
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.marks((0.0, "start"), (3.1, "stop"))

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                maker.frame(stamp_s, markers, pusher)
                if round(stamp_s * 100) % 5 == 0:
                    maker.step(stamp_s + 1e-3, np.array([0.04, 0.0]))

            pushed(maker, STEPS[:3], said=False, frame=frame)
        told = from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz")
        assert "cut every step_duration_s; 1 demonstrations marked and kept" in told
        data = Transitions.load(tmp_path / "data.npz")
        assert len(data) == 3
        np.testing.assert_array_equal(data.u, data.u_commanded)

    def test_several_bags_are_several_demonstrations(
        self, recorded: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
    ) -> None:
        with BagMaker(tmp_path / "tuesday", LAYOUT) as maker:
            pushed(maker, STEPS, seed=1)
        from_bag(recorded[0], tmp_path / "tuesday", "-o", tmp_path / "data.npz")
        data = Transitions.load(tmp_path / "data.npz")
        assert data.demonstration.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]

    def test_hidden_markers_are_filled_and_lost_ones_told(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                gone = START_S + 1.3 < stamp_s < START_S + 1.7
                maker.frame(stamp_s, markers, pusher, hidden=range(4) if gone else (1, 3))

            before, _ = pushed(maker, STEPS[:3], frame=frame)
        told = from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz")
        assert "BAD_STATE" in told
        data = Transitions.load(tmp_path / "data.npz")
        assert np.abs(data.x - before[[0, 2]]).max() < 3e-3

    def test_a_bag_cut_off_by_a_crash_is_used_as_far_as_it_goes(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            written = [0]

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                maker.frame(stamp_s, markers, pusher)
                written[0] += 1
                if written[0] % 50 == 0:
                    maker.writer.flush()

            pushed(maker, STEPS, frame=frame)
        file = tmp_path / "bag" / "bag_0.mcap"
        file.write_bytes(file.read_bytes()[: int(0.6 * file.stat().st_size)])
        told = from_bag(file, "-o", tmp_path / "data.npz")
        assert "was cut off" in told
        assert "the recording ends before the step does" in told
        assert len(Transitions.load(tmp_path / "data.npz")) in (1, 2)


class TestKinds:
    """What mocap_node takes live, this takes from a bag."""

    @staticmethod
    def parameters(tmp_path: Path, **values: Any) -> Path:
        path = tmp_path / "params.yaml"
        lines = "".join(f"    {name}: {value}\n" for name, value in values.items())
        path.write_text(f"/**/mocap_node:\n  ros__parameters:\n{lines}")
        return path

    def test_a_cloud_without_labels(self, tmp_path: Path) -> None:
        kind, kinds = "sensor_msgs/msg/PointCloud2", TYPES.types
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.writer.add_topic("/sgp/cloud", kind, reliable=False, latched=False)
            random = np.random.default_rng(0)

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                maker.frame(stamp_s, markers, pusher)
                points = np.column_stack([random.permutation(markers), np.full(len(markers), 0.04)]).astype("<f4")
                sec, nanosec = divmod(round(stamp_s * NS), NS)
                header = kinds["std_msgs/msg/Header"](kinds["builtin_interfaces/msg/Time"](sec, nanosec), "mocap")
                fields = [kinds["sensor_msgs/msg/PointField"](n, 4 * i, 7, 1) for i, n in enumerate("xyz")]
                data = np.frombuffer(points.tobytes(), dtype=np.uint8)
                cloud = kinds[kind](header, 1, len(points), fields, False, 12, len(data), data, True)
                maker.raw("/sgp/cloud", stamp_s + 0.004, bytes(TYPES.serialize_cdr(cloud, kind)))

            before, _ = pushed(maker, STEPS[:2], frame=frame)
        file = self.parameters(tmp_path, input="point_cloud", marker_topic="cloud")
        from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz", "--params-file", file)
        assert np.abs(Transitions.load(tmp_path / "data.npz").x - before).max() < 3e-3

    def test_millimetres_with_the_right_unit(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            before, _ = pushed(
                maker, STEPS[:2], frame=lambda t, markers, pusher: maker.frame(t, markers, pusher, unit_m=1e-3)
            )
        from_bag(
            *(tmp_path / "bag", "-o", tmp_path / "data.npz"), "--params-file", self.parameters(tmp_path, unit_m=0.001)
        )
        assert np.abs(Transitions.load(tmp_path / "data.npz").x - before).max() < 3e-3

    def test_a_pusher_from_tf(self, tmp_path: Path) -> None:
        """Along an arm of four frames, two of which move and come at other times than the camera's."""
        table_from_base = Transform.from_numbers((0.1, -0.3, 0.02, 0.0, 0.0, 0.7))
        flange_from_tool = Transform.from_numbers((0.0, 0.02, 0.1, 3.1, 0.0, 0.0))
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for topic, latched in (("/tf", False), ("/tf_static", True)):
                maker.writer.add_topic(topic, TF, reliable=True, latched=latched)

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                maker.frame(stamp_s, markers, np.array([9.0, 9.0]))  # its own pusher topic tells lies
                swing = Transform.from_numbers((0.0, 0.0, 0.3, 0.0, 0.0, np.sin(stamp_s)))
                tool = Transform(rotation=np.eye(3), translation_m=np.array([*pusher, 0.05]))
                flange = swing.inverse() @ table_from_base.inverse() @ tool @ flange_from_tool.inverse()
                if stamp_s < START_S:
                    maker.transform("/tf_static", "flange", "tool0", stamp_s, flange_from_tool)
                maker.transform("/tf", "base_link", "swing", stamp_s + 0.002, swing)
                maker.transform("/tf", "/swing", "flange", stamp_s, flange)

            before, after = pushed(maker, STEPS[:2], frame=frame)
        file = self.parameters(tmp_path, table_from_base=[float(v) for v in table_from_base.to_numbers()])
        from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz", "--arm", "servo", "--params-file", file)
        data = Transitions.load(tmp_path / "data.npz")
        assert np.abs(data.x - before).max() < 3e-3
        np.testing.assert_allclose(data.u, (after - before)[:, -2:], atol=1.5e-3)

    def test_box_and_pusher_from_one_topic(self, tmp_path: Path) -> None:
        """As in a list of bodies."""
        file = self.parameters(
            tmp_path, input="named_poses", marker_topic="/poses", pusher_input="named", pusher_topic="/poses"
        )
        follower = Follower(Reading.of("sim.yaml", {"namespace": "sgp", "params_file": str(file)}))
        assert [source.setting for source in follower.inputs["/poses"]] == ["marker_topic", "pusher_topic"]

    def test_topics_of_another_type_are_counted_and_told(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            kind = "geometry_msgs/msg/PoseStamped"
            maker.writer.add_topic("/sgp/demonstration", kind, reliable=True, latched=False)
            pushed(maker, STEPS[:2])
            maker.pose("/sgp/demonstration", START_S, (0.0, 0.0, 0.0), "table", START_S)
        told = from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz")
        assert "1 messages of /sgp/demonstration that are not what they should be" in told
        assert len(Transitions.load(tmp_path / "data.npz")) == 2

    def test_stamps_of_another_clock_with_the_time_of_arrival(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                maker.frame(stamp_s - 500.0, markers, pusher, received_s=stamp_s)

            before, _ = pushed(maker, STEPS[:2], frame=frame)
        words = [tmp_path / "bag", "-o", tmp_path / "data.npz"]
        with pytest.raises(InputError, match=r"\+500\.00 s older on arrival than those of the steps.*receive"):
            from_bag(*words)
        from_bag(*words, "--params-file", self.parameters(tmp_path, stamp_source="receive"))
        assert np.abs(Transitions.load(tmp_path / "data.npz").x - before).max() < 3e-3

    def test_a_demonstration_that_was_never_ended_is_told(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.marks((-0.1, "start"))
            pushed(maker, STEPS[:2])
        words = ["dataset", "from-bag", str(tmp_path / "bag"), "-o", str(tmp_path / "data.npz")]
        result = CliRunner().invoke(app, words)
        assert "the reasons are above" in str(result.exception)
        assert "began here (1) and was never ended (2)" in " ".join(result.output.replace("│", " ").split())


class TestRefused:
    """One line with file, topic and remedy; nothing is written."""

    def refused(self, tmp_path: Path, *words: object) -> str:
        with pytest.raises(InputError) as caught:
            from_bag(tmp_path / "bag", "-o", tmp_path / "data.npz", *words)
        assert not (tmp_path / "data.npz").exists()
        return str(caught.value)

    def test_millimetres(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(100):
                maker.frame(START_S + 0.01 * number, AT, np.array([0.4, 0.0]), unit_m=1e-3)
        assert "are millimetres: set unit_m" in self.refused(tmp_path)

    def test_another_namespace_lists_what_is_there(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.frame(START_S, AT, np.array([0.4, 0.0]))
        words = self.refused(tmp_path, "--namespace", "other")
        assert f"{tmp_path / 'bag'} has no /other/vrpn_mocap/" in words
        assert "(and 5 more)" in words
        assert "/sgp/vrpn_mocap/pusher/pose (PoseStamped)" in words

    def test_a_topic_of_another_type(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.frame(START_S, AT, np.array([0.4, 0.0]))
        file = TestKinds.parameters(tmp_path, input="marker_points")
        words = self.refused(tmp_path, "--params-file", file)
        assert "carries geometry_msgs/msg/PoseStamped instead of geometry_msgs/msg/PointStamped; correct input" in words

    def test_a_single_marker(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(100):
                maker.frame(START_S + 0.01 * number, AT, np.array([0.4, 0.0]), hidden=range(1, 5))
        assert "BAD_STATE" in self.refused(tmp_path)

    def test_all_hidden(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(100):
                maker.frame(START_S + 0.01 * number, AT, np.array([0.4, 0.0]), hidden=range(5))
        assert "no state came of its markers; BAD_STATE" in self.refused(tmp_path)

    def test_no_stamps(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(100):
                maker.frame(0.0, AT, np.array([0.4, 0.0]), received_s=START_S + 0.01 * number)
        assert "set stamp_source: receive" in self.refused(tmp_path)

    def test_a_frame_that_is_not_the_mocaps(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(100):
                maker.frame(START_S + 0.01 * number, AT, np.array([0.4, 0.0]), frame_id="camera")
        file = TestKinds.parameters(tmp_path, mocap_frame="world")
        assert "'camera'" in self.refused(tmp_path, "--params-file", file)

    def test_a_silent_pusher(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(100):
                for topic, at in zip(maker.topics, AT, strict=True):
                    maker.pose(topic, START_S + 0.01 * number, (*at, 0.04), "mocap", START_S + 0.01 * number)
        assert "no message was recorded on /sgp/vrpn_mocap/pusher/pose" in self.refused(tmp_path)

    def test_a_clock_that_jumps(self, tmp_path: Path) -> None:
        """Stamps that leave the recorder's time say where; a recorder that was held up does not."""
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:

            def frame(stamp_s: float, markers: np.ndarray, pusher: np.ndarray) -> None:
                jumped_s = -20.0 if stamp_s > START_S + 0.6 else 0.0
                held_up_s = 0.7 if START_S < stamp_s < START_S + 0.3 else 0.0
                maker.frame(stamp_s + jumped_s, markers, pusher, received_s=stamp_s + held_up_s)

            pushed(maker, STEPS[:2], frame=frame)
        words = self.refused(tmp_path)
        assert "jump by -20.00 s, 0.9 s after the first sample; set stamp_source: receive" in words

    def test_marks_of_another_clock(self, tmp_path: Path) -> None:
        """Misplaced by a second they would let in what was discarded."""
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.marks((-0.1, "start"), (2.1, "stop"), clock_s=3.0)
            pushed(maker, STEPS[:2])
        words = self.refused(tmp_path)
        assert "+3.00 s older on arrival than those of the marks of demonstrations, as from another clock" in words
        file = TestKinds.parameters(tmp_path, stamp_source="receive")
        assert "marks of demonstrations are -3.00 s old on arrival" in self.refused(tmp_path, "--params-file", file)

    def test_nobody_moved_anything(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            for number in range(300):
                jitter = 1e-5 * np.random.default_rng(number).normal(size=AT.shape)
                maker.frame(START_S + 0.01 * number, AT + jitter, np.array([0.4, 0.0]) + jitter[0])
        assert "no transition in all of this" in self.refused(tmp_path)

    def test_a_pusher_from_tf_that_was_not_recorded(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            pushed(maker, STEPS[:1])
        words = self.refused(tmp_path, "--arm", "servo")
        assert "has no /tf, from which pusher_input = 'tf'" in words
        assert "--pusher /sgp/pusher_pose" in words

    def test_a_tf_that_leads_elsewhere(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.writer.add_topic("/tf", TF, reliable=True, latched=False)
            pushed(maker, STEPS[:1])
            maker.transform("/tf", "base", "flange", START_S, NOWHERE)
        words = self.refused(tmp_path, "--arm", "servo")
        assert "tf does not lead from 'base_link' to 'tool0'; its frames are base, flange" in words

    def test_the_same_bag_twice(self, recorded: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
        with pytest.raises(InputError, match="is given twice"):
            from_bag(recorded[0], recorded[0], "-o", tmp_path / "data.npz")
        shutil.copytree(recorded[0], tmp_path / "copy")
        with pytest.raises(InputError, match="hold the same demonstration"):
            from_bag(recorded[0], tmp_path / "copy", "-o", tmp_path / "data.npz")
        assert not (tmp_path / "data.npz").exists()

    def test_a_picture_that_is_there_stays(self, recorded: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "data.png").write_text("precious")
        with pytest.raises(InputError, match=r"data\.png exists already"):
            from_bag(recorded[0], "-o", tmp_path / "data.npz")

    def test_what_is_there_already_stays(self, recorded: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
        (tmp_path / "data.npz").write_text("precious")
        with pytest.raises(InputError, match="exists already, and nothing is overwritten"):
            from_bag(recorded[0], "-o", tmp_path / "data.npz")
        assert (tmp_path / "data.npz").read_text() == "precious"

    def test_settings_that_make_no_sense(self, recorded: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path) -> None:
        for words, told in (
            (["--set", "gap_s=-1"], "gap_s = -1"),
            (["--set", "gap=1"], "unknown setting"),
            (["-o", tmp_path / "data.csv"], "must end in .npz"),
        ):
            with pytest.raises(InputError, match=told):
                from_bag(recorded[0], "-o", tmp_path / "data.npz", *words)
