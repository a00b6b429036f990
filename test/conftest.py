"""Fixtures that several test files share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sgp_core.share import share_path

# Read when message classes are imported: without it, a wrong type in a message field becomes a garbage number.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
# Networks this small lose by a second thread, and lose a lot when another process wants the core.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def bundle_path() -> Path:
    """The default model bundle; SGP_TEST_BUNDLE names another one."""
    path = Path(os.environ.get("SGP_TEST_BUNDLE") or share_path("models", "default"))
    assert (path / "bundle.json").is_file(), f"no bundle in {path}; train one with `sgp train`"
    return path


@pytest.fixture(scope="class")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """An empty ROS graph in a domain of its own; see ros_graph.Graph."""
    pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")
    from ros_graph import Graph

    with Graph(tmp_path_factory.mktemp("ros")) as made:
        yield made
