"""What the launch files share. Needs the package `launch_ros` of a ROS installation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from sgp_core.share import share_path
from sgp_ros.rig_files import ARGUMENTS, described, node_parameters, replayed_topics


def description(
    base: str,
    nodes: Sequence[str],
    arguments: Sequence[str],
    *,
    defaults: Mapping[str, str] | None = None,
    replay: bool = False,
) -> LaunchDescription:
    """A launch description of some of the nodes, and RViz on request.

    Args:
        base: parameter file in config/ underneath all others.
        nodes: executables to start; when one of them ends, for whatever reason, all do.
        arguments: names from `rig_files.ARGUMENTS` to offer.
        defaults: of arguments, where they differ.
        replay: follow the clock of a bag, and send no steps, whatever the files say.
    """
    declared = [
        DeclareLaunchArgument(name, default_value=(defaults or {}).get(name, default), description=described(name))
        for name, (default, _) in ARGUMENTS.items()
        if name in arguments
    ]

    def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        given = {name: LaunchConfiguration(name).perform(context) for name in arguments}
        remarks = _how_to_play(base, given) if replay else _remarks(given)
        return [*remarks, *_nodes(base, nodes, given, replay), _rviz(given["namespace"], replay)]

    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _nodes(base: str, nodes: Sequence[str], given: Mapping[str, str], replay: bool) -> list[LaunchDescriptionEntity]:
    parameters = node_parameters(base, given)
    if replay:
        for node in nodes:
            parameters[node].append({"use_sim_time": True} | ({"enabled": False} if node == "mpc_node" else {}))
    return [
        Node(
            package="sgp_ros",
            executable=node,
            namespace=given["namespace"],
            parameters=parameters[node],
            output="screen",
            emulate_tty=True,
            on_exit=_end_all,
        )
        for node in nodes
    ]


def _end_all(_event: ProcessExited, context: LaunchContext) -> Shutdown | None:
    """Without one of its nodes the loop does nothing: an end of all stops the arm at once and shows the reason last."""
    return None if context.is_shutdown else Shutdown()


def _rviz(namespace: str, replay: bool) -> LaunchDescriptionEntity:
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", str(share_path("config", "sgp.rviz"))],
        parameters=[{"use_sim_time": replay}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )


def _how_to_play(base: str, given: Mapping[str, str]) -> list[LaunchDescriptionEntity]:
    """A bag holds commands to the arm as well; only what is measured may be said again."""
    topics = " ".join(replayed_topics(base, given))
    return [LogInfo(msg=f"play the bag with: ros2 bag play BAG --clock 100 --topics {topics}")]


def _remarks(given: Mapping[str, str]) -> list[LaunchDescriptionEntity]:
    """What a user may have forgotten."""
    if given.get("mocap") and not given.get("table"):
        return [
            LogInfo(msg="no table:=calibration.yaml: unless params_file says otherwise, the mocap's frame is `table`")
        ]
    return []
