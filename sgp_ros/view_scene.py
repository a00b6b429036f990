"""What `sgp view` draws, as a rerun recording: the table from above, figures over time, and the controller's words.

Messages may come from a bag or from a graph; nothing here needs ROS. Everything is logged by stamp, so that a bag shows
what belonged together. rerun counts y downwards in 2D, hence every y is drawn as -y: x goes right and y up.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import numpy as np
import rerun as rr
from jaxtyping import Float
from numpy import ndarray

from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.plots import BOX, GOAL, INK, MUTED, PUSHER, outline
from sgp_core.safety import Fault, check_rigid
from sgp_core.types import Goal, Reason, State
from sgp_core.workspace import Region
from sgp_ros import convert
from sgp_ros.bag_states import Take
from sgp_ros.view_blueprint import FIGURES, MARGIN_M, rgba

STATES_EVERY_S = 0.05  # more than an eye can follow, and a third of what cameras send
PLANNED_BOX, PLANNED_PUSHER, KEEP_OUT = "#8fb6e3", "#f2a56b", "#c0392b"
AXES_M = 0.1
PLAN_SHOWN = {Reason.RUNNING, Reason.DRY_RUN}  # in all other cases nobody will execute it


class Scene:
    """Draws states, plans, goals and words, at their stamps.

    Args:
        recording: takes the drawing.
        layout: of the box.
        region: of the pusher's centre.

    Attributes:
        takers: what to do with a message, by relative name of its topic.
    """

    def __init__(self, recording: rr.RecordingStream, layout: MarkerLayout, region: Region) -> None:
        self._recording, self._layout = recording, layout
        shared = len(list(takewhile(lambda letters: len(set(letters)) == 1, zip(*layout.names, strict=False))))
        self._labels = [name[shared:] or name for name in layout.names]  # marker1, marker2: 1, 2
        self._drawn_s = -np.inf  # stamp of the last state
        self._ahead_s = 0.0  # of the stamps' clock over the clock of arrival
        self._planned_ns, self._words = "", ("", "")
        self._plan_s = -np.inf  # stamp of the plan that is drawn; -inf: none is
        self.takers: dict[str, Take] = {
            "state": self._take_state,
            "plan": self._take_path,
            "plan_markers": self._take_plan,
            "status": self._take_status,
            "goal_pose": lambda m, at_s: self._take_goal(lambda: convert.goal_from_pose(m, layout), at_s),
            "goal_markers": lambda m, at_s: self._take_goal(lambda: convert.goal_from_markers(m, layout), at_s),
        }
        self._draw_region(region)
        for name, (words, colour) in FIGURES.items():
            style = rr.SeriesLines(colors=rgba(colour), names=words, widths=1.5)
            recording.log(f"figures/{name}", style, static=True)

    def draw(self, state: State) -> None:
        """Box, markers and pusher; a state soon after the last one is left out."""
        if 0.0 <= state.stamp_s - self._drawn_s < STATES_EVERY_S:
            return
        self._drawn_s = state.stamp_s
        self._at(state.stamp_s)
        markers, pusher = self._layout.markers(state.x), state.x[-2:]
        self._lines("table/box", [self._box(markers)], BOX, 1.5)
        self._points("table/markers", markers, BOX, 3.5, labels=self._labels)
        self._lines("table/pusher", [_circle(pusher, self._layout.pusher_radius_m)], PUSHER, 1.5)
        self._points("table/way", pusher[None], PUSHER, 1.0)

    def say(self, words: str) -> None:
        """Words that belong to no instant, such as what is being waited for; the last ones stand."""
        self._recording.log("words/view", rr.TextLog(words, level=rr.TextLogLevel.INFO), static=True)

    def keep_time(self, message: Any, received_s: float) -> None:
        """Learn from a stamped message how the clock of the stamps is ahead of the one of arrival."""
        self._ahead_s = convert.seconds(message.header.stamp) - received_s

    def _take_state(self, message: Any, received_s: float) -> None:
        found = convert.state_from_msg(message, self._layout)
        self.keep_time(message, received_s)
        if isinstance(found, Fault):
            self._tell(received_s, found.reason, f"{found.text}; see --layout")
        elif strange := check_rigid(self._layout.markers(found.x), self._layout):
            self._tell(received_s, Reason.BAD_STATE, f"{strange}; see --layout")
        else:
            self.draw(found)

    def _take_path(self, message: Any, _received_s: float) -> None:
        self._plan_s = convert.seconds(message.header.stamp)
        self._at(self._plan_s)
        way = np.array([[pose.pose.position.x, pose.pose.position.y] for pose in message.poses]).reshape(-1, 2)
        self._lines("table/plan/pusher", [way], PLANNED_PUSHER, 1.5)
        self._points("table/plan/steps", way[1:], PLANNED_PUSHER, 3.0)

    def _take_plan(self, message: Any, _received_s: float) -> None:
        planned = convert.planned_from_msg(message, self._layout)
        self._plan_s = planned.stamp_s
        self._at(planned.stamp_s)
        self._lines("table/plan/box", [self._box(markers) for markers in planned.markers_m[1:]], PLANNED_BOX, 0.8)
        self._draw_goal(planned.goal_m)

    def _take_goal(self, read: Any, received_s: float) -> None:
        try:
            goal: Goal = read()
        except InputError as error:
            self._tell(received_s, "refused goal", str(error))
            return
        self._at(received_s + self._ahead_s)
        self._draw_goal(goal.markers_m)

    def _take_status(self, message: Any, received_s: float) -> None:
        values = {pair.key: pair.value for pair in message.values}
        planned_ns, reason = values.get("planned_from_ns", "0"), values.get("reason", "")
        if planned_ns not in ("0", self._planned_ns):  # a status of nothing new repeats the figures
            self._planned_ns = planned_ns
            self._at(convert.clock_seconds(int(planned_ns)))
            for name in FIGURES:
                if np.isfinite(value := float(values.get(name) or "nan")):
                    self._recording.log(f"figures/{name}", rr.Scalars(value))
        if reason not in PLAN_SHOWN and np.isfinite(self._plan_s):
            # A plan is told before it is refused, and its stamp, where its first step begins, may still be to come.
            self._at(max(received_s + self._ahead_s, self._plan_s))
            self._recording.log("table/plan", rr.Clear(recursive=True))
            self._plan_s = -np.inf
        self._tell(received_s, reason, message.message)

    def _tell(self, received_s: float, reason: str, words: str) -> None:
        if (reason, words) != self._words:
            self._words = (reason, words)
            well = reason in (Reason.RUNNING, Reason.GOAL_REACHED)
            level = rr.TextLogLevel.INFO if well else rr.TextLogLevel.WARN
            self._at(received_s + self._ahead_s)
            self._recording.log("words/controller", rr.TextLog(f"{reason}: {words}", level=level))

    def _draw_goal(self, markers_m: Float[ndarray, "N 2"]) -> None:
        self._lines("table/goal", [self._box(markers_m)], GOAL, 1.5)
        self._points("table/goal/markers", markers_m, GOAL, 2.0)

    def _draw_region(self, region: Region) -> None:
        corners = np.asarray(region.workspace_m).reshape(-1, 2)
        if len(region.workspace_m) == 4:
            corners = _rectangle(*region.workspace_m)
        holes = [_rectangle(*hole) for hole in np.asarray(region.keep_out_m).reshape(-1, 4)]
        self._lines("table/workspace", [_closed(corners)], MUTED, 0.6, static=True)
        self._lines("table/keep_out", [_closed(hole) for hole in holes if np.ptp(hole)], KEEP_OUT, 0.8, static=True)
        corner = region.box[0] - 0.5 * MARGIN_M
        for name, end in {"x": (AXES_M, 0.0), "y": (0.0, AXES_M)}.items():
            way = np.stack([corner, corner + end])
            self._lines(f"table/axes/{name}", [way], INK, 1.0, labels=[f"{name}: {AXES_M:g} m"], static=True)

    def _box(self, markers_m: Float[ndarray, "N 2"]) -> Float[ndarray, "5 2"]:
        return _closed(outline(self._layout, self._layout.pose_of(markers_m)))

    def _at(self, time_s: float) -> None:
        self._recording.set_time("stamp", timestamp=time_s)

    def _lines(self, path: str, ways: list, colour: str, width: float, **more: Any) -> None:
        static = more.pop("static", False)
        strips = [np.asarray(way) * (1.0, -1.0) for way in ways]
        drawn = rr.LineStrips2D(strips, colors=rgba(colour), radii=rr.Radius.ui_points(width), **more)
        self._recording.log(path, drawn, static=static)

    def _points(self, path: str, points: ndarray, colour: str, radius: float, **more: Any) -> None:
        drawn = rr.Points2D(points * (1.0, -1.0), colors=rgba(colour), radii=rr.Radius.ui_points(radius), **more)
        self._recording.log(path, drawn)


def _circle(centre_m: Float[ndarray, "2"], radius_m: float) -> Float[ndarray, "49 2"]:
    angles = np.linspace(0.0, 2.0 * np.pi, 49)
    return centre_m + radius_m * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _closed(corners: Float[ndarray, "K 2"]) -> ndarray:
    return np.concatenate([corners, corners[:1]])


def _rectangle(x_min: float, x_max: float, y_min: float, y_max: float) -> Float[ndarray, "4 2"]:
    return np.array([[x_min, y_min], [x_max, y_min], [x_max, y_max], [x_min, y_max]])
