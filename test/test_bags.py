"""Bags written and read again, whole, split, killed, cut off, and foreign."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from bag_maker import NS, START_S, TYPES, BagMaker
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from sgp_core.errors import InputError
from sgp_ros.bag_writer import INFO, PARTS, BagWriter
from sgp_ros.bags import Bag
from sgp_ros.mocap_settings import load_layout

LAYOUT = load_layout("")
AT = LAYOUT.markers_at(0.5, 0.0, 0.0)
each_storage = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])


def filled(path: Path, frames: int = 50, storage: str = "mcap", split_bytes: int = 0) -> Path:
    with BagMaker(path, LAYOUT, storage, split_bytes) as maker:
        for number in range(frames):
            maker.frame(START_S + 0.01 * number, AT, np.array([0.4, 0.0]))
            if split_bytes:
                maker.writer.flush()
    return path


def stamps(path: Path) -> list[float]:
    """Of the pusher, in the order of the bag."""
    with Bag(path) as bag:
        topic = "/sgp/vrpn_mocap/pusher/pose"
        found = [
            message.header.stamp.sec + message.header.stamp.nanosec / NS for _, _, message in bag.messages({topic})
        ]
        assert bag.damage == ""
    return found


class TestWhole:
    @each_storage
    def test_what_was_written_is_read(self, tmp_path: Path, storage: str) -> None:
        path = filled(tmp_path / "bag", storage=storage)
        with Bag(path) as bag:
            read = list(bag.messages(set(bag.topics)))
            assert len(read) == 50 * 6
            assert [ns for _, ns, _ in read] == sorted(ns for _, ns, _ in read)
            topic, received_ns, message = read[0]
            assert bag.topics[topic] == "geometry_msgs/msg/PoseStamped"
            assert received_ns == round((START_S + 0.005) * NS)
            assert message.header.frame_id == "mocap"
        np.testing.assert_allclose(stamps(path), START_S + 0.01 * np.arange(50), atol=1e-6)

    @each_storage
    def test_files_of_a_split_bag_are_one(self, tmp_path: Path, storage: str) -> None:
        path = filled(tmp_path / "bag", storage=storage, split_bytes=8_000)
        files = sorted(file.name for file in path.iterdir())
        suffix = "mcap" if storage == "mcap" else "db3"
        assert files[0] == f"bag_0.{suffix}"
        assert len(files) > 3
        assert PARTS not in files
        index = yaml.safe_load((path / "metadata.yaml").read_text())[INFO]
        assert index["relative_file_paths"] == [f"bag_{k}.{suffix}" for k in range(len(files) - 1)]
        assert index["message_count"] == 300 == sum(file["message_count"] for file in index["files"])
        assert index["duration"]["nanoseconds"] == round(0.49 * NS)
        assert sum(topic["message_count"] for topic in index["topics_with_message_count"]) == 300
        np.testing.assert_allclose(stamps(path), START_S + 0.01 * np.arange(50), atol=1e-6)

    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        path = filled(tmp_path / "bag")
        with pytest.raises(InputError, match="exists already, and nothing is overwritten"):
            BagWriter(path)
        assert len(stamps(path)) == 50

    def test_single_files_and_moved_folders_are_read(self, tmp_path: Path) -> None:
        path = filled(tmp_path / "bag")
        assert len(stamps(path / "bag_0.mcap")) == 50
        path.rename(tmp_path / "renamed")
        assert len(stamps(tmp_path / "renamed")) == 50

    def test_types_that_nobody_knows_are_refused(self, tmp_path: Path) -> None:
        with (
            BagWriter(tmp_path / "bag") as writer,
            pytest.raises(InputError, match="definition of nowhere_msgs/msg/Thing is not found; is the package"),
        ):
            writer.add_topic("/thing", "nowhere_msgs/msg/Thing", reliable=True, latched=False)

    @pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
    def test_compressed_bags_are_read(self, tmp_path: Path, mode: CompressionMode) -> None:
        path = filled(tmp_path / "plain")
        writer = Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(mode, CompressionFormat.ZSTD)
        with writer, AnyReader([path]) as reader:
            topics = {c.topic: writer.add_connection(c.topic, c.msgtype, typestore=TYPES) for c in reader.connections}
            for connection, received_ns, raw in reader.messages():
                writer.write(topics[connection.topic], received_ns, raw)
        assert len(stamps(tmp_path / "bag")) == 50

    def test_unknown_storage_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="storage csv is not known; it must be one of mcap, sqlite3"):
            BagWriter(tmp_path / "bag", "csv")
        assert not (tmp_path / "bag").exists()


KILLED = """
import sys, time
from pathlib import Path
import numpy as np
from bag_maker import START_S, BagMaker
from sgp_ros.mocap_settings import load_layout
layout = load_layout("")
maker = BagMaker(Path(sys.argv[1]), layout, sys.argv[2], int(sys.argv[3]))
for number in range(100):
    maker.frame(START_S + 0.01 * number, layout.markers_at(0.5, 0.0, 0.0), np.array([0.4, 0.0]))
