"""The parameter files that come with the package: every line means something to its node, and is in range."""

from __future__ import annotations

import pytest
import yaml

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from sgp_core.config import Config, EstimatorConfig, FramesConfig, MpcConfig, PlannerConfig, PusherConfig, SimConfig
from sgp_core.share import share_path
from sgp_ros.mocap_node import MocapNodeConfig
from sgp_ros.mpc_node import MpcNodeConfig
from sgp_ros.pusher_node import PusherNodeConfig
from sgp_ros.rig_sim_node import RigNodeConfig

CONFIGS: dict[str, list[Config]] = {
    "mocap_node": [EstimatorConfig(), FramesConfig(), MocapNodeConfig()],
    "mpc_node": [PlannerConfig(), MpcConfig(), MpcNodeConfig()],
    "pusher_node": [PusherConfig(), FramesConfig(), PusherNodeConfig()],
    "rig_sim_node": [SimConfig(), RigNodeConfig()],
}


@pytest.mark.parametrize("name", ["sim.yaml", "rig.yaml"])
def test_every_setting_is_known_and_in_range(name: str) -> None:
    nodes = yaml.safe_load(share_path("config", name).read_text(encoding="utf-8"))
    for pattern, section in nodes.items():
        values = section["ros__parameters"]
        assert pattern.startswith("/**/")
        for config in CONFIGS[pattern.removeprefix("/**/")]:
            known = config.to_dict()
            taken = {key: values.pop(key) for key in list(values) if key in known}
            for key, value in taken.items():
                # ROS refuses a whole number for a float, which the core would let pass.
                assert type(value) is type(known[key]), f"{name}: {pattern} {key}"
            config.replaced(**taken)
        assert not values, f"{name}: {pattern} does not know {sorted(values)}"


def test_both_nodes_agree_on_the_rig() -> None:
    nodes = yaml.safe_load(share_path("config", "rig.yaml").read_text(encoding="utf-8"))
    settings = {pattern.removeprefix("/**/"): section["ros__parameters"] for pattern, section in nodes.items()}
    assert settings["mpc_node"]["workspace_m"] == settings["pusher_node"]["workspace_m"]
    assert settings["mocap_node"]["table_from_mocap"] == settings["pusher_node"]["table_from_mocap"]
    assert settings["mocap_node"]["pusher_topic"] == settings["pusher_node"]["pusher_topic"]
