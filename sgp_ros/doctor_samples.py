"""`sgp doctor` on what the driver sends: silent, late, of another clock, unit or frame, or not the box.

The samples go through the code of mocap_node, so that what is judged here is what the node makes of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import EstimatorConfig, FramesConfig, LimitsConfig, MpcConfig, PusherConfig
from sgp_core.errors import InputError
from sgp_core.frame_tree import FrameTree
from sgp_core.frames import Frames
from sgp_core.layout import MarkerLayout
from sgp_core.perception import Perceived, Perception
from sgp_core.safety import FUTURE_TOLERANCE_S, MEASURED_SLACK_M, Fault, region_of
from sgp_ros.bag_states import TF, TF_KIND, TF_STATIC
from sgp_ros.convert_mocap import named_pose, position_of
from sgp_ros.doctor_ears import Heard, Record
from sgp_ros.doctor_findings import Finding, error, info, remedy_of, several, warn
from sgp_ros.doctor_graph import Graph
from sgp_ros.doctor_tf import grow
from sgp_ros.doctor_unit import FAR_M, HOW_MANY, Sizes
from sgp_ros.mocap_settings import MocapNodeConfig, load_layout
from sgp_ros.rig_files import resolved
from sgp_ros.samples import Input, SampleReader

MOSTLY = 0.5  # share of the samples from which on it is the rule rather than an accident


class Samples:
    """What the driver's messages amount to. A sink of `samples.SampleReader`.

    Args:
        graph: with the parameters of mocap_node.

    Attributes:
        inputs: what mocap_node takes, each with the absolute name of its topic.

    Raises:
        InputError: the layout file of mocap_node cannot be read here.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph, self.record = graph, Record()
        self.config = graph.config("mocap_node", MocapNodeConfig)
        self.frames = graph.config("mocap_node", FramesConfig)
        self.layout: MarkerLayout = load_layout(self.config.layout_file)
        self.limits: LimitsConfig = graph.config("pusher_node", PusherConfig)
        self.perception = Perception(self.layout, graph.config("mocap_node", EstimatorConfig))
        self.reader = SampleReader(self.config, Frames(self.frames), self.layout, self)
        # Box and pusher may be in the same list of bodies.
        self.inputs = [(resolved(source.topic, graph.namespace), source) for source in self.reader.inputs]
        self._tree = FrameTree(self.frames.base_frame, self.config.pusher_name)
        self.places_m: dict[str, list[ndarray]] = defaultdict(list)  # by marker: where it was [m; table]
        self.clouds_m: list[ndarray] = []
        self.pusher_m: list[ndarray] = []
        self.judged: list[Perceived] = []

    # --- see `samples.Sink`

    def marker(self, name: str, stamp_s: float, position_m: Float[ndarray, "2"]) -> None:
        """One marker."""
        self.places_m[name].append(np.asarray(position_m))
        self.judged += self.perception.marker(name, stamp_s, position_m)

    def frame(self, stamp_s: float, positions_m: Float[ndarray, "N 2"]) -> None:
        """All markers of one instant."""
        for name, position_m in zip(self.layout.names, positions_m, strict=True):
            self.places_m[name].append(position_m)
        self.judged += self.perception.frame(stamp_s, positions_m)

    def points(self, stamp_s: float, points_m: Float[ndarray, "M 2"]) -> None:
        """All that was seen at one instant."""
        self.clouds_m.append(points_m)
        self.judged += self.perception.points(stamp_s, points_m)

    def pusher(self, stamp_s: float, position_m: Float[ndarray, "3"], _turn: Float[ndarray, "3 3"] | None) -> None:
        """The pusher."""
        self.pusher_m.append(np.asarray(position_m)[:2])
        found = self.perception.pusher(stamp_s, position_m)
        self.judged += [] if isinstance(found, Fault) else found

    # --- findings

    def findings(self, record: Record, deaf: set[str]) -> list[Finding]:
        """Everything there is to say of what was heard; `deaf` are types of messages that are not installed here."""
        self.record = record
        if kinds := {source.kind for _, source in self.inputs} & deaf:
            words = f"{', '.join(sorted(kinds))} is not installed here, and what it says cannot be judged"
            return [info("driver", words, "run `sgp doctor` where the driver's workspace is sourced")]
        by_tf = self.config.pusher_input == "tf"
        for one in record.heard:
            if by_tf and one.topic in (TF, TF_STATIC):
                self._take_tf(one)
            for topic, source in self.inputs:
                if one.topic == topic:
                    self.reader.take(source, one.message, one.ros_s)
        flow = [*self._silent(), *self._slow()]
        time = self._stamps()
        frame = self._frames()
        unit = [] if frame else self._unit()
        place = [] if unit else self._places()
        found = [*flow, *time, *frame, *unit, *place]
        # Without a pusher there is no state, and why there is none is told elsewhere.
        unseen = any(one.check in ("unit", "frame", "place", "stamps") for one in found)
        lost = by_tf and (TF_KIND in deaf or not self.pusher_m)
        return found + ([] if unseen or lost else self._box())

    def _take_tf(self, one: Heard) -> None:
        grow(self._tree, one)
        if (found := self._tree.newest()) is not None:
            stamp_s, tool = found
            self.reader.take_tool(tool.translation_m, tool, stamp_s, one.ros_s)

    def _silent(self) -> list[Finding]:
        """Topics that have a publisher and say nothing."""
        groups: dict[str, list[str]] = defaultdict(list)
        for topic, source in self.inputs:
            right = any(end.kind == source.kind for end in self.graph.publishers(topic))
            if right and not self.record.of(topic):
                groups[source.setting].append(topic)
        # A box is placed by a few of its markers.
        placed = any(not isinstance(one.found, Fault) for one in self.judged[-HOW_MANY:])
        return [
            (warn if placed else error)(
                "driver",
                f"{several(topics)} has a publisher and was silent for {self._listened_s:.1f} s",
                "see whether the driver is connected and activated, and tracks the object",
            )
            for topics in groups.values()
        ]

    @property
    def _listened_s(self) -> float:
        return self.record.ended_s - self.record.began_s

    def _timeout(self, source: Input) -> tuple[str, float]:
        """The setting that bounds the age of what a source tells, and its value [s]."""
        if source.setting == "pusher_topic":
            return "pusher_timeout_s", self.graph.config("pusher_node", PusherConfig).pusher_timeout_s
        return "state_timeout_s", self.graph.config("mpc_node", MpcConfig).state_timeout_s

    def _slow(self) -> list[Finding]:
        """Rates and gaps against the timeouts of the nodes."""
        groups: dict[tuple[str, bool], list[tuple[str, float]]] = defaultdict(list)
        limits: dict[str, tuple[str, float]] = {}
        for topic, source in self.inputs:
            limits[source.setting] = _, limit_s = self._timeout(source)
            rate_hz, gap_s = self.record.rate_hz(topic), self.record.longest_gap_s(topic)
            if 0.0 < rate_hz < 1.0 / limit_s:
                groups[source.setting, True].append((topic, rate_hz))
            elif gap_s > limit_s and rate_hz > 0.0:
                groups[source.setting, False].append((topic, gap_s))
        found = []
        for (setting, always), topics in groups.items():
            name, limit_s = limits[setting]
            names, figure = several([topic for topic, _ in topics]), topics[0][1]
            if always:
                needed = f"{name} = {limit_s:g} needs more than {1.0 / limit_s:g}"
                words = f"{names} comes {figure:.1f} times a second, and {needed}"
                found.append(error("rate", words, "raise the rate of the driver or of its cameras"))
            else:
                words = f"{names} paused for {figure:.2f} s, longer than {name} = {limit_s:g}"
                remedy = "look at load and network of the driver's computer, and at hands in front of the cameras"
                found.append(warn("rate", words, remedy))
        return found

    def _stamps(self) -> list[Finding]:
        """The clock of the driver against ROS time here."""
        if self.config.stamp_source == "receive":
            return []
        groups: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for topic, source in dict(self.inputs).items():
            _, limit_s = self._timeout(source)
            heard = self.record.of(topic)
            # ROS time is 0 before the first /clock.
            stamps = [(one.stamp_s, one.ros_s) for one in heard if one.stamp_s is not None and one.ros_s > 0.0]
            if not stamps:
                continue
            if all(stamp_s == 0.0 for stamp_s, _ in stamps):
                groups["zero"].append((topic, 0.0))
                continue
            age_s = float(np.median([ros_s - stamp_s for stamp_s, ros_s in stamps]))
            if age_s > limit_s or age_s < -FUTURE_TOLERANCE_S:
                groups["old" if age_s > 0.0 else "future"].append((topic, age_s))
        other = "or set stamp_source: receive of mocap_node and give up their exact time"
        sync = f"synchronise the clocks of the driver's computer and this one (chrony), {other}"
        found = []
        for kind, topics in groups.items():
            names, age_s = several([topic for topic, _ in topics]), topics[0][1]
            if kind == "zero":
                words, remedy = f"{names} has no stamps (they are 0)", "set stamp_source: receive of mocap_node"
            elif kind == "old":
                words = f"{names} is stamped {age_s:.2f} s before it arrives: another clock, or a slow driver"
                remedy = sync
            else:
                words, remedy = f"{names} is stamped {-age_s:.2f} s in the future: another clock", sync
            found.append(error("stamps", words, remedy))
        return found

    def _frames(self) -> list[Finding]:
        """frame_id against what mocap_node takes, and of one topic against another's."""
        used: dict[str, list[str]] = defaultdict(list)
        refused: dict[str, list[str]] = defaultdict(list)
        for topic, source in self.inputs:
            for one in self.record.of(topic)[-HOW_MANY:]:
                frame = one.message.header.frame_id
                known = refused if self._refusal(frame) else used
                if topic not in known[frame] and (known is refused or source.setting == "marker_topic"):
                    known[frame].append(topic)
        found = []
        for frame, topics in refused.items():
            if topics:
                remedy = (
                    f"set mocap_frame: '{frame}' of mocap_node if that is the mocap's, or correct the driver's frame"
                )
                words = f"{several(topics)} is refused: {self._refusal(frame)}"
                found.append(error("frame", words, remedy))
        places = {name: topics for name, topics in used.items() if topics}
        named = {frame.lstrip("/") for frame in places}
        if self.config.input == "marker_poses" and len(named) > 1 and not found:
            words = f"the markers come in different frames: {', '.join(sorted(named))}"
            found.append(warn("frame", words, "let the driver use one frame_id for all, and set mocap_frame to it"))
        arm = [frame for frame in places if frame.lstrip("/") == self.frames.base_frame]
        if arm:
            words = f"{several(places[arm[0]])} comes in '{arm[0]}', the frame of the arm's base"
            found.append(warn("frame", words, "correct the driver's frame, or base_frame of mocap_node"))
        return found

    def _refusal(self, frame_id: str) -> str:
        """Why mocap_node refuses a frame_id; empty when it does not."""
        try:
            Frames(self.frames).table_from(frame_id)
        except InputError as refused:
            return str(refused)
        return ""

    def _unit(self) -> list[Finding]:
        sizes = Sizes(
            config=self.config,
            layout=self.layout,
            limits=self.limits,
            origin_m=np.array(self.frames.table_from_mocap[:2]),
            places_m=self.places_m,
            body_m=self._bodies(),
            clouds_m=self.clouds_m[-HOW_MANY:],
            pusher_m=self.pusher_m[-HOW_MANY:],
        )
        return sizes.findings()

    def _bodies(self) -> list[ndarray]:
        """Where the box is, if it comes as a body, as the driver says it [m; table]."""
        if self.config.input not in ("body_pose", "named_poses"):
            return []
        found = []
        for topic, source in self.inputs:
            for one in self.record.of(topic)[-HOW_MANY:] if source.setting == "marker_topic" else []:
                named = self.config.input == "named_poses"
                pose = named_pose(one.message, self.config.body_name) if named else one.message.pose
                if pose is not None:
                    raw = position_of(pose.position) * self.config.unit_m
                    found.append(Frames(self.frames).table_from(one.message.header.frame_id).apply(raw)[:2])
        return found

    def _places(self) -> list[Finding]:
        """Pusher and box against the workspace."""
        found = []
        allowed = region_of(self.limits)
        if self.pusher_m:
            at = np.median(self.pusher_m[-HOW_MANY:], axis=0)
            beyond_m = float(allowed.outside_by(at))
            where = f"workspace_m {list(self.limits.workspace_m)}"
            if beyond_m > FAR_M:
                words = f"the pusher is at ({at[0]:.3f}, {at[1]:.3f}) m, {beyond_m:.2f} m outside {where}"
                found.append(error("place", words, f"{self._calibrate}, or correct workspace_m"))
            elif beyond_m > MEASURED_SLACK_M:
                words = f"the pusher is at ({at[0]:.3f}, {at[1]:.3f}) m, {beyond_m * 1e3:.0f} mm outside {where}"
                found.append(error("place", words, "move it in by hand, or correct workspace_m of both nodes"))
        good = [one.found for one in self.judged if not isinstance(one.found, Fault)]
        if good:
            x_m, y_m, _ = self.layout.pose_of(self.layout.markers(good[-1].x))
            beyond_m = float(allowed.outside_by(np.array([x_m, y_m])))
            if beyond_m > FAR_M:
                words = f"the box is at ({x_m:.3f}, {y_m:.3f}) m, {beyond_m:.2f} m outside workspace_m"
                found.append(error("place", words, f"{self._calibrate}, or correct workspace_m"))
        return found

    @property
    def _calibrate(self) -> str:
        """What to do about a frame that lies elsewhere."""
        if not any(self.frames.table_from_mocap):
            return "measure where the cameras' frame lies (`sgp calibrate frames`): table_from_mocap is all zero"
        return "measure where the cameras' frame lies anew (`sgp calibrate frames`)"

    def _box(self) -> list[Finding]:
        """What mocap_node cannot believe, and labels that belong to other markers."""
        faults = [one.found for one in self.judged if isinstance(one.found, Fault)]
        if faults and len(faults) > MOSTLY * len(self.judged):
            reason, _ = Counter(fault.reason for fault in faults).most_common(1)[0]
            last = next(fault for fault in reversed(faults) if fault.reason == reason)
            words = f"{len(faults)} of {len(self.judged)} frames give no state: {last.text}"
            return [error("box", words, remedy_of(reason))]
        found = []
        for kind, words, remedy in (
            (
                "swapped",
                "carry the labels of other markers",
                "give the markers the names of the layout file, in its order",
            ),
            ("outlier", "are not where the layout has them", "measure the layout again (`sgp calibrate layout`)"),
            ("hidden", "are hidden", "see whether cameras see them and the driver sends them"),
            ("frozen", "repeat themselves to the last bit", "restart the driver"),
        ):
            names = [
                name
                for name, quality in self.perception.estimator.quality.items()
                if quality.counts[kind] > MOSTLY * max(1, sum(quality.counts.values()))
            ]
            if names:
                found.append(warn("markers", f"{', '.join(names)} {words} in most frames", remedy))
        return found
