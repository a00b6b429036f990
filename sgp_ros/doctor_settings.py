"""`sgp doctor` on the nodes' parameters: whether they fit each other, the bundle, and the clock."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from sgp_core.bundle_index import read_index
from sgp_core.config import Config, EstimatorConfig, FramesConfig, LimitsConfig, MpcConfig, PlannerConfig, PusherConfig
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.safety import RIGID_TOLERANCE_M, ROUNDING_M
from sgp_core.share import share_path
from sgp_ros.arm_output import PusherNodeConfig
from sgp_ros.doctor_ears import Record
from sgp_ros.doctor_findings import Finding, error, info, warn
from sgp_ros.doctor_graph import Graph
from sgp_ros.goal_inputs import GoalConfig
from sgp_ros.mocap_settings import MocapNodeConfig, load_layout
from sgp_ros.mpc_settings import MpcNodeConfig
from sgp_ros.priority import ProcessConfig

CONFIGS: dict[str, tuple[type[Config], ...]] = {
    "mocap_node": (EstimatorConfig, FramesConfig, MocapNodeConfig, ProcessConfig),
    "mpc_node": (PlannerConfig, MpcConfig, MpcNodeConfig, GoalConfig, ProcessConfig),
    "pusher_node": (PusherConfig, FramesConfig, PusherNodeConfig, ProcessConfig),
}
# What mpc_node plans with and pusher_node refuses beyond; the rest only slows the pusher down.
REFUSED_BEYOND = ("workspace_m", "keep_out_m", "step_limit_m")


def check_settings(graph: Graph, record: Record) -> list[Finding]:
    """Everything that the parameters tell by themselves."""
    found = [*_versions(graph), *_clock(graph, record)]
    if "mpc_node" in graph.parameters:
        found += _rates(graph)
        found += _bundle(graph)
    if {"mpc_node", "pusher_node"} <= set(graph.parameters):
        found += _limits(graph)
    if {"mocap_node", "pusher_node"} <= set(graph.parameters):
        found += _frames(graph)
    return found


def _versions(graph: Graph) -> list[Finding]:
    """A node without a parameter that this version has."""
    found = []
    for node, kinds in CONFIGS.items():
        given = graph.parameters.get(node)
        lacking = [] if given is None else [f.name for kind in kinds for f in fields(kind) if f.name not in given]
        if lacking:
            words = f"{node} is of another version than this `sgp`: it has no parameter {', '.join(lacking)}"
            found.append(warn("version", words, f"install the same version everywhere, and start {node} anew"))
    return found


def sim_time(graph: Graph) -> bool:
    """Whether the nodes follow /clock."""
    return any(values.get("use_sim_time") is True for values in graph.parameters.values())


def _clock(graph: Graph, record: Record) -> list[Finding]:
    """Whether all nodes have the same time, and it passes."""
    follow = sorted(node for node, values in graph.parameters.items() if values.get("use_sim_time") is True)
    # The simulated rig is what makes the time, and does not follow it.
    others = sorted(set(graph.parameters) - set(follow) - {"rig_sim_node"})
    if not follow:
        return []
    found = []
    if others:
        words = (
            f"{', '.join(follow)} follow /clock (use_sim_time), {', '.join(others)} do not: their stamps do not compare"
        )
        found.append(error("clock", words, "set use_sim_time alike for every node, false on a real rig"))
    publishers = graph.publishers("/clock")
    if not publishers:
        words = f"use_sim_time is set in {', '.join(follow)}, and nobody publishes /clock: their time stands still"
        found.append(error("clock", words, "set use_sim_time: false, or start what plays /clock (`sgp play`)"))
    elif len({one.ros_s for one in record.of("/clock")}) < 2:
        words = "/clock stands still, and with it every node that follows it (use_sim_time)"
        found.append(error("clock", words, "let what plays /clock go on, or set use_sim_time: false"))
    return found


def _limits(graph: Graph) -> list[Finding]:
    """mpc_node plans within its limits, pusher_node refuses what is beyond its own."""
    planned = graph.config("mpc_node", PlannerConfig).to_dict()
    kept = graph.config("pusher_node", PusherConfig).to_dict()
    found = []
    for field in fields(LimitsConfig):
        name = field.name
        if planned[name] == kept[name]:
            continue
        words = f"{name} is {_said(planned[name])} in mpc_node and {_said(kept[name])} in pusher_node"
        if name in REFUSED_BEYOND:
            remedy = f"set {name} of both alike: what mpc_node plans beyond it, pusher_node refuses"
            found.append(error("limits", words, remedy))
        else:
            found.append(warn("limits", words, f"set {name} of both alike: plans count on it"))
    return found


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _frames(graph: Graph) -> list[Finding]:
    """Both nodes have to agree on where the arm stands."""
    one, other = graph.config("mocap_node", FramesConfig).to_dict(), graph.config("pusher_node", FramesConfig).to_dict()
    names = [name for name in ("base_frame", "table_from_base") if one[name] != other[name]]
    if not names or not _uses_base(graph):
        return []
    words = "; ".join(f"{name} is {one[name]} in mocap_node and {other[name]} in pusher_node" for name in names)
    return [error("frame", words, "give both nodes the same calibration.yaml (table:= of rig.launch.py)")]


def _uses_base(graph: Graph) -> bool:
    based = graph.config("pusher_node", PusherNodeConfig).arm_frame == "base"
    return based or graph.config("mocap_node", MocapNodeConfig).pusher_input == "tf"


def _rates(graph: Graph) -> list[Finding]:
    """Whether a plan can be ready before the next is due."""
    planner, mpc = graph.config("mpc_node", PlannerConfig), graph.config("mpc_node", MpcConfig)
    found = []
    period_ms = 1e3 / mpc.rate_hz
    if planner.budget_ms > period_ms:
        words = f"budget_ms = {planner.budget_ms:g} is longer than a control period, {period_ms:g} ms at rate_hz ="
        remedy = "lower budget_ms or rate_hz of mpc_node; budget_ms: 0.0 takes 60 % of the period"
        found.append(warn("budget", f"{words} {mpc.rate_hz:g}: every other cycle is missed", remedy))
    elif planner.budget_ms > 1e3 * mpc.state_timeout_s:
        words = f"budget_ms = {planner.budget_ms:g} is longer than state_timeout_s = {mpc.state_timeout_s:g} s allows"
        remedy = "lower budget_ms of mpc_node: a step from such a plan is refused as stale"
        found.append(error("budget", words, remedy))
    if "pusher_node" in graph.parameters:
        pusher = graph.config("pusher_node", PusherConfig)
        if mpc.rate_hz * pusher.step_duration_s < 1.0 - 1e-6:
            words = f"rate_hz = {mpc.rate_hz:g} is less than one plan for each step of {pusher.step_duration_s:g} s"
            found.append(warn("budget", words, "raise rate_hz of mpc_node: the pusher stops between the steps"))
    return found


def _bundle(graph: Graph) -> list[Finding]:
    """The bundle of mpc_node against the layout of mocap_node and the steps of pusher_node."""
    given = graph.config("mpc_node", MpcNodeConfig).bundle
    path = Path(given) if given else share_path("models", "default")
    try:
        index, _ = read_index(path)
    except InputError as problem:
        words = f"the bundle of mpc_node cannot be read here: {problem}"
        return [info("bundle", words, "run `sgp doctor` on the computer of mpc_node, from the same folder")]
    found = []
    if "pusher_node" in graph.parameters:
        duration_s = graph.config("pusher_node", PusherConfig).step_duration_s
        if abs(duration_s - float(index["step_duration_s"])) > 1e-6:
            words = f"pusher_node has step_duration_s = {duration_s:g}, the bundle {index['step_duration_s']:g}"
            remedy = f"start pusher_node with step_duration_s: {float(index['step_duration_s'])}"
            found.append(error("bundle", words, remedy))
    step_limit_m, limit_m = graph.config("mpc_node", PlannerConfig).step_limit_m, float(index["limits"]["step_limit_m"])
    if step_limit_m > limit_m + ROUNDING_M:
        words = (
            f"step_limit_m = {step_limit_m:g} of mpc_node is longer than the steps the bundle has seen, {limit_m:g} m"
        )
        found.append(warn("bundle", words, f"set step_limit_m: {limit_m:g} of mpc_node and pusher_node"))
    if "mocap_node" in graph.parameters:
        found += _layouts(graph, MarkerLayout.from_dict(index["layout"]))
    return found


def _layouts(graph: Graph, trained: MarkerLayout) -> list[Finding]:
    named = graph.config("mocap_node", MocapNodeConfig).layout_file or "config/layout.yaml"
    try:
        seen = load_layout(graph.config("mocap_node", MocapNodeConfig).layout_file)
    except InputError as problem:
        words = f"the layout of mocap_node cannot be read here: {problem}"
        return [info("bundle", words, "run `sgp doctor` on the computer of mocap_node, from the same folder")]
    remedy = "give mocap_node the layout that the bundle was trained with, or mpc_node a bundle of this box"
    if seen.count != trained.count:
        words = f"{named} has {seen.count} markers, the bundle of mpc_node was trained with {trained.count}"
        return [error("bundle", words, remedy)]
    apart_m = float(np.linalg.norm(seen.places - trained.places, axis=1).max())
    if apart_m > RIGID_TOLERANCE_M:
        words = f"{named} has a marker {apart_m * 1e3:.0f} mm from where the bundle of mpc_node was trained with it"
        return [error("bundle", words, remedy)]
    return []
