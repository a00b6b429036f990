"""What a bag tells of a run: states, through the same code as in mocap_node, and the steps that were sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.assembly import BACKWARDS_S
from sgp_core.config import Config, EstimatorConfig, FramesConfig
from sgp_core.cutting import SentStep
from sgp_core.errors import InputError
from sgp_core.frame_tree import FrameTree
from sgp_core.frames import Frames
from sgp_core.layout import MarkerLayout
from sgp_core.perception import Perceived, Perception
from sgp_core.safety import Fault
from sgp_core.types import State
from sgp_ros import convert, convert_mocap
from sgp_ros.bag_clock import BagClock
from sgp_ros.bags import Bag
from sgp_ros.mocap_settings import MocapNodeConfig, load_layout
from sgp_ros.rig_files import resolved, values_of
from sgp_ros.samples import Input, SampleReader

TF, TF_STATIC, TF_KIND = "/tf", "/tf_static", "tf2_msgs/msg/TFMessage"
TOLD_EVERY = 2000  # messages


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a bag's messages are to be understood: what mocap_node was, or should have been, told."""

    mocap: MocapNodeConfig
    estimator: EstimatorConfig
    frames: FramesConfig
    layout: MarkerLayout
    namespace: str

    @classmethod
    def of(cls, base: str, given: Mapping[str, str]) -> Reading:
        """From the arguments of the launch files. Raises InputError."""
        values = values_of(base, given, "mocap_node")

        def taken(config: Config) -> Config:
            return config.replaced(**{name: value for name, value in values.items() if name in config.to_dict()})

        mocap, estimator, frames = (taken(c) for c in (MocapNodeConfig(), EstimatorConfig(), FramesConfig()))
        assert isinstance(mocap, MocapNodeConfig)
        assert isinstance(estimator, EstimatorConfig)
        assert isinstance(frames, FramesConfig)
        layout = load_layout(mocap.layout_file)
        return cls(mocap=mocap, estimator=estimator, frames=frames, layout=layout, namespace=given["namespace"])


@dataclass(kw_only=True)
class Recorded:
    """A run as it was recorded."""

    states: list[State] = field(default_factory=list)
    faults: list[tuple[float, Fault]] = field(default_factory=list)  # stamp of a frame without a state, and why
    steps: list[SentStep] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)  # where demonstrations begin and end
    set_back_at: int | None = None  # the first state after the clock was set back; steps and marks are those before
    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)  # for the user


class Follower:
    """Makes states of recorded messages, one after the other, as mocap_node does.

    Args:
        reading: how to understand them.

    Attributes:
        inputs: what is taken from each topic, by absolute name.
        tf: the topics with frames, when the pusher is one of them; else none.
        tree: of these frames.
        reader: knows what was refused.
        recorded: what came of them so far.
    """

    def __init__(self, reading: Reading) -> None:
        self.recorded = Recorded()
        self._perception = Perception(reading.layout, reading.estimator)
        self.reader = SampleReader(reading.mocap, Frames(reading.frames), reading.layout, self)
        # Box and pusher may be in the same list of bodies.
        self.inputs: dict[str, list[Input]] = {}
        for source in self.reader.inputs:
            self.inputs.setdefault(resolved(source.topic, reading.namespace), []).append(source)
        self.tf = (TF, TF_STATIC) if reading.mocap.pusher_input == "tf" else ()
        self.tree = FrameTree(reading.frames.base_frame, reading.mocap.pusher_name)

    def take(self, topic: str, message: Any, received_s: float) -> None:
        """One message of one of the `inputs`, or of `tf`."""
        if topic in self.tf:
            self._take_frames(message, received_s, static=topic == TF_STATIC)
            return
        for source in self.inputs[topic]:
            self.reader.take(source, message, received_s)

    def _take_frames(self, message: Any, received_s: float, *, static: bool) -> None:
        for one in message.transforms:
            placed = convert_mocap.transform_of(convert_mocap.pose_in(one), 1.0)
            if placed is None:
                self.recorded.counts[f"transforms of {one.child_frame_id} that are not finite, or turned by none"] += 1
            else:
                stamp_s = convert.seconds(one.header.stamp)
                self.tree.add(one.header.frame_id, one.child_frame_id, stamp_s, placed, static=static)
        if (found := self.tree.newest()) is not None:
            stamp_s, tool = found
            self.reader.take_tool(tool.translation_m, tool, stamp_s, received_s)

    def marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> None:
        """See `samples.Sink`."""
        self._keep(self._perception.marker(name, stamp_s, position_m))

    def frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> None:
        """See `samples.Sink`."""
        self._keep(self._perception.frame(stamp_s, positions_m))

    def points(self, stamp_s: float, points_m: Float[ndarray, "M 2"]) -> None:
        """See `samples.Sink`."""
        self._keep(self._perception.points(stamp_s, points_m))

    def pusher(self, stamp_s: float, position_m: Float[ndarray, "3"], turn: Float[ndarray, "3 3"] | None) -> None:  # noqa: ARG002 - the same call as in the node
        """See `samples.Sink`."""
        found = self._perception.pusher(stamp_s, position_m)
        if isinstance(found, Fault):
            self.recorded.counts["pusher samples that were not believed"] += 1
        else:
            self._keep(found)

    def _keep(self, frames: list[Perceived]) -> None:
        for frame in frames:
            if isinstance(frame.found, Fault):
                self.recorded.faults.append((frame.stamp_s, frame.found))
            else:
                states = self.recorded.states
                back = bool(states) and frame.found.stamp_s < states[-1].stamp_s - BACKWARDS_S
                if back and self.recorded.set_back_at is None:
                    self.recorded.set_back_at = len(states)
                states.append(frame.found)


