r"""Plans again from a recorded bag: mocap_node and mpc_node on the bag's clock, in dry run and without a pusher.

    ros2 launch sgp_ros replay.launch.py bundle:=/path/to/another/bundle
    ros2 bag play out/demo/bag --clock 100 \
        --exclude-regex '.*/(state|pusher_pose|step|plan|plan_markers|status|diagnostics|arm_target|rosout)'

The bag brings markers, pusher and goal; what the two nodes publish themselves must be left out of the playback. For a
bag from a real rig, give mocap, arm, table and layout as they were when it was recorded.
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
