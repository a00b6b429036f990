"""Packages that only some inputs need, imported when one is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.node import Node
from rclpy.time import Time

from sgp_core.errors import InputError

TF_PERIOD_S = 0.01
# Which settings ask for the messages of a package that not everybody has.
CHOSEN_BY = {
    "motion_capture_tracking_interfaces": "input: named_poses, or pusher_input: named,",
    "mocap4r2_msgs": "input: mocap4r2_markers",
}


def _needed(module: str, package: str, chosen: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{chosen} needs the package {package}, which cannot be imported ({error}); install"
            f" ros-$ROS_DISTRO-{package.replace('_', '-')} or source the workspace it was built in, or choose another"
        ) from error


def message_class(kind: str) -> Any:
    """Message class of a type named as in `ros2 topic list -t`. Raises InputError."""
    package, _, name = kind.split("/")
    return getattr(_needed(f"{package}.msg", package, CHOSEN_BY.get(package, kind)), name)


def watch_tf(node: Node, parent: str, child: str, take: Callable[[Any], None]) -> Any:
    """Look every 10 ms for a newer transform (geometry_msgs/TransformStamped) `parent` from `child`.

    Returns:
        The listener, to be kept as long as this shall go on.

    Raises:
        InputError: tf2_ros is not installed.
    """
    tf2_ros = _needed("tf2_ros", "tf2_ros", "pusher_input: tf")
    buffer = tf2_ros.Buffer()
    listener = tf2_ros.TransformListener(buffer, node)
    newest = None

    def look() -> None:
        nonlocal newest
        try:
            found = buffer.lookup_transform(parent, child, Time())
        except tf2_ros.TransformException:
            return  # not known yet; mocap_node reports that there is no pusher
        if found.header.stamp != newest:
            newest = found.header.stamp
            take(found)

    node.create_timer(TF_PERIOD_S, look, clock=Clock(clock_type=ClockType.STEADY_TIME))
    return listener
