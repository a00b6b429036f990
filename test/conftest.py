"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

# Shapes in annotations are checked while tests run. Not in `networks`, whose source TorchScript compiles as it
# stands, nor in `data`, which checks shapes itself, in words for people.
CHECKED = (
    "assembly",
    "check_measures",
    "error_bound",
    "estimation",
    "evaluation",
    "frames",
    "layout",
    "matching",
    "mpc",
    "placements",
    "planner",
    "plots",
    "pusher",
    "pusher_gate",
    "quality",
    "safety",
    "sim",
    "suites",
    "types",
)
typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as mypy sees it
install_import_hook([f"sgp_core.{name}" for name in CHECKED], "conftest.typechecker")

from sgp_core.share import share_path  # noqa: E402 - after the hook, as its modules have to be

# Read when message classes are imported: without it, a wrong type in a message field becomes a garbage number.
os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"
# Bundles trained by tests are vouched for here, not in the list of whoever runs them; nodes inherit it.
_CONFIG = tempfile.TemporaryDirectory(prefix="sgp_config_")
os.environ["XDG_CONFIG_HOME"] = _CONFIG.name
# Networks this small lose by a second thread, and lose a lot when another process wants the core.
torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with real nodes one after another in one process, with which `pytest -n 2` begins."""
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.xdist_group("ros"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Of two processes, the one without real nodes takes only what time they leave."""
    if "PYTEST_XDIST_WORKER" in os.environ and not item.get_closest_marker("ros"):
        give_way()


@functools.cache
def give_way() -> None:
    """The lowest priority, for good, for this process and for those that it starts."""
    with contextlib.suppress(OSError):
        os.setsid()  # Linux may share the processors among sessions first, and among their processes only then
        Path("/proc/self/autogroup").write_text("19", encoding="ascii")
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@pytest.fixture(scope="session")
def bundle_path() -> Path:
    """The default model bundle; SGP_TEST_BUNDLE names another one."""
    path = Path(os.environ.get("SGP_TEST_BUNDLE") or share_path("models", "default"))
    assert (path / "bundle.json").is_file(), f"no bundle in {path}; train one with `sgp train`"
    return path


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory, bundle_path: Path) -> Path:
    """The folder of a demo that ran to its end, with seed 3."""
    from demo_process import demo

    folder = tmp_path_factory.mktemp("demo")
    with demo(folder, "--bundle", str(bundle_path), "--seed", "3") as process:
        output, _ = process.communicate()
    assert process.returncode == 0, output
    return folder


@pytest.fixture(scope="class")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """An empty ROS graph in a domain of its own; see ros_graph.Graph."""
    pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")
    from ros_graph import Graph

    with Graph(tmp_path_factory.mktemp("ros")) as made:
        yield made
