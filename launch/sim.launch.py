"""The whole loop on the simulated rig: rig.launch.py and, in place of a real rig, rig_sim_node.

ros2 launch sgp_ros sim.launch.py goal:=center rviz:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """The simulated rig and what rig.launch.py starts; that file declares the other arguments."""
    share = FindPackageShare("sgp_ros")
    params_file = DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([share, "config", "sim.yaml"]),
        description="YAML file with the nodes' parameters.",
    )
    controller = IncludeLaunchDescription(PathJoinSubstitution([share, "launch", "rig.launch.py"]))
    rig = Node(
        package="sgp_ros",
        executable="rig_sim_node",
        namespace=LaunchConfiguration("namespace"),
        parameters=[LaunchConfiguration("params_file")],
        output="screen",
        emulate_tty=True,
    )
    return LaunchDescription([params_file, controller, rig])
