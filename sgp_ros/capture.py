"""Positions from live topics for `sgp calibrate`: of the pusher's marker and of the arm's tool."""

from __future__ import annotations

import importlib
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Point, Pose
from jaxtyping import Float
from numpy import ndarray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from sgp_core.errors import InputError
from sgp_core.frames import Transform
from sgp_ros import convert_mocap
from sgp_ros.optional import watch_tf
from sgp_ros.running import POLL_S, SENSOR_QOS

WAIT_S = 5.0  # for a publisher to be discovered, and a first sample
SETTLE_S = 0.3  # for messages from before that are still under way
NO_TURN = np.full((3, 3), np.nan)
# What a message of each type calls its position; a list of named bodies needs a name as well.
PLAIN = ("geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/PointStamped", "geometry_msgs/msg/Pose")
NAMED = ("motion_capture_tracking_interfaces/msg/NamedPoseArray", "mocap4r2_msgs/msg/RigidBodies")


@dataclass
class Watched:
    """A topic whose positions are kept while a capture is open.

    Args:
        topic: its resolved name.
        name: body in a list of named bodies; empty for other messages.
    """

    topic: str
    name: str
    positions: list[Float[ndarray, "3"]] = field(default_factory=list)
    turn: Float[ndarray, "3 3"] = field(default_factory=lambda: NO_TURN)  # the last one; NaN when there is none
    frame_id: str = ""

    def take(self, message: Any) -> None:
        """Keep the position of a message; a body that is not in the list counts as hidden."""
        self.frame_id = message.header.frame_id.lstrip("/") if hasattr(message, "header") else ""
        body = convert_mocap.named_pose(message, self.name) if self.name else getattr(message, "pose", message)
        if body is None:
            self.positions.append(np.full(3, np.nan))
        elif hasattr(body, "orientation"):
            self.take_pose(body)
        else:
            self.positions.append(convert_mocap.position_of(body.point))

    def take_pose(self, pose: Pose) -> None:
        """Keep position and orientation."""
        self.positions.append(convert_mocap.position_of(pose.position))
        turned = convert_mocap.transform_of(pose, 1.0)
        self.turn = NO_TURN if turned is None else turned.rotation


class Capture:
    """A node that listens, in a ROS context of its own; use it in a `with` block.

    Args:
        namespace: of relative topic names.
    """

    def __init__(self, namespace: str) -> None:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("sgp_calibrate", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._open, self._ending = False, False
        self._tf: list[Any] = []  # tf listeners live as long as somebody holds them
        self._lock = threading.Lock()  # between a capture and the callbacks
        self._thread = threading.Thread(target=self._spin, name="capture")

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending = True
        self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        while not self._ending:
            self._executor.spin_once(timeout_sec=POLL_S)

    def watch(self, topic: str, name: str = "") -> Watched:
        """Subscribe to a topic, of whatever type with a position it turns out to be.

        Raises:
            InputError: nobody publishes it, its type has no position, its message package is missing, or it lists
                bodies and no name is given.
        """
        resolved = self.node.resolve_topic_name(topic)
        kind = self._type_of(resolved)
        if kind in NAMED and not name:
            raise InputError(f"{resolved} lists bodies by name ({kind}); say which one with --mocap-name")
        if kind not in (*PLAIN, *NAMED):
            raise InputError(f"{resolved} has the type {kind}; known are {', '.join((*PLAIN, *NAMED))}")
        watched = Watched(topic=resolved, name=name if kind in NAMED else "")

        def take(message: Any) -> None:
            with self._lock:
                if self._open:
                    watched.take(message)

        self.node.create_subscription(_message_class(kind), resolved, take, SENSOR_QOS)
        return watched

    def watch_tf(self, parent: str, child: str) -> Watched:
        """The place of a tf frame. Raises InputError where tf2_ros is not installed."""
        watched = Watched(topic=f"tf {parent} -> {child}", name="", frame_id=parent.lstrip("/"))

        def take(message: Any) -> None:
            at = message.transform.translation
            pose = Pose(position=Point(x=at.x, y=at.y, z=at.z), orientation=message.transform.rotation)
            with self._lock:
                if self._open:
                    watched.take_pose(pose)

        self._tf.append(watch_tf(self.node, parent, child, take))
        return watched

    def collect(self, watched: list[Watched], duration_s: float) -> list[Float[ndarray, "S 3"]]:
        """Positions of each topic during a time from shortly on [units of the source]."""
        self._open = True
        time.sleep(SETTLE_S)
        with self._lock:
            for each in watched:
                each.positions.clear()
        time.sleep(duration_s)
        with self._lock:
            self._open = False
            return [np.array(each.positions, dtype=float).reshape(-1, 3) for each in watched]

    def _type_of(self, topic: str) -> str:
        deadline_s = time.monotonic() + WAIT_S
        while not (publishers := self.node.get_publishers_info_by_topic(topic)):
            if time.monotonic() > deadline_s:
                kinds = self.node.get_topic_names_and_types()
                known = [name for name, types in kinds if set(types) & {*PLAIN, *NAMED}]
                there = f"topics with positions are {', '.join(known)}" if known else "no topic has positions"
                raise InputError(f"nobody publishes {topic} (waited {WAIT_S:.0f} s); {there}; is ROS_DOMAIN_ID right?")
            time.sleep(POLL_S)
        kind: str = publishers[0].topic_type
        return kind


def turned_by_rad(a: Float[ndarray, "3 3"], b: Float[ndarray, "3 3"]) -> float:
    """Angle between two orientations; NaN when one of them is not known."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    still = np.zeros(3)
    return Transform(rotation=a, translation_m=still).angle_to(Transform(rotation=b, translation_m=still))


def _message_class(kind: str) -> Any:
    package, _, name = kind.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except ImportError as error:
        raise InputError(
            f"the Python package {package} is missing; install it with the driver's ROS packages"
        ) from error
