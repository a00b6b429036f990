"""The parameter files that come with the package: every line means something to its node, and is in range."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from sgp_core.config import (
    Config,
    EstimatorConfig,
    FramesConfig,
    LimitsConfig,
    MpcConfig,
    PlannerConfig,
    PusherConfig,
    SimConfig,
)
from sgp_core.parameter_files import node_parameters
from sgp_core.share import share_path
from sgp_ros.arm_output import PusherNodeConfig
from sgp_ros.goal_inputs import GoalConfig
from sgp_ros.mocap_settings import MocapNodeConfig
from sgp_ros.mpc_settings import MpcNodeConfig
from sgp_ros.priority import ProcessConfig
from sgp_ros.rig_files import presets
from sgp_ros.rig_sim_node import RigNodeConfig

CONFIGS: dict[str, list[Config]] = {
    "mocap_node": [EstimatorConfig(), FramesConfig(), MocapNodeConfig(), ProcessConfig()],
    "mpc_node": [PlannerConfig(), MpcConfig(), MpcNodeConfig(), GoalConfig(), ProcessConfig()],
    "pusher_node": [PusherConfig(), FramesConfig(), PusherNodeConfig(), ProcessConfig()],
    "rig_sim_node": [SimConfig(), RigNodeConfig(), ProcessConfig()],
}
MOCAPS = [share_path("config", "mocap", f"{name}.yaml") for name in presets("mocap")]
ARMS = [share_path("config", "arm", f"{name}.yaml") for name in presets("arm")]
BASES = [share_path("config", name) for name in ("rig.yaml", "sim.yaml", "fast.yaml", "examples/second_rig/sim.yaml")]


def made(node: str, *paths: Path) -> dict[str, object]:
    """What the files give a node, each value checked; defaults included."""
    values = node_parameters(paths, node)
    found: dict[str, object] = {}
    for config in CONFIGS[node]:
        known = config.to_dict()
        taken = {key: values.pop(key) for key in list(values) if key in known}
        for key, value in taken.items():
            # ROS refuses a whole number for a float, which the core would let pass.
            assert type(value) is type(known[key]), f"{node} {key}"
        found |= config.replaced(**taken).to_dict()
    assert not values, f"{node} does not know {sorted(values)}"
    return found


@pytest.mark.parametrize("path", [*BASES, *MOCAPS, *ARMS], ids=lambda path: path.stem)
def test_every_setting_is_known_and_in_range(path: Path) -> None:
    nodes = yaml.safe_load(path.read_text(encoding="utf-8"))
    for pattern in nodes:
        assert pattern.startswith("/**/")  # nodes live in any namespace
        made(pattern.removeprefix("/**/"), path)


@pytest.mark.parametrize("arm", ARMS, ids=lambda path: path.stem)
@pytest.mark.parametrize("mocap", MOCAPS, ids=lambda path: path.stem)
def test_every_driver_goes_with_every_arm(mocap: Path, arm: Path) -> None:
    for node in ("mocap_node", "mpc_node", "pusher_node"):
        values = made(node, BASES[0], mocap, arm)
        assert values.get("enabled", False) is False  # nothing on a real rig moves before somebody says so


def test_both_nodes_agree_on_the_limits_of_the_rig() -> None:
    mpc, pusher = (made(node, BASES[0]) for node in ("mpc_node", "pusher_node"))
    for name in LimitsConfig().to_dict():
        assert mpc[name] == pusher[name], name


@pytest.mark.parametrize("arm", ARMS, ids=lambda path: path.stem)
def test_no_arm_gives_one_node_a_limit_that_the_other_does_not_know(arm: Path) -> None:
    mpc, pusher = (made(node, BASES[0], arm) for node in ("mpc_node", "pusher_node"))
    assert {name: mpc[name] for name in LimitsConfig().to_dict()} == {
        name: pusher[name] for name in LimitsConfig().to_dict()
    }


@pytest.mark.parametrize("path", MOCAPS, ids=lambda path: path.stem)
def test_drivers_are_found_from_any_namespace(path: Path) -> None:
    values = made("mocap_node", path)
    assert str(values["marker_topic"]).startswith("/")
    assert values["pusher_input"] == "tf" or str(values["pusher_topic"]).startswith("/")
