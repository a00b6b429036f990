"""What pip and colcon install: the wheel is built and installed for real, then looked into."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path

ROOT = Path(__file__).parents[1]
NODES = ("mocap_node", "mpc_node", "pusher_node", "rig_sim_node")
SHARED = ("config", "launch", "models")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that no stale build/ folder of the checkout gets in."""
    source, out = tmp_path_factory.mktemp("source") / "sgp_ros", tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "out", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    run_pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", out, source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prefix, such as /usr/local, with the wheel installed."""
    path = tmp_path_factory.mktemp("prefix")
    run_pip("install", "--no-deps", "--no-index", "--ignore-installed", "--prefix", path, wheel)
    return path


def run_pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr


def files_below(folder: Path) -> set[str]:
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {path.as_posix() for path in found if not any(part.startswith((".", "__")) for part in path.parts)}


@pytest.mark.parametrize("folder", SHARED)
def test_share_folder_holds_the_whole_tree(prefix: Path, folder: str) -> None:
    assert files_below(prefix / "share/sgp_ros" / folder) == files_below(ROOT / folder)


def test_ament_index_knows_the_package(prefix: Path) -> None:
    assert (prefix / "share/ament_index/resource_index/packages/sgp_ros").is_file()
    assert (prefix / "share/sgp_ros/package.xml").read_bytes() == (ROOT / "package.xml").read_bytes()


@pytest.mark.parametrize("node", NODES)
def test_ros2_run_finds_an_executable_that_starts_its_module(prefix: Path, node: str) -> None:
    script = prefix / "lib/sgp_ros" / node
    assert os.access(script, os.X_OK)
    assert f"-m sgp_ros.{node} " in script.read_text()
    assert (ROOT / "sgp_ros" / f"{node}.py").is_file()


def test_node_executables_prefer_the_python_of_their_own_prefix(prefix: Path) -> None:
    (prefix / "bin").mkdir(exist_ok=True)
    own = prefix / "bin/python3"
    own.write_text('#!/bin/sh\necho own "$@"\n')
    own.chmod(0o755)
    done = subprocess.run([prefix / "lib/sgp_ros/mpc_node", "--ros-args"], capture_output=True, text=True, timeout=10)
    own.unlink()
    assert done.stdout.split() == ["own", "-P", "-m", "sgp_ros.mpc_node", "--ros-args"]


def test_command_line_takes_the_python_beside_it(prefix: Path) -> None:
    own = prefix / "bin/python3"
    own.write_text('#!/bin/sh\necho own "$@"\n')
    own.chmod(0o755)
    for script in (prefix / "bin/sgp", prefix / "lib/sgp_ros/sgp"):
        done = subprocess.run([script, "demo"], capture_output=True, text=True, timeout=10)
        words = done.stdout.split()
        assert (words[0], words[1], words[-1]) == ("own", "-P", "demo")
    own.unlink()


def test_wheel_installs_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.startswith("sgp_ros-")} == {"sgp_core", "sgp_ros"}
    data = {"/".join(name.split("/")[2:4]) for name in names if ".data/data/" in name}
    assert data == {"share/ament_index", "share/sgp_ros", "lib/sgp_ros"}


def test_installed_code_finds_the_share_folder_of_its_own_prefix(prefix: Path) -> None:
    (packages,) = prefix.glob("lib/python*/site-packages")
    command = [
        sys.executable,
        "-P",
        "-c",
        "from sgp_core.share import share_path; print(share_path('models', 'default'))",
    ]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    assert Path(done.stdout.strip()) == prefix / "share/sgp_ros/models/default"


def test_checkout_finds_its_own_share_folder() -> None:
    assert share_path("config") == ROOT / "config"


def test_version_is_the_same_everywhere() -> None:
    manifest = ElementTree.parse(ROOT / "package.xml").getroot()
    assert manifest.findtext("version") == importlib.metadata.version("sgp_ros")
    assert manifest.findtext("export/build_type") == "ament_python"


def test_maintainer_address_is_one_that_colcon_accepts() -> None:
    """With an invalid one, colcon builds without the ament hooks and says nothing."""
    address = ElementTree.parse(ROOT / "package.xml").getroot().find("maintainer").get("email")  # type: ignore[union-attr]
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", address or "")


def test_manifest_names_every_ros_package_that_the_code_imports() -> None:
    imported = {module for path in [*ROOT.glob("sgp_ros/*.py"), *ROOT.glob("launch/*.py")] for module in imports(path)}
    ros = {
        module
        for module in imported
        if module.endswith(("_msgs", "_srvs", "_interfaces")) or "launch" in module or module == "rclpy"
    }
    named = {entry.text for entry in ElementTree.parse(ROOT / "package.xml").getroot().iter("exec_depend")}
    assert ros - OPTIONAL <= named


OPTIONAL = {"mocap4r2_msgs", "motion_capture_tracking_interfaces"}  # drivers' own messages, imported only when used


def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module.split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def test_pins_lie_within_the_ranges() -> None:
    pins = pins_in("constraints.txt")
    for text in importlib.metadata.requires("sgp_ros") or []:
        requirement = Requirement(text)
        assert canonical(requirement.name) in pins, f"{requirement.name} has no pin in constraints.txt"
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), text


def test_jazzy_has_every_ros_package() -> None:
    pins = pins_in("requirements-jazzy.txt")
    requirements = [Requirement(text) for text in importlib.metadata.requires("sgp_ros") or []]
    of_extras = [r for r in requirements if r.marker and "extra" in str(r.marker)]
    ros = {canonical(r.name) for r in of_extras if r.marker and r.marker.evaluate({"extra": "ros"})}
    assert "ros-rclpy" in ros
    assert ros - set(pins) == set()
    assert pins["ros-rclpy"].startswith("7.")


def pins_in(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
    return {canonical(name): version for name, _, version in (line.partition("==") for line in lines)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_default_layout_and_settings_can_be_read() -> None:
    assert MarkerLayout.load(share_path("config", "layout.yaml")).count == 5
    for path in [*ROOT.glob("config/**/*.yaml"), *ROOT.glob("config/*.rviz")]:
        assert yaml.safe_load(path.read_text(encoding="utf-8")), path


WITHOUT_ROS = """
import sys
sys.modules["rclpy"] = None
from sgp_ros import cli
for name in cli.COMMANDS:
    cli.command(name)
for words in (["demo"], ["record", "-o", "bag"], ["play", "bag"], ["doctor"], ["view", "--save", "run.rrd"]):
    sys.argv[1:] = words
    try:
        cli.main()
    except SystemExit as ended:
        print(words[0], ended.code)
"""


def test_command_line_works_without_ros(tmp_path: Path) -> None:
    """Machines that collect and train often have no rclpy; what needs it says so."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_ROS], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["demo 2", "record 2", "play 2", "doctor 2", "view 2"]
    assert done.stderr.count("error: this needs ROS 2 (") == 5
    assert not list(tmp_path.iterdir())
