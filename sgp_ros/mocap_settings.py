"""What a motion-capture driver publishes, and where: the settings of mocap_node's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sgp_core.config import Config, setting
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.share import share_path

PER_MARKER = ("marker_poses", "marker_points")
INPUTS = (*PER_MARKER, "point_cloud", "body_pose", "named_poses", "mocap4r2_markers")
PUSHER_INPUTS = ("pose", "point", "named", "tf")
STAMP_SOURCES = ("header", "receive")


@dataclass(frozen=True, kw_only=True)
class MocapNodeConfig(Config):
    """What the driver publishes, and where; `config/mocap/` has these for the usual drivers."""

    layout_file: str = setting(
        "", "YAML file with names and places of the markers; empty takes config/layout.yaml", live=False
    )
    input: str = setting(
        "marker_poses",
        "what the driver publishes: marker_poses (a PoseStamped topic per marker), marker_points (a PointStamped topic"
        " per marker), point_cloud (PointCloud2 without labels), body_pose (PoseStamped of the box), named_poses"
        " (the box in a motion_capture_tracking NamedPoseArray), mocap4r2_markers (mocap4r2_msgs Markers)",
        live=False,
    )
    marker_topic: str = setting(
        "vrpn_mocap/{name}/pose",
        "topic of the input; of the per-marker kinds with {name} for the marker's name or {number} for its place in the"
        " layout, from 0",
        live=False,
    )
    body_name: str = setting("box", "name of the box in a NamedPoseArray", live=False)
    body_from_box: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "place of the box frame in the tracked body's frame: x, y, z in m, then roll, pitch, yaw about the fixed axes"
        " in rad; for body_pose and named_poses",
        low=-100.0,
        high=100.0,
        live=False,
    )
    pusher_input: str = setting(
        "pose",
        "where the pusher is: pose (PoseStamped), point (PointStamped), named (a body in a NamedPoseArray, or in"
        " mocap4r2_msgs RigidBodies when the input is mocap4r2_markers), tf (a tf frame, seen from base_frame)",
        live=False,
    )
    pusher_topic: str = setting("vrpn_mocap/pusher/pose", "topic of the measured pusher; unused for tf", live=False)
    pusher_name: str = setting("pusher", "name of the pusher's body, or of its tf frame", live=False)
    stamp_source: str = setting(
        "header",
        "when a sample was measured: header (its stamp) or receive (when it arrived, for drivers on another clock)",
        live=False,
    )
    unit_m: float = setting(
        1.0, "length of the driver's unit; 0.001 for millimetres", unit="m", low=1e-6, high=1e3, live=False
    )

    def check(self) -> None:
        """See `Config.check`."""
        for name, known in (("input", INPUTS), ("pusher_input", PUSHER_INPUTS), ("stamp_source", STAMP_SOURCES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} = '{getattr(self, name)}' is not known; it must be one of {', '.join(known)}")
        marked = "{name}" in self.marker_topic or "{number}" in self.marker_topic
        if self.input in PER_MARKER and not marked:
            raise InputError(
                f"marker_topic = '{self.marker_topic}' must hold {{name}} or {{number}}: input = {self.input} needs a"
                " topic per marker"
            )
        if self.input not in PER_MARKER and marked:
            raise InputError(
                f"marker_topic = '{self.marker_topic}' must be one topic, without {{name}} and {{number}}, for input ="
                f" {self.input}"
            )
        needed = {"marker_topic"} | ({"body_name"} if self.input == "named_poses" else set())
        needed |= {"pusher_name"} if self.pusher_input in ("named", "tf") else set()
        needed |= set() if self.pusher_input == "tf" else {"pusher_topic"}
        for name in sorted(needed):
            if not getattr(self, name):
                raise InputError(f"{name} must not be empty")
        if len(self.body_from_box) != 6:
            raise InputError(f"body_from_box = {self.body_from_box} needs six numbers: x, y, z, roll, pitch, yaw")

    def marker_topics(self, layout: MarkerLayout) -> list[str]:
        """Topic of each marker, for the per-marker kinds."""
        return [
            self.marker_topic.replace("{name}", name).replace("{number}", str(number))
            for number, name in enumerate(layout.names)
        ]


def load_layout(layout_file: str) -> MarkerLayout:
    """The layout of a file, or the one that comes with the package for "". Raises InputError."""
    return MarkerLayout.load(Path(layout_file) if layout_file else share_path("config", "layout.yaml"))
