"""The whole loop on the simulated rig: the controller of rig.launch.py and, in place of a real rig, rig_sim_node.

ros2 launch sgp_ros sim.launch.py goal:=center rviz:=true
"""

from launch import LaunchDescription

from sgp_ros.launching import description
from sgp_ros.rig_files import NODES


def generate_launch_description() -> LaunchDescription:
    """The arguments that mean something on the simulated rig."""
    arguments = ("namespace", "layout", "bundle", "goal", "goals_file", "params_file", "rviz")
    return description("sim.yaml", NODES, arguments)
