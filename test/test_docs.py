"""What the documents say of settings and files is what the code says."""

import dataclasses
import re
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")

from sgp_core.config import Config, EstimatorConfig, FramesConfig, MpcConfig, PlannerConfig, PusherConfig, SimConfig
from sgp_core.types import Reason
from sgp_ros.arm_output import PusherNodeConfig
from sgp_ros.goal_inputs import GoalConfig
from sgp_ros.mocap_settings import MocapNodeConfig
from sgp_ros.mpc_settings import MpcNodeConfig
from sgp_ros.priority import ProcessConfig
from sgp_ros.rig_files import ARGUMENTS, presets
from sgp_ros.rig_sim_node import RigNodeConfig
from sgp_ros.teleop_node import TeleopConfig

ROOT = Path(__file__).parents[1]
README, NODES, RIG = (ROOT / name for name in ("README.md", "docs/nodes.md", "docs/rig.md"))


def table(*configs: type[Config]) -> str:
    """The Markdown table of all fields; on failure the test shows what to paste."""
    lines = ["| parameter | default | range | unit | what | live |", "|---|---|---|---|---|---|"]
    for config in configs:
        for field in dataclasses.fields(config):
            meta = field.metadata
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            bounds = "" if isinstance(field.default, str | bool) else f"{meta['low']:g} to {meta['high']:g}"
            live = "yes" if meta["live"] else "no"
            lines.append(f"| `{field.name}` | {default} | {bounds} | {meta['unit']} | {meta['doc']} | {live} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("document", "configs"),
    [
        (README, (PlannerConfig,)),
        (NODES, (PlannerConfig, MpcConfig, MpcNodeConfig, GoalConfig)),
        (NODES, (EstimatorConfig, FramesConfig, MocapNodeConfig)),
        (NODES, (PusherConfig, FramesConfig, PusherNodeConfig)),
        (NODES, (SimConfig, RigNodeConfig)),
        (NODES, (TeleopConfig,)),
        (NODES, (ProcessConfig,)),
    ],
)
def test_parameter_tables_are_those_of_the_code(document, configs):
    assert table(*configs) in document.read_text(), f"put this into {document.name}:\n{table(*configs)}"


def test_every_reason_code_is_explained():
    text = NODES.read_text()
    assert [reason for reason in Reason if f"| `{reason}` |" not in text] == []


def test_rig_document_names_every_driver_arm_and_argument():
    text = RIG.read_text()
    names = [f"`{name}`" for kind in ("mocap", "arm") for name in presets(kind)]
    assert [name for name in [*names, *(f"{argument}:=" for argument in ARGUMENTS)] if name not in text] == []


@pytest.mark.parametrize(
    "document", [README, NODES, RIG, ROOT / "docs/results.md", ROOT / "docs/quality.md", ROOT / "CONTRIBUTING.md"]
)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target
