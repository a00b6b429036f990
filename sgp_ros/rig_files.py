"""What the launch files' arguments mean: which parameter files a node gets, and in which order. Needs no ROS."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sgp_core.errors import InputError
from sgp_core.parameter_files import node_parameters as settings_of
from sgp_core.share import share_path
from sgp_ros.mocap_settings import PER_MARKER, MocapNodeConfig, load_layout

NODES = ("mocap_node", "mpc_node", "pusher_node", "rig_sim_node")
Parameters = list[Path | Mapping[str, object]]
# Arguments of the launch files: default and description.
ARGUMENTS = {
    "namespace": ("sgp", "Namespace of all nodes and topics; two rigs on one network need two."),
    "mocap": (
        "vrpn_mocap",
        "Motion-capture driver: the name of a file in config/mocap, or a parameter file of your own.",
    ),
    "arm": (
        "",
        "Arm controller: the name of a file in config/arm, or a parameter file of your own; empty sends PoseStamped"
        " in the frame `table`.",
    ),
    "table": ("", "Where mocap system and arm stand: calibration.yaml as `sgp calibrate frames` writes it."),
    "pusher": (
        "",
        "Where the pusher is measured: empty as the arm's file says, or else the mocap's; `mocap` as the mocap's file"
        " says; or a topic with PoseStamped.",
    ),
    "layout": ("", "Layout file with the markers on the box; empty takes the parameter files', or config/layout.yaml."),
    "arm_topic": ("", "Topic of the commands for the arm; empty takes the arm's file, or `arm_target`."),
    "bundle": ("", "Folder of the model bundle; empty takes the parameter files', or models/default."),
    "goal": ("", "Goal from the start: a name in the goals file, or x,y,yaw in m and rad; empty waits for one."),
    "goals_file": ("", "Your own named goals, a YAML file that mpc_node/save_goal writes; need not exist yet."),
    "params_file": ("", "Parameter file of your own; it overrules the files above, single arguments overrule it."),
    "rviz": ("false", "Whether to open RViz with config/sgp.rviz."),
}


def presets(kind: str) -> list[str]:
    """Names of the files in config/mocap or config/arm."""
    return sorted(path.stem for path in share_path("config", kind).glob("*.yaml"))


def described(argument: str) -> str:
    """What `--show-args` tells of an argument; names of files that come with the package included."""
    text = ARGUMENTS[argument][1]
    return f"{text} Known names: {', '.join(presets(argument))}." if argument in ("mocap", "arm") else text


def preset(kind: str, wanted: str) -> Path:
    """The parameter file of a driver or arm, by its name in the package or by its path.

    Raises:
        InputError: no such file; the text lists the names there are.
    """
    if "/" in wanted or wanted.endswith((".yaml", ".yml")):
        return existing(kind, wanted)
    if wanted not in presets(kind):
        known = ", ".join(presets(kind))
        raise InputError(f"{kind}:={wanted} is not known; known are {known}; or give the path of a parameter file")
    return share_path("config", kind, f"{wanted}.yaml")


def existing(argument: str, path: str) -> Path:
    """The absolute path of a file or folder that a launch argument names. Raises InputError if there is none."""
    found = Path(path).expanduser().absolute()
    if not found.exists():
        raise InputError(f"{argument}:={path} does not exist ({found})")
    return found


def node_parameters(base: str, given: Mapping[str, str]) -> dict[str, Parameters]:
    """What each node gets, the later over the earlier.

    Args:
        base: file in config/ that everything else goes on top of.
        given: values of the launch arguments; "" or missing for those that were left out.

    Raises:
        InputError: a file or name does not exist.
    """
    drivers = [preset(kind, given[kind]) for kind in ("mocap", "arm") if given.get(kind)]
    own = [existing(name, given[name]) for name in ("table", "params_file") if given.get(name)]
    start = share_path("config", base)
    parameters: dict[str, Parameters] = {node: [start, *drivers, *own] for node in NODES}
    if given.get("pusher") == "mocap":
        # The arm's file may name a source of its own; underneath the mocap's file it has no say.
        parameters["mocap_node"] = [start, *reversed(drivers), *own]
    for node, values in _single(given).items():
        if values:
            parameters[node].append(values)
    return parameters


def replayed_topics(base: str, given: Mapping[str, str], *, goals: bool = True) -> list[str]:
    """The topics of a bag that `ros2 bag play` may publish again: what mocap_node takes, and goals. Nothing else.

    Everything else in a bag was said by this package's own nodes, or to an arm, which would move.

    Args:
        base, given: see `node_parameters`.
        goals: whether those belong to it.

    Raises:
        InputError: as `node_parameters`, or a file sets what mocap_node does not take.
    """
    values = values_of(base, given, "mocap_node")
    known = MocapNodeConfig().to_dict()
    config = MocapNodeConfig().replaced(**{name: value for name, value in values.items() if name in known})
    markers = [config.marker_topic]
    if config.input in PER_MARKER:
        markers = config.marker_topics(load_layout(config.layout_file))
    pusher = ["/tf", "/tf_static"] if config.pusher_input == "tf" else [config.pusher_topic]
    topics = dict.fromkeys([*markers, *pusher, *(("goal_pose", "goal_markers") if goals else ())])
    return [resolved(topic, given["namespace"]) for topic in topics]


def resolved(topic: str, namespace: str) -> str:
    """The absolute name of a topic."""
    return topic if topic.startswith("/") else "/".join(["", *filter(None, namespace.split("/")), topic])


def values_of(base: str, given: Mapping[str, str], node: str) -> dict[str, object]:
    """What `node_parameters` comes to for one node, by name. Raises InputError."""
    values: dict[str, object] = {}
    for part in node_parameters(base, given)[node]:
        values |= settings_of([part], node) if isinstance(part, Path) else part
    return values


def _single(given: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Arguments that are one parameter each, by node."""
    layout = {"layout_file": str(existing("layout", given["layout"]))} if given.get("layout") else {}
    bundle = {"bundle": str(existing("bundle", given["bundle"]))} if given.get("bundle") else {}
    goal = {"goal": given["goal"]} if given.get("goal") else {}
    # May still have to be made; relative to where the user stands, not to where the node runs.
    goals = {"goals_file": str(Path(given["goals_file"]).expanduser().absolute())} if given.get("goals_file") else {}
    topic = given.get("pusher", "")
    pusher = {"pusher_input": "pose", "pusher_topic": topic} if topic not in ("", "mocap") else {}
    arm = {"arm_topic": given["arm_topic"]} if given.get("arm_topic") else {}
    return {
        "mocap_node": {**layout, **pusher},
        "mpc_node": {**bundle, **goal, **goals},
        "pusher_node": arm,
        "rig_sim_node": layout,
    }