maker.writer.flush()
for number in range(100, 120):
    maker.frame(START_S + 0.01 * number, layout.markers_at(0.5, 0.0, 0.0), np.array([0.4, 0.0]))
print("written", flush=True)
time.sleep(60)
"""


class TestDamaged:
    @each_storage
    @pytest.mark.parametrize("split_bytes", [0, 20_000])
    def test_what_a_killed_writer_had_flushed_is_read(self, tmp_path: Path, storage: str, split_bytes: int) -> None:
        path = tmp_path / "bag"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        command = [sys.executable, "-c", KILLED, str(path), storage, str(split_bytes)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            process.send_signal(signal.SIGKILL)
        with Bag(path) as bag:
            read = list(bag.messages(set(bag.topics)))
            assert len(read) >= 600
            assert bag.damage

    def test_a_file_cut_off_anywhere_gives_what_was_whole(self, tmp_path: Path) -> None:
        path = tmp_path / "bag"
        with BagMaker(path, LAYOUT) as maker:
            for number in range(50):
                maker.frame(START_S + 0.01 * number, AT, np.array([0.4, 0.0]))
                if number % 10 == 9:
                    maker.writer.flush()
        whole = (path / "bag_0.mcap").read_bytes()
        counts = []
        for share in (0.2, 0.5, 0.8, 0.95, 0.999):
            (path / "bag_0.mcap").write_bytes(whole[: int(share * len(whole))])
            counts.append(self.saved(path))
        assert counts == sorted(counts)
        assert counts[-1] == 300
        assert 0 < counts[1] < 300

    @staticmethod
    def saved(path: Path) -> int:
        """How many messages of a file that was cut off."""
        try:
            bag = Bag(path)
        except InputError:  # cut off before the first part was whole
            return 0
        with bag:
            count = len(list(bag.messages(set(bag.topics))))
            assert "bag_0.mcap was cut off" in bag.damage
            assert f"{count} messages were saved" in bag.damage
        return count

    def test_a_lost_index_is_done_without(self, tmp_path: Path) -> None:
        path = filled(tmp_path / "bag", split_bytes=8_000)
        for text in (None, "", "{", "rosbag2_bagfile_information: {version: 99}"):
            (path / "metadata.yaml").unlink(missing_ok=True)
            if text is not None:
                (path / "metadata.yaml").write_text(text)
            with Bag(path) as bag:
                assert len(list(bag.messages(set(bag.topics)))) == 300
                assert "metadata.yaml was not used" in bag.damage

    def test_a_file_that_the_index_forgot_is_read(self, tmp_path: Path) -> None:
        path = filled(tmp_path / "bag", split_bytes=8_000)
        index = yaml.safe_load((path / "metadata.yaml").read_text())
        index[INFO]["relative_file_paths"].pop()
        (path / "metadata.yaml").write_text(yaml.safe_dump(index))
        with Bag(path) as bag:
            assert len(list(bag.messages(set(bag.topics)))) == 300
            assert "it does not name bag_" in bag.damage

    def test_a_folder_named_like_an_unfinished_part_is_a_bag(self, tmp_path: Path) -> None:
        assert len(stamps(filled(tmp_path / PARTS / "bag"))) == 50

    def test_bytes_that_are_no_message_are_counted(self, tmp_path: Path) -> None:
        with BagMaker(tmp_path / "bag", LAYOUT) as maker:
            maker.frame(START_S, AT, np.array([0.4, 0.0]))
            maker.raw(maker.topics[0], START_S + 1.0, b"\x00\x01\x00\x00\xff\xff")
        with Bag(tmp_path / "bag") as bag:
            assert len(list(bag.messages(set(bag.topics)))) == 6
            assert bag.malformed == {maker.topics[0]: 1}

    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("bag.mcap", b"", r"holds no message: .*bag\.mcap is empty"),
            ("bag.mcap", b"no mcap at all", r"holds no message: .*bag\.mcap is no mcap"),
            ("bag.db3", b"no sqlite at all, but long enough to be taken for one" * 9, "cannot be read"),
            ("bag.bag", b"#ROSBAG V1.2\n", "cannot be read"),
            ("bag.txt", b"hello", "is no bag; give a rosbag2 folder"),
        ],
    )
    def test_files_that_are_no_bag(self, tmp_path: Path, name: str, content: bytes, words: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            Bag(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)

    def test_no_bag_at_all(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="does not exist"):
            Bag(tmp_path / "bag")
        with pytest.raises(InputError, match=r"no \.mcap or \.db3 file in it"):
            Bag(tmp_path)

    def test_a_bag_without_a_message(self, tmp_path: Path) -> None:
        with BagWriter(tmp_path / "bag"):
            pass
        with pytest.raises(InputError, match="holds no message"):
            Bag(tmp_path / "bag")

    def test_a_file_that_is_missing_among_others(self, tmp_path: Path) -> None:
        path = filled(tmp_path / "bag", split_bytes=8_000)
        (path / "bag_1.mcap").unlink()
        with Bag(path) as bag:
            assert 0 < len(list(bag.messages(set(bag.topics)))) < 300
            assert bag.damage
