"""Plans again from a recorded bag: mocap_node and mpc_node on the bag's clock, in dry run and without a pusher.

    ros2 launch sgp_ros replay.launch.py bundle:=/path/to/another/bundle

It prints the `ros2 bag play` command that goes with it, with the topics that were measured and no others: a bag of a
rig holds commands to the arm as well, and played on the rig's network they would move it. For a bag from a real rig,
give mocap, arm, table and layout as they were when it was recorded.
"""

from launch import LaunchDescription

from sgp_ros.launching import description


def generate_launch_description() -> LaunchDescription:
    """The arguments of rig.launch.py, but for the arm's commands."""
    arguments = (
        *("namespace", "mocap", "arm", "table", "pusher", "layout"),
        *("bundle", "goal", "goals_file", "params_file", "rviz"),
    )
    return description("sim.yaml", ("mocap_node", "mpc_node"), arguments, defaults={"mocap": ""}, replay=True)
