"""A process between the nodes that hands messages on, or does to them what networks, drivers and clocks do at times.

`python test/fault_relay.py --ros-args -r __ns:=/sgp`: whatever comes on `before/TOPIC` goes on to `TOPIC`. Its
parameter `fault`, a JSON object, tells what is done to which topics; an empty one ends every fault.
"""

from __future__ import annotations

import json
import random
import struct
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped, Vector3Stamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path
from sgp_ros.convert import NS
from sgp_ros.running import SENSOR_QOS, SgpNode, run

MARKERS = tuple(f"vrpn_mocap/{name}/pose" for name in MarkerLayout.load(share_path("config", "layout.yaml")).names)
PUSHER_SOURCE = "vrpn_mocap/pusher/pose"
CLOCK = "clock"
RELIABLE = ("step", "pusher_state", "arm_target")
KINDS: dict[str, type] = {
    **dict.fromkeys((*MARKERS, PUSHER_SOURCE, "pusher_pose", "arm_target"), PoseStamped),
    "state": PoseArray,
    "step": Vector3Stamped,
    "pusher_state": DiagnosticArray,
    CLOCK: Clock,
}
BEFORE = "before"
RELEASE_PERIOD_S = 0.005
DEPTH = 20
# Every one of these messages begins with a time, right behind the four bytes that tell the encoding.
STAMP = struct.Struct("<iI")
STAMP_AT = 4


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What is done to the messages of some topics."""

    topics: tuple[str, ...] = ()
    drop: float = 0.0  # this part of them is lost
    delay_s: float = 0.0  # each of them comes so much later
    reorder: bool = False  # each second one comes before the one that was sent before it
    freeze: bool = False  # the first one comes again and again, with the stamps of those that it replaces
    shift_s: float = 0.0  # added to their stamps
    seed: int = 0

    def to_json(self) -> str:
        """The parameter `fault`."""
        return json.dumps(vars(self))


class Way:
    """From one topic to another.

    Args:
        publish: sends bytes on.
        later: does something after a time [s].
    """

    def __init__(self, publish: Callable[[bytes], None], later: Callable[[float, Callable[[], None]], None]) -> None:
        self._publish, self._later = publish, later
        self.disturb(None)

    def disturb(self, disturbance: Disturbance | None) -> None:
        """None hands messages on as they are; one that was kept back is lost."""
        self._fault = disturbance
        self._random = random.Random(disturbance.seed if disturbance else 0)
        self._kept: bytes | None = None

    def take(self, message: bytes) -> None:
        """A message came."""
        fault = self._fault
        if fault is None:
            self._publish(message)
            return
        if self._random.random() < fault.drop:
            return
        if fault.freeze:
            self._kept = self._kept or message
            stamp = slice(STAMP_AT, STAMP_AT + STAMP.size)
            message = self._kept[: stamp.start] + message[stamp] + self._kept[stamp.stop :]
        elif fault.reorder:
            if self._kept is None:
                self._kept = message
                return
            self._publish(message)
            message, self._kept = self._kept, None
        if fault.shift_s:
            message = shifted(message, fault.shift_s)
        if fault.delay_s:
            self._later(fault.delay_s, lambda: self._publish(message))
        else:
            self._publish(message)


def shifted(message: bytes, by_s: float) -> bytes:
    """A serialised message whose first field, a time, is set forward [s]; never before 0."""
    seconds, nanoseconds = STAMP.unpack_from(message, STAMP_AT)
    total_ns = max(0, seconds * NS + nanoseconds + round(by_s * NS))
    return message[:STAMP_AT] + STAMP.pack(*divmod(total_ns, NS)) + message[STAMP_AT + STAMP.size :]


class FaultRelay(SgpNode):
    """One way for each topic."""

    def __init__(self) -> None:
        super().__init__("fault_relay", [])
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._ways = {topic: self._way(topic, kind) for topic, kind in KINDS.items()}
        self.declare_parameter("fault", "")
        self.add_on_set_parameters_callback(self._on_set)
        self.create_timer(RELEASE_PERIOD_S, self._release, clock=self.steady_clock)

    def _way(self, topic: str, kind: type) -> Way:
        # A measurement that this process is too slow for is replaced by the next, as on its way to any node.
        reliable = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        qos = reliable if topic in RELIABLE else SENSOR_QOS
        publisher = self.create_publisher(kind, f"/{CLOCK}" if topic == CLOCK else topic, qos)
        way = Way(publisher.publish, self._later)
        self.create_subscription(kind, f"{BEFORE}/{topic}", way.take, qos, raw=True)
        return way

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "fault":
                wish = json.loads(parameter.value or "{}")
                disturbance = Disturbance(**{**wish, "topics": tuple(wish.get("topics", ()))})
                for topic, way in self._ways.items():
                    way.disturb(disturbance if topic in disturbance.topics else None)
        return SetParametersResult(successful=True)

    def _later(self, after_s: float, act: Callable[[], None]) -> None:
        self._waiting.append((self.steady_s() + after_s, act))

    def _release(self) -> None:
        while self._waiting and self._waiting[0][0] <= self.steady_s():
            self._waiting.popleft()[1]()


if __name__ == "__main__":
    sys.exit(run(FaultRelay))
