"""`colcon build` as in a ROS workspace: what it installs, and that a shell which sources it can start the nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

# No skip while importing: launch_testing of a ROS installation imports every test module and stumbles over it.
pytestmark = pytest.mark.skipif(not find_spec("colcon_ros"), reason="no colcon: install the extra `dev` or colcon-ros")
ROOT = Path(__file__).parents[1]
NODES = {"mocap_node", "mpc_node", "pusher_node", "rig_sim_node", "teleop_node"}
# Keys of the rosdep database and package names of the ROS distributions Jazzy and Kilted, looked up in ros/rosdistro.
ROSDEP_KEYS = {
    "ament_flake8",
    "ament_pep257",
    "python3-beartype",
    "python3-hypothesis",
    "python3-matplotlib",
    "python3-numpy",
    "python3-pytest",
    "python3-pytest-timeout",
    "python3-rich",
    "python3-scipy",
    "python3-yaml",
}
ROS_PACKAGES = {
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "nav_msgs",
    "rcl_interfaces",
    "rclpy",
    "ros2launch",
    "rosgraph_msgs",
    "rviz2",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
    "tf2_ros_py",
    "visualization_msgs",
}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """In a shell whose active Python is this one, and that has sourced nothing."""
    sourced = ("AMENT_", "COLCON_", "PYTHONPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(sourced)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)


def build(folder: Path, *options: str) -> Path:
    """A workspace with a copy of this package, built with colcon's defaults; returns the package's prefix."""
    ignored = shutil.ignore_patterns(".*", "out", "build", "install", "log", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "src/sgp_ros", ignore=ignored)
    colcon = shutil.which("colcon", path=Path(sys.executable).parent) or "colcon"
    done = run([colcon, "build", *options], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Finished <<< sgp_ros" in done.stdout, done.stdout + done.stderr
    return folder / "install/sgp_ros"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workspace"))


def sourced(prefix: Path, command: str) -> str:
    """Output of a shell command in a shell that has sourced the workspace."""
    script = f'. "{prefix.parent}/setup.sh" && cd / && {command}'
    done = run(["sh", "-c", script], prefix)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def files_below(folder: Path) -> set[str]:
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if not any(part.startswith((".", "__")) for part in path.parts)}


@pytest.mark.parametrize("folder", ["config", "launch", "models"])
def test_share_folder_holds_the_whole_tree(prefix: Path, folder: str) -> None:
    assert files_below(prefix / "share/sgp_ros" / folder) == files_below(ROOT / folder)


def test_ament_index_and_hooks(prefix: Path) -> None:
    """Without the hooks `ros2 pkg list` does not know the package, and nothing says why."""
    assert (prefix / "share/ament_index/resource_index/packages/sgp_ros").is_file()
    assert (prefix / "share/sgp_ros/package.xml").read_bytes() == (ROOT / "package.xml").read_bytes()
    hooks = {path.name for path in (prefix / "share/sgp_ros/hook").iterdir()}
    assert {"ament_prefix_path.dsv", "ament_prefix_path.sh", "pythonpath.dsv", "pythonpath.sh"} <= hooks
    assert sourced(prefix, 'echo "$AMENT_PREFIX_PATH"') == str(prefix)


def test_executables_are_shell_scripts_that_take_the_active_python(prefix: Path) -> None:
    """An entry point would name colcon's own Python, which as a rule is the system's and has no torch."""
    scripts = {path.name: path for path in (prefix / "lib/sgp_ros").iterdir()}
    assert set(scripts) == NODES | {"sgp"}
    for path in [*scripts.values(), prefix / "bin/sgp"]:
        assert os.access(path, os.X_OK)
        assert path.read_text().startswith("#!/bin/sh\n")


def test_sourced_shell_has_the_command_line(prefix: Path) -> None:
    assert sourced(prefix, "command -v sgp") == str(prefix / "bin/sgp")
    assert str(prefix / "share/sgp_ros/models/default") in sourced(prefix, "sgp info").replace("\n", "")


@pytest.mark.ros
def test_node_runs_from_the_workspace(prefix: Path) -> None:
    done = sourced(prefix, f'"{prefix}/lib/sgp_ros/mpc_node" --ros-args -p bundle:=/none 2>&1; echo "code $?"')
    assert "/none" in done
    assert done.endswith("code 2")


def test_symlink_install_runs_the_sources_of_the_workspace(tmp_path: Path) -> None:
    prefix = build(tmp_path, "--symlink-install")
    assert NODES | {"sgp"} >= {path.name for path in (prefix / "lib/sgp_ros").iterdir()} >= NODES
    where = "from sgp_core.share import share_path; print(share_path('models'))"
    assert sourced(prefix, f'python3 -P -c "{where}"') == str(tmp_path / "src/sgp_ros/models")


def test_manifest_is_without_warnings_and_rosdep_knows_every_key() -> None:
    from catkin_pkg.package import parse_package

    warnings: list[str] = []
    package = parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert warnings == []
    keys = {dependency.name for dependency in [*package.exec_depends, *package.test_depends, *package.build_depends]}
    assert keys - ROSDEP_KEYS - ROS_PACKAGES == set(), "look the new key up in ros/rosdistro, then add it above"
