"""Plans again from a recorded bag: mocap_node and mpc_node on the bag's clock, in dry run and without a pusher.

    ros2 launch sgp_ros replay.launch.py bundle:=/path/to/another/bundle
    ros2 bag play out/demo/bag --clock 100 \\
        --exclude-regex '.*/(state|step|plan|plan_markers|status|diagnostics|arm_target|rosout)'

The bag brings markers, pusher and goal; what the two nodes publish themselves must be left out of the playback.
"""

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The two nodes, now that the arguments have their values."""
    names = ("namespace", "params_file", "bundle")
    namespace, params_file, bundle = (LaunchConfiguration(name).perform(context) for name in names)
    replay = {"use_sim_time": True}
    # Left empty, the argument must not hide the bundle that the parameter file may name.
    models = {"bundle": bundle} if bundle else {}
    common = {"package": "sgp_ros", "namespace": namespace, "output": "screen", "emulate_tty": True}
    return [
        Node(executable="mocap_node", parameters=[params_file, replay], **common),
        Node(executable="mpc_node", parameters=[params_file, replay | models | {"enabled": False}], **common),
    ]


def generate_launch_description() -> LaunchDescription:
    """Arguments, the two nodes, and RViz on request."""
    config = PathJoinSubstitution([FindPackageShare("sgp_ros"), "config"])
    arguments = {
        "namespace": ("sgp", "Namespace of the recorded topics and of both nodes."),
        "params_file": (PathJoinSubstitution([config, "sim.yaml"]), "YAML file with the nodes' parameters."),
        "bundle": ("", "Folder of the model bundle; empty takes the parameter file's, or else models/default."),
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
        parameters=[{"use_sim_time": True}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, OpaqueFunction(function=start), rviz])
