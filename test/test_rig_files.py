"""What the launch files' arguments mean, without launching anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from sgp_core.errors import InputError
from sgp_core.parameter_files import node_parameters as read
from sgp_core.share import share_path
from sgp_ros.rig_files import (
    ARGUMENTS,
    NODES,
    Parameters,
    described,
    node_parameters,
    preset,
    presets,
    replayed_topics,
)


def files(parameters: Parameters) -> list[Path]:
    return [entry for entry in parameters if isinstance(entry, Path)]


def single(parameters: Parameters) -> dict[str, object]:
    return {key: value for entry in parameters if not isinstance(entry, Path) for key, value in entry.items()}


@pytest.fixture
def own(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / f"{name}.yaml" for name in ("table", "params_file", "layout", "arm")}
    for path in made.values():
        path.write_text("/**/mocap_node:\n  ros__parameters:\n    pusher_topic: /from_the_arm\n")
    return made


def test_files_come_in_the_order_in_which_they_overrule(own: dict[str, Path]) -> None:
    given = {"params_file": str(own["params_file"]), "table": str(own["table"]), "mocap": "vrpn_mocap"}
    given["arm"] = str(own["arm"])
    expected = [
        share_path("config", "rig.yaml"),
        share_path("config", "mocap", "vrpn_mocap.yaml"),
        own["arm"],
        own["table"],
        own["params_file"],
    ]
    for node in ("mocap_node", "mpc_node", "pusher_node"):
        assert node_parameters("rig.yaml", given)[node] == expected


def test_single_arguments_go_to_their_node_and_last(own: dict[str, Path], tmp_path: Path) -> None:
    given = {"layout": str(own["layout"]), "goal": "0.7,0.0,0.1", "arm_topic": "/servo", "goals_file": "mine.yaml"}
    parameters = node_parameters("rig.yaml", {**given, "bundle": str(tmp_path), "params_file": str(own["params_file"])})
    assert all(isinstance(parameters[node][-1], dict) for node in NODES)
    assert single(parameters["mocap_node"]) == {"layout_file": str(own["layout"])}
    assert single(parameters["mpc_node"]) == {
        "bundle": str(tmp_path),
        "goal": "0.7,0.0,0.1",
        "goals_file": str(Path.cwd() / "mine.yaml"),
    }
    assert single(parameters["pusher_node"]) == {"arm_topic": "/servo"}


def test_what_is_left_out_hides_nothing_that_a_file_says() -> None:
    parameters = node_parameters("sim.yaml", dict.fromkeys(ARGUMENTS, ""))
    assert parameters == {node: [share_path("config", "sim.yaml")] for node in NODES}


def test_the_pusher_is_measured_where_the_arm_says_unless_told_otherwise(own: dict[str, Path]) -> None:
    def source(pusher: str) -> object:
        given = {"mocap": "vrpn_mocap", "arm": str(own["arm"]), "pusher": pusher}
        parameters = node_parameters("rig.yaml", given)["mocap_node"]
        return (read(files(parameters), "mocap_node") | single(parameters))["pusher_topic"]

    assert source("") == "/from_the_arm"
    assert source("mocap") == "/vrpn_mocap/pusher/pose"
    assert source("/tool") == "/tool"


@pytest.mark.parametrize("kind", ["mocap", "arm"])
def test_unknown_name_lists_the_known_ones(kind: str) -> None:
    with pytest.raises(InputError) as told:
        preset(kind, "nothing")
    assert f"{kind}:=nothing is not known" in str(told.value)
    assert presets(kind)
    assert all(name in str(told.value) for name in presets(kind))
    assert all(name in described(kind) for name in presets(kind))


@pytest.mark.parametrize("argument", ["mocap", "arm", "table", "params_file", "layout", "bundle"])
def test_missing_file_is_named_with_its_argument(argument: str) -> None:
    with pytest.raises(InputError, match=rf"{argument}:=\./none\.yaml does not exist"):
        node_parameters("rig.yaml", {argument: "./none.yaml"})


def test_relative_paths_count_from_where_the_user_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert preset("mocap", "mine.yaml") == tmp_path / "mine.yaml"


@pytest.mark.parametrize("arm", presets("arm"))
@pytest.mark.parametrize("mocap", presets("mocap"))
def test_a_bag_is_played_without_commands_to_the_arm(mocap: str, arm: str) -> None:
    topics = replayed_topics("sim.yaml", {"namespace": "sgp", "mocap": mocap, "arm": arm})
    command = read([preset("arm", arm)], "pusher_node")["arm_topic"]
    assert command not in topics
    assert {"/sgp/goal_pose", "/sgp/goal_markers"} < set(topics)
    assert all(topic.startswith("/") for topic in topics)


def test_replayed_topics_are_those_of_the_driver() -> None:
    given = {"namespace": "left", "pusher": "/tool"}
    markers = [f"/left/vrpn_mocap/marker{k}/pose" for k in range(1, 6)]
    assert replayed_topics("sim.yaml", given) == [*markers, "/tool", "/left/goal_pose", "/left/goal_markers"]
    given = {"namespace": "sgp", "mocap": "vrpn_mocap_body", "arm": "servo"}
    assert replayed_topics("rig.yaml", given)[:3] == ["/vrpn_mocap/box/pose", "/tf", "/tf_static"]


@pytest.mark.parametrize(
    ("namespace", "goal"), [("/sgp", "/sgp/goal_pose"), ("", "/goal_pose"), ("a/b", "/a/b/goal_pose")]
)
def test_namespaces_may_be_written_either_way(namespace: str, goal: str) -> None:
    assert goal in replayed_topics("sim.yaml", {"namespace": namespace})
