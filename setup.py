"""Installs sgp_core and sgp_ros, and what ROS 2 looks for in the share folder; works under pip and under colcon.

The metadata stands here rather than in pyproject.toml because colcon runs this file, and because ROS distributions
ship a setuptools that is years older than the one pip fetches.
"""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "sgp_ros"
EXECUTABLES = ("mocap_node", "mpc_node", "pusher_node", "rig_sim_node", "teleop_node", "sgp")
TESTS = [
    "pytest>=8.3,<9",  # runs the tests; launch_testing breaks with pytest 9
    "pytest-timeout>=2.3",  # ends a test that hangs
    "hypothesis>=6.100",  # searches for counterexamples
    "beartype>=0.19",  # checks the shape annotations while tests run
]
HERE = Path(__file__).parent


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """Every file below a folder, kept in its subfolder, for share/sgp_ros."""
    found: dict[str, list[str]] = {}
    for path in sorted((HERE / folder).rglob("*")):
        relative = path.relative_to(HERE)
        if path.is_file() and not any(part.startswith((".", "__")) for part in relative.parts):
            found.setdefault(f"share/{NAME}/{relative.parent.as_posix()}", []).append(relative.as_posix())
    return list(found.items())


setup(
    name=NAME,
    version="0.1.0",
    description="Real-time score-guided planning for ROS 2: pushes a box to a goal from motion-capture markers.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    maintainer="sgp_ros maintainers",
    maintainer_email="sgp_ros@example.org",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["sgp_core", "sgp_core.*", "sgp_ros"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *tree("launch"),
        *tree("config"),
        *tree("models"),
        (f"share/{NAME}/benchmarks", ["benchmarks/yardstick.py"]),  # what `sgp bench` compares with
        # A wheel ignores install_scripts of setup.cfg, and `ros2 run` looks nowhere else than here.
        (f"lib/{NAME}", [f"scripts/{name}" for name in EXECUTABLES]),
    ],
    zip_safe=False,
    # Shell scripts and no entry points: colcon would write its own Python into those, the system's as a rule, and torch
    # lives in a virtual environment. These take the Python beside them, or else the one that is active.
    scripts=["scripts/sgp"],
    install_requires=[
        "torch==2.13.0",  # networks, TorchScript, gradients of the planner; exact: bundles are TorchScript
        "numpy>=2.0",  # arrays at every boundary
        "scipy>=1.13",  # assignment and rotations in estimation and calibration
        "mujoco>=3.3",  # the simulated rig
        "typer>=0.15",  # the `sgp` command line
        "rich>=13.7",  # progress bars and tables in the terminal
        "matplotlib>=3.9",  # the trajectory picture
        "pyyaml>=6.0",  # layouts, goals and settings
        "jaxtyping>=0.2.36",  # shapes in annotations, checked in tests
        "rosbags>=0.10.10,<0.12",  # writes and reads bags without a ROS installation
        "mcap>=1.2,<2",  # reads what a recorder that was killed left of a bag
        "lz4>=4.3",  # measures what a chunk of a bag would become before rosbags unpacks it
        "backports.zstd>=1.0; python_version < '3.14'",  # the same for zstd; newer Pythons have it
        "optuna>=4.0",  # `sgp tune`: proposes settings and keeps their results, also in a data base that machines share
        "sqlalchemy>=2.0",  # what Optuna keeps results with; here only for the names of its errors
        "tensorboard>=2.16",  # curves of `sgp train`
    ],
    extras_require={
        # ROS 2 as wheels, for machines without a ROS installation; never needed where one is sourced.
        "ros": [
            "ros-rclpy[fastrtps]",  # client library, and Fast DDS under it
            "ros-builtin-interfaces",  # Time
            "ros-diagnostic-msgs",  # status, /diagnostics
            "ros-geometry-msgs",  # markers, state, goal, step, arm target
            "ros-nav-msgs",  # plan
            "ros-rcl-interfaces",  # parameter descriptions and services
            "ros-rosgraph-msgs",  # /clock of the simulated rig
            "ros-sensor-msgs",  # PointCloud2 markers
            "ros-std-msgs",  # headers and colours
            "ros-std-srvs",  # Trigger and SetBool services
            "ros-visualization-msgs",  # plan_markers
        ],
        "view": ["rerun-sdk>=0.41"],  # `sgp view`: a live graph or a bag in a browser
        "baselines": ["pytorch-mppi>=0.9,<1"],  # `sgp evaluate --planner mppi`: the library's MPPI to compare with
        "test": TESTS,  # by this name `colcon test` knows that it has to call pytest
        "dev": [
            *TESTS,
            "ruff>=0.9",  # linter and formatter
            "mypy>=1.13",  # type checker
            "types-PyYAML",  # types of pyyaml for mypy
            "import-linter>=2.1",  # holds the arrows between the modules
            "pytest-xdist>=3.6",  # tests on both cores
            "pre-commit>=4.0",  # the same checks before each commit
            "selenium>=4.20",  # opens what `sgp view` shows in a real browser
            "setuptools>=70.1,<80",  # test_package builds the wheel it looks into, without a network; colcon wants < 80
            "colcon-core>=0.18",  # builds the package as a ROS workspace does
            "colcon-ros>=0.5",  # reads package.xml and writes the hooks of a ROS workspace
            "ros-ament-flake8>=0.17",  # ROS's flake8, with the settings of setup.cfg
            "ros-ament-pep257>=0.17",  # ROS's docstring check
            "ros-ament-lint>=0.17",  # part of the two above
            "flake8>=7",  # called by ament_flake8
            "pydocstyle>=6.3",  # called by ament_pep257
        ],
    },
)
