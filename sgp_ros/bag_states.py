"""What a bag tells of a run: states, through the same code as in mocap_node, and the steps that were sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import Config, EstimatorConfig, FramesConfig
from sgp_core.cutting import SentStep
from sgp_core.errors import InputError
from sgp_core.frames import Frames
from sgp_core.layout import MarkerLayout
from sgp_core.perception import Perceived, Perception
from sgp_core.safety import Fault
from sgp_core.types import State
from sgp_ros import convert
from sgp_ros.bags import Bag
from sgp_ros.mocap_settings import MocapNodeConfig, load_layout
from sgp_ros.rig_files import resolved, values_of
from sgp_ros.samples import Input, SampleReader

TOLD_EVERY = 2000  # messages
# Stamps of markers and steps this far apart on arrival come from two clocks.
CLOCKS_APART_S = 0.5


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
        if mocap.pusher_input == "tf":
            raise InputError(
                "pusher_input = 'tf' cannot be read from a bag, as it takes the whole tree of frames; give"
                " --pusher /sgp/pusher_pose, where mocap_node published what it read"
            )
        layout = load_layout(mocap.layout_file)
        return cls(mocap=mocap, estimator=estimator, frames=frames, layout=layout, namespace=given["namespace"])


@dataclass(kw_only=True)
class Recorded:
    """A run as it was recorded."""

    states: list[State] = field(default_factory=list)
    faults: list[tuple[float, Fault]] = field(default_factory=list)  # stamp of a frame without a state, and why
    steps: list[SentStep] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)  # where demonstrations begin and end
    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)  # for the user


class Follower:
    """Makes states of recorded messages, one after the other, as mocap_node does.

    Args:
        reading: how to understand them.

    Attributes:
        inputs: what is taken from each topic, by absolute name.
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

    def take(self, topic: str, message: Any, received_s: float) -> None:
        """One message of one of the `inputs`."""
        for source in self.inputs[topic]:
            self.reader.take(source, message, received_s)

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
                self.recorded.states.append(frame.found)


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
    check_topics(bag, follower.inputs)
    others = _Others(bag, reading, recorded, more or {})
    late_s: list[float] = []
    for number, (topic, received_ns, message) in enumerate(bag.messages({*follower.inputs, *others.takers})):
        if number % TOLD_EVERY == 0:
            tell(number)
        received_s = convert.clock_seconds(received_ns)
        if topic in follower.inputs:
            follower.take(topic, message, received_s)
            late_s.append(received_s - convert.seconds(message.header.stamp))
        if topic in others.takers:
            others.take(topic, message, received_s)
    _conclude(bag, follower)
    if reading.mocap.stamp_source == "header":
        _check_clocks(bag, late_s, others.steps_late_s)
    return recorded


class _Others:
    """What else is read of a bag than samples: steps, marks, and what a caller wants."""

    def __init__(self, bag: Bag, reading: Reading, recorded: Recorded, more: Mapping[str, Take]) -> None:
        self._recorded = recorded
        self.steps_late_s: list[float] = []  # on arrival
        self.takers: dict[str, list[Take]] = {}
        for name, take in (("step", self._take_step), ("demonstration", self._take_mark), *more.items()):
            if (topic := resolved(name, reading.namespace)) in bag.topics:
                self.takers.setdefault(topic, []).append(take)

    def take(self, topic: str, message: Any, received_s: float) -> None:
        """One message of one of `takers`; what it cannot be is counted."""
        try:
            for take in self.takers[topic]:
                take(message, received_s)
        except (AttributeError, KeyError, TypeError, ValueError):  # of another type, or another version's
            self._recorded.counts[f"messages of {topic} that are not what they should be"] += 1

    def _take_step(self, message: Any, received_s: float) -> None:
        found = convert.step_from_msg(message)
        if isinstance(found, Fault) or not np.isfinite(found[1]).all():
            self._recorded.counts["steps of another frame, or not finite"] += 1
        else:
            self._recorded.steps.append(SentStep(stamp_s=found[0], u=found[1]))
            self.steps_late_s.append(received_s - found[0])

    def _take_mark(self, message: Any, _received_s: float) -> None:
        self._recorded.marks.append((convert.seconds(message.stamp), str(message.frame_id)))


def _conclude(bag: Bag, follower: Follower) -> None:
    """Tell what was left out."""
    recorded, reader = follower.recorded, follower.reader
    recorded.counts += reader.counts
    for topic, count in bag.malformed.items():
        recorded.counts[f"messages of {topic} that cannot be decoded"] += count
    recorded.remarks += [f"{count} {what}" for what, count in sorted(recorded.counts.items()) if what != "missing"]
    if bag.damage:
        recorded.remarks.append(bag.damage)
    if reader.refusal:
        recorded.remarks.append(f"samples refused or missing, the last one because: {reader.refusal}")
    if not recorded.states:
        raise InputError(f"bag {bag.path}: no state came of its markers; {_why_none(recorded)}")


def check_topics(bag: Bag, inputs: Mapping[str, Sequence[Input]]) -> None:
    """Raises InputError unless the bag has them, with the types they should have."""
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


def _check_clocks(bag: Bag, markers_late_s: list[float], steps_late_s: list[float]) -> None:
    if not (markers_late_s and steps_late_s):
        return
    apart_s = float(np.median(markers_late_s) - np.median(steps_late_s))
    if abs(apart_s) > CLOCKS_APART_S:
        raise InputError(
            f"bag {bag.path}: the stamps of the markers are {apart_s:+.2f} s older on arrival than those of the steps,"
            " as from another clock; set stamp_source: receive in --params-file"
        )


def _why_none(recorded: Recorded) -> str:
    words = list(recorded.remarks)
    if recorded.faults:
        reasons = Counter(f"{fault.reason}: {fault.text}" for _, fault in recorded.faults)
        words.insert(0, reasons.most_common(1)[0][0])
    return "; ".join(words) or "markers and pusher were never seen at the same time"