Take = Callable[[Any, float], None]  # a message, and when it was recorded [s]


def read(
    bag: Bag, reading: Reading, tell: Callable[[int], None] = lambda _: None, more: Mapping[str, Take] | None = None
) -> Recorded:
    """States and steps of a bag.

    Args:
        bag: opened.
        reading: how to understand it.
        tell: called now and then with the number of messages read.
        more: takes the messages of further topics, by relative name, where they were recorded.

    Raises:
        InputError: a topic is missing or of another type, no state comes out, or clocks differ.
    """
    follower = Follower(reading)
    recorded = follower.recorded
    check_topics(bag, follower)
    others = _Others(bag, reading, recorded, more or {})
    clock = BagClock()
    wanted = {*follower.inputs, *follower.tf, *others.takers}
    for number, (topic, received_ns, message) in enumerate(bag.messages(wanted)):
        if number % TOLD_EVERY == 0:
            tell(number)
        received_s = convert.clock_seconds(received_ns)
        if topic in follower.tf:
            follower.take(topic, message, received_s)
        if topic in follower.inputs:
            follower.take(topic, message, received_s)
            clock.take(topic, convert.seconds(message.header.stamp), received_s)
        if topic in others.takers:
            others.take(topic, message, received_s)
    _conclude(bag, follower, set(clock.late_s))
    by_receipt = reading.mocap.stamp_source == "receive"
    recorded.remarks += clock.check(f"bag {bag.path}", others.late_s, by_receipt=by_receipt)
    return recorded


class _Others:
    """What else is read of a bag than samples: steps, marks, and what a caller wants."""

    def __init__(self, bag: Bag, reading: Reading, recorded: Recorded, more: Mapping[str, Take]) -> None:
        self._recorded = recorded
        self.late_s: dict[str, list[float]] = {"steps": [], "marks of demonstrations": []}  # on arrival
        self.takers: dict[str, list[Take]] = {}
        for name, take in (("step", self._take_step), ("demonstration", self._take_mark), *more.items()):
            if (topic := resolved(name, reading.namespace)) in bag.topics:
                self.takers.setdefault(topic, []).append(take)

    def take(self, topic: str, message: Any, received_s: float) -> None:
        """One message of one of `takers`; what it cannot be is counted."""
        try:
            for take in self.takers[topic]:
                take(message, received_s)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):  # of another type, or another version's
            self._recorded.counts[f"messages of {topic} that are not what they should be"] += 1

    def _take_step(self, message: Any, received_s: float) -> None:
        found = convert.step_from_msg(message)
        if isinstance(found, Fault) or not np.isfinite(found[1]).all():
            self._recorded.counts["steps of another frame, or not finite"] += 1
        elif self._recorded.set_back_at is not None:
            self._recorded.counts["steps after the clock was set back"] += 1
        else:
            self._recorded.steps.append(SentStep(stamp_s=found[0], u=found[1]))
        if not isinstance(found, Fault):
            self.late_s["steps"].append(received_s - found[0])

    def _take_mark(self, message: Any, received_s: float) -> None:
        stamp_s = convert.seconds(message.stamp)
        self.late_s["marks of demonstrations"].append(received_s - stamp_s)
        if self._recorded.set_back_at is not None:
            self._recorded.counts["marks of demonstrations after the clock was set back"] += 1
            return
        self._recorded.marks.append((stamp_s, str(message.frame_id)))


