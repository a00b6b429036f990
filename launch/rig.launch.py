"""The controller on a real rig: mocap_node, mpc_node and pusher_node, each in its own process.

    ros2 launch sgp_ros rig.launch.py params_file:=/path/to/my_rig.yaml arm_target:=/target_frame goal:=center

sim.launch.py includes this file and adds the simulated rig.
"""

import json
import math

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from sgp_core.goals import find_goal


def goal_once(goal: str, namespace: str) -> ExecuteProcess:
    """Sends a goal pose as soon as the controller listens; the process ends then."""
    x_m, y_m, yaw_rad = find_goal(goal)
    pose = {
        "header": {"frame_id": "table"},
        "pose": {
            "position": {"x": x_m, "y": y_m, "z": 0.0},
            "orientation": {"z": math.sin(yaw_rad / 2.0), "w": math.cos(yaw_rad / 2.0)},
        },
    }
    durable = ["--qos-reliability", "reliable", "--qos-durability", "transient_local"]
    topic = f"/{namespace}/goal_pose".replace("//", "/")
    publish = ["ros2", "topic", "pub", "--once", "--wait-matching-subscriptions", "1", *durable]
    return ExecuteProcess(cmd=[*publish, topic, "geometry_msgs/msg/PoseStamped", json.dumps(pose)], name="goal")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes and the goal, now that the arguments have their values."""
    names = ("namespace", "params_file", "bundle", "arm_target", "goal")
    namespace, params_file, bundle, arm_target, goal = (LaunchConfiguration(name).perform(context) for name in names)
    # Left empty, the argument must not hide the bundle that the parameter file may name.
    models = [{"bundle": bundle}] if bundle else []
    common = {"package": "sgp_ros", "namespace": namespace, "output": "screen", "emulate_tty": True}
    nodes: list[LaunchDescriptionEntity] = [
        Node(executable="mocap_node", parameters=[params_file], **common),
        Node(executable="mpc_node", parameters=[params_file, *models], **common),
        Node(executable="pusher_node", parameters=[params_file], remappings=[("arm_target", arm_target)], **common),
    ]
    return [*nodes, goal_once(goal, namespace)] if goal else nodes


def generate_launch_description() -> LaunchDescription:
    """Arguments, the three nodes, and RViz on request."""
    config = PathJoinSubstitution([FindPackageShare("sgp_ros"), "config"])
    arguments = {
        "namespace": ("sgp", "Namespace of all nodes and topics."),
        "params_file": (PathJoinSubstitution([config, "rig.yaml"]), "YAML file with the nodes' parameters."),
        "bundle": ("", "Folder of the model bundle; empty takes the parameter file's, or else models/default."),
        "arm_target": ("arm_target", "Topic of the PoseStamped targets for the arm."),
        "goal": ("", "Goal sent once at the start: a name in config/goals.yaml or x,y,yaw (m, rad); empty sends none."),
        "rviz": ("false", "Whether to open RViz with config/sgp.rviz."),
    }
    declared = [
        DeclareLaunchArgument(name, default_value=value, description=text) for name, (value, text) in arguments.items()
    ]
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        arguments=["-d", PathJoinSubstitution([config, "sgp.rviz"])],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, OpaqueFunction(function=start), rviz])
