"""What `sgp view` draws of messages, and when it takes it away; needs no browser."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("rclpy", reason="no ROS 2: install the extra `ros` or source a ROS installation")
pytest.importorskip("rerun", reason="no rerun: install the extra `view`")

from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path

from sgp_core.config import PlannerConfig
from sgp_core.safety import Fault, region_of
from sgp_core.types import Reason
from sgp_ros import messages
from sgp_ros.mocap_settings import load_layout
from sgp_ros.view_scene import Scene


class Notes:
    """What is logged and when; reading a recording back would need rerun's whole data base."""

    def __init__(self) -> None:
        self.at_s, self.logged = 0.0, []

    def set_time(self, _timeline: str, timestamp: float) -> None:
        self.at_s = timestamp

    def log(self, path: str, drawn: Any, **_: Any) -> None:
        self.logged.append((self.at_s, path, type(drawn).__name__))


def test_each_plan_that_is_refused_is_taken_away_not_only_the_first() -> None:
    notes = Notes()
    scene = Scene(notes, load_layout(""), region_of(PlannerConfig()))  # type: ignore[arg-type]
    refused = messages.report("sgp/mpc", Fault(reason=Reason.OFF_DATA, text="far"), {})
    sent = messages.report("sgp/mpc", Fault(reason=Reason.RUNNING, text="a push"), {})
    for number, status in enumerate((refused, refused, sent)):
        begins_s = 10.2 + number
        path = Path(header=messages.header(begins_s), poses=[PoseStamped(), PoseStamped()])
        scene.takers["plan"](path, begins_s - 0.2)
        scene.takers["status"](status, begins_s - 0.19)  # told before the plan begins
    plans = [(at_s, kind) for at_s, path, kind in notes.logged if path in ("table/plan", "table/plan/pusher")]
    assert plans == [
        (10.2, "LineStrips2D"),
        (10.2, "Clear"),
        (11.2, "LineStrips2D"),
        (11.2, "Clear"),
        (12.2, "LineStrips2D"),
    ]