def _conclude(bag: Bag, follower: Follower, heard: set[str]) -> None:
    """Tell what was left out; `heard` are the topics that had a message."""
    recorded, reader = follower.recorded, follower.reader
    recorded.counts += reader.counts
    recorded.counts["samples that say that nothing is seen (NaN, or zero)"] += recorded.counts.pop("missing", 0)
    recorded.counts = +recorded.counts
    for topic, count in bag.malformed.items():
        recorded.counts[f"messages of {topic} that cannot be decoded"] += count
    recorded.remarks += [f"{count} {what}" for what, count in sorted(recorded.counts.items())]
    recorded.remarks += [f"no message was recorded on {topic}" for topic in follower.inputs if topic not in heard]
    if bag.damage:
        recorded.remarks.append(bag.damage)
    if follower.tf and (words := follower.tree.missing()):
        recorded.remarks.append(f"{words}; correct base_frame and pusher_name (--arm, --params-file)")
    if reader.refusal:
        recorded.remarks.append(f"samples refused or missing, the last one because: {reader.refusal}")
    if not recorded.states:
        raise InputError(f"bag {bag.path}: no state came of its markers; {why_none(recorded)}")


def check_topics(bag: Bag, follower: Follower) -> None:
    """Raises InputError unless the bag has the topics that are needed, with the types they should have."""
    inputs = follower.inputs
    if follower.tf and TF not in bag.topics:
        raise InputError(
            f"bag {bag.path} has no {TF}, from which pusher_input = 'tf' reads the pusher; record {TF} and {TF_STATIC},"
            " or give --pusher /sgp/pusher_pose, where mocap_node published what it read"
        )
    for topic in follower.tf:
        if (kind := bag.topics.get(topic, TF_KIND)).replace("/msg/", "/") != TF_KIND.replace("/msg/", "/"):
            raise InputError(f"bag {bag.path}: {topic} carries {kind} instead of {TF_KIND}; correct pusher_input")
    missing = [topic for topic in inputs if topic not in bag.topics]
    if missing:
        there = ", ".join(f"{topic} ({kind.split('/')[-1]})" for topic, kind in sorted(bag.topics.items()))
        settings = ", ".join(sorted({source.setting for topic in missing for source in inputs[topic]}))
        raise InputError(
            f"bag {bag.path} has no {missing[0]}{f' (and {len(missing) - 1} more)' if len(missing) > 1 else ''}; see"
            f" --namespace, --mocap and {settings} in --params-file. It has {there}"
        )
    for topic, source in ((topic, source) for topic, sources in inputs.items() for source in sources):
        if bag.topics[topic].replace("/msg/", "/") != source.kind.replace("/msg/", "/"):
            setting = "input" if source.setting == "marker_topic" else "pusher_input"
            raise InputError(
                f"bag {bag.path}: {topic} carries {bag.topics[topic]} instead of {source.kind}; correct {setting}"
                " (--mocap, --params-file)"
            )


def usual_fault(recorded: Recorded) -> str:
    """What most of the frames without a state lacked; empty when all gave one."""
    reasons = Counter(f"{fault.reason}: {fault.text}" for _, fault in recorded.faults)
    return reasons.most_common(1)[0][0] if reasons else ""


def why_none(recorded: Recorded) -> str:
    """Why nothing came of a recording, in words."""
    words = [*filter(None, [usual_fault(recorded)]), *recorded.remarks]
    return "; ".join(words) or "markers and pusher were never seen at the same time"
