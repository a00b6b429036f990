"""Bags as a rig would leave them, without ROS: a simulated rig, or any motion, written message by message."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_typestore

from sgp_core.config import SimConfig
from sgp_core.frames import Transform
from sgp_core.layout import MarkerLayout
from sgp_core.sim.rig import Rig
from sgp_ros.bag_writer import BagWriter

TYPES = get_typestore(Stores.ROS2_JAZZY)
NS = 1_000_000_000
POSE, STEP = "geometry_msgs/msg/PoseStamped", "geometry_msgs/msg/Vector3Stamped"
TF, HEADER = "tf2_msgs/msg/TFMessage", "std_msgs/msg/Header"
START_S = 1_000.0
PERIOD_S = 0.01


class BagMaker:
    """A bag of PoseStamped topics and steps, as in config/sim.yaml; use it in a `with` block."""

    def __init__(self, path: Path, layout: MarkerLayout, storage: str = "mcap", split_bytes: int = 0) -> None:
        self.path, self.layout = path, layout
        self.writer = BagWriter(path, storage, split_bytes)
        self.topics = [f"/sgp/vrpn_mocap/{name}/pose" for name in layout.names]
        for topic in (*self.topics, "/sgp/vrpn_mocap/pusher/pose"):
            self.writer.add_topic(topic, POSE, reliable=False, latched=False)
        self.writer.add_topic("/sgp/step", STEP, reliable=True, latched=False)

    def frame(
        self,
        stamp_s: float,
        markers_m: np.ndarray,
        pusher_m: np.ndarray,
        *,
        unit_m: float = 1.0,
        frame_id: str = "mocap",
        received_s: float | None = None,
        hidden: Sequence[int] = (),
    ) -> None:
        """All markers and the pusher at one instant."""
        received_s = stamp_s + 0.005 if received_s is None else received_s
        for number, (topic, at) in enumerate(zip(self.topics, markers_m, strict=True)):
            place = np.full(2, np.nan) if number in hidden else at
            self.pose(topic, stamp_s, (*(place / unit_m), 0.04 / unit_m), frame_id, received_s)
        at = (*(np.asarray(pusher_m) / unit_m), 0.05 / unit_m)
        self.pose("/sgp/vrpn_mocap/pusher/pose", stamp_s, at, frame_id, received_s)

    def pose(self, topic: str, stamp_s: float, at: Sequence[float], frame_id: str, received_s: float) -> None:
        kinds = TYPES.types
        message = kinds[POSE](
            header=_header(stamp_s, frame_id),
            pose=kinds["geometry_msgs/msg/Pose"](
                position=kinds["geometry_msgs/msg/Point"](*(float(v) for v in at)),
                orientation=kinds["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0),
            ),
        )
        self.raw(topic, received_s, bytes(TYPES.serialize_cdr(message, POSE)))

    def transform(
        self, topic: str, parent: str, child: str, stamp_s: float, placed: Transform, *, received_ns: int = 0
    ) -> None:
        """One transform on /tf or /tf_static, which `writer.add_topic` has to know."""
        kinds = TYPES.types
        one = kinds["geometry_msgs/msg/TransformStamped"](
            _header(stamp_s, parent),
            child,
            kinds["geometry_msgs/msg/Transform"](
                kinds["geometry_msgs/msg/Vector3"](*(float(v) for v in placed.translation_m)),
                kinds["geometry_msgs/msg/Quaternion"](*(float(v) for v in placed.quaternion())),
            ),
        )
        data = bytes(TYPES.serialize_cdr(kinds[TF]([one]), TF))
        self.writer.write(topic, received_ns or round((stamp_s + 0.001) * NS), data)

    def step(self, stamp_s: float, u: np.ndarray, received_s: float | None = None) -> None:
        vector = TYPES.types["geometry_msgs/msg/Vector3"](float(u[0]), float(u[1]), 0.0)
        message = TYPES.types[STEP](header=_header(stamp_s, "table"), vector=vector)
        at_s = stamp_s + 0.005 if received_s is None else received_s
        self.raw("/sgp/step", at_s, bytes(TYPES.serialize_cdr(message, STEP)))

    def marks(self, *said: tuple[float, str], clock_s: float = 0.0, set_back_s: float = np.inf) -> None:
        """Where demonstrations begin and end, at times after START_S.

        By a clock that is ahead by `clock_s`, and after `set_back_s` set back by as much.
        """
        self.writer.add_topic("/sgp/demonstration", HEADER, reliable=True, latched=False)
        for after_s, word in said:
            back_s = set_back_s if after_s >= set_back_s else 0.0
            mark = _header(START_S + after_s + clock_s - back_s, word)
            self.raw("/sgp/demonstration", START_S + after_s, bytes(TYPES.serialize_cdr(mark, HEADER)))

    def raw(self, topic: str, received_s: float, data: bytes) -> None:
        self.writer.write(topic, round(received_s * NS), data)

    def __enter__(self) -> BagMaker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.close()


def _header(stamp_s: float, frame_id: str) -> Any:
    sec, nanosec = divmod(round(stamp_s * NS), NS)
    return TYPES.types[HEADER](TYPES.types["builtin_interfaces/msg/Time"](sec, nanosec), frame_id)


def pushed(
    maker: BagMaker,
    steps: Sequence[np.ndarray],
    *,
    start_s: float = START_S,
    said: bool = True,
    seed: int = 0,
    frame: Callable[..., None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Let the simulated rig carry out steps of a second, record it, and return true states before and after each.

    Args:
        maker: the bag.
        steps: displacements of the pusher [m].
        start_s: stamp of the first one.
        said: whether the steps are recorded, too.
        seed: of the marker noise.
        frame: records a frame instead of `maker.frame`.
    """
    layout = maker.layout
    rig = Rig(layout, SimConfig(seed=seed), (0.50, 0.0, 0.0), (0.40, 0.0))
    rig.advance(0.1)
    record = frame or maker.frame
    before, after = [], []

    def seen(stamp_s: float) -> None:
        record(stamp_s, rig.noisy_markers(), rig.pusher())

    for number in range(30):  # the pusher has to be believed before the first step
        seen(start_s - 0.3 + number * PERIOD_S)
    for k, u in enumerate(steps):
        began_s, origin = start_s + k, rig.pusher()
        before.append(layout.pack(rig.markers(), rig.pusher()))
        if said:
            maker.step(began_s, u)
        for tick in range(100):
            seen(began_s + tick * PERIOD_S)
            rig.set_target(origin + u * (tick + 1) / 100)
            rig.advance(PERIOD_S)
        after.append(layout.pack(rig.markers(), rig.pusher()))
    for tick in range(10):
        seen(start_s + len(steps) + tick * PERIOD_S)
        rig.advance(PERIOD_S)
    return np.array(before), np.array(after)
