"""The controller on a real rig: mocap_node, mpc_node and pusher_node, each in its own process.

ros2 launch sgp_ros rig.launch.py mocap:=vrpn_mocap arm:=servo table:=calibration.yaml goal:=center
"""

from launch import LaunchDescription

from sgp_ros.launching import description
from sgp_ros.rig_files import ARGUMENTS


def generate_launch_description() -> LaunchDescription:
    """Every argument there is."""
    return description("rig.yaml", ("mocap_node", "mpc_node", "pusher_node"), tuple(ARGUMENTS))
