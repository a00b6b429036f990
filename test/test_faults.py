"""A few of the faults of `make faults` on the real processes, and what measures them against known answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_graph import Graph

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")
from fault_run import run_fault
from fault_scene import Scene
from fault_table import FAULTS, Fault

pytestmark = pytest.mark.ros

SHORT = [fault for fault in FAULTS if fault.short]


@pytest.fixture(scope="class")
def scene(graph: Graph, bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with Scene(tmp_path_factory.mktemp("faults"), bundle_path, graph=graph) as made:
        yield made


class TestFaults:
    @pytest.mark.parametrize("fault", SHORT, ids=[fault.label for fault in SHORT])
    def test_is_detected_stops_in_time_and_recovers(self, scene: Scene, fault: Fault) -> None:
        outcome = run_fault(scene, fault)
        assert not outcome.problems, outcome
        assert outcome.samples > 100
