"""`sgp doctor` on tf, where the pusher is a frame of the arm."""

from __future__ import annotations

from sgp_core.config import FramesConfig
from sgp_core.frame_tree import FrameTree
from sgp_ros import convert, convert_mocap
from sgp_ros.bag_states import TF, TF_KIND, TF_STATIC
from sgp_ros.doctor_ears import Heard, Record
from sgp_ros.doctor_findings import Finding, error, info
from sgp_ros.doctor_graph import Graph
from sgp_ros.mocap_settings import MocapNodeConfig

TF_TOPICS = ((TF, TF_KIND), (TF_STATIC, TF_KIND))


def grow(tree: FrameTree, heard: Heard) -> None:
    """Add the transforms of a message on one of the two topics."""
    for sent in heard.message.transforms:
        place = convert_mocap.transform_of(convert_mocap.pose_in(sent), 1.0)
        if place is not None:
            stamp_s = convert.seconds(sent.header.stamp)
            tree.add(sent.header.frame_id, sent.child_frame_id, stamp_s, place, static=heard.topic == TF_STATIC)


def check_tf(graph: Graph, record: Record, deaf: set[str]) -> list[Finding]:
    """Whether tf leads from the arm's base to the pusher.

    Args:
        graph: with the parameters of mocap_node.
        record: what was heard.
        deaf: types of messages that are not installed here.
    """
    config = graph.config("mocap_node", MocapNodeConfig)
    if "mocap_node" not in graph.parameters or config.pusher_input != "tf":
        return []
    if TF_KIND in deaf:
        words = f"the pusher comes from tf, and {TF_KIND} is not installed here"
        return [info("tf", words, "run `sgp doctor` where ROS is installed, or install tf2_msgs")]
    base = graph.config("mocap_node", FramesConfig).base_frame
    tree = FrameTree(base, config.pusher_name)
    for one in record.heard:
        if one.topic in (TF, TF_STATIC):
            grow(tree, one)
    tree.newest()
    missing = tree.missing()
    remedy = "start the arm's driver and robot_state_publisher, or correct base_frame and pusher_name of mocap_node"
    return [error("tf", missing, remedy)] if missing else []
