"""Every way to give mpc_node a goal: a topic, a name, or the box itself put where it should go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from geometry_msgs.msg import PoseArray, PoseStamped
from std_srvs.srv import Trigger

from sgp_core.config import Config, setting
from sgp_core.errors import InputError
from sgp_core.goals import Pose, find_goal, save_goal
from sgp_core.layout import MarkerLayout
from sgp_core.safety import Fault, check_goal
from sgp_core.types import Goal, State
from sgp_ros import convert
from sgp_ros.running import LATCHED_QOS, RELIABLE_QOS, SgpNode


@dataclass(frozen=True, kw_only=True)
class GoalConfig(Config):
    """Goals by name."""

    goal: str = setting("", "goal to push to: a name in goals_file or config/goals.yaml, or x,y,yaw in m and rad")
    goals_file: str = setting("", "YAML file of your own named goals; ~/save_goal writes into it", live=False)
    save_goal_as: str = setting("captured", "name under which ~/save_goal keeps the present goal")


class GoalInputs:
    """Reads goals and hands them on; what is wrong with one is told to whoever gave it.

    Args:
        node: its settings hold a GoalConfig.
        layout: of the bundle.
        take: takes a goal, or raises InputError.
        goal: the goal of now.
        state: the newest state fit to be made a goal, or why there is none.
    """

    def __init__(
        self,
        node: SgpNode,
        layout: MarkerLayout,
        take: Callable[[Goal], None],
        goal: Callable[[], Goal | None],
        state: Callable[[], State | Fault],
    ) -> None:
        self._node, self._layout, self._take, self._goal, self._state = node, layout, take, goal, state
        config = node.settings.get(GoalConfig)
        self._path = Path(config.goals_file).expanduser() if config.goals_file else None
        if config.goal:
            take(self.named(config.goal))
        # Twice each: transient local brings a goal given before this node started, but does not match the volatile
        # publishers of RViz and `ros2 topic pub`. Taking the same goal twice changes nothing.
        for qos in (LATCHED_QOS, RELIABLE_QOS):
            node.create_subscription(PoseStamped, "goal_pose", self._on_pose, qos)
            node.create_subscription(PoseArray, "goal_markers", self._on_markers, qos)
        node.create_service(Trigger, "~/set_goal_from_state", self._on_set_from_state)
        node.create_service(Trigger, "~/save_goal", self._on_save)

    def named(self, text: str) -> Goal:
        """A goal by name or as x,y,yaw. Raises InputError, also for markers of another layout."""
        goal = find_goal(text, self._path).goal(self._layout)
        wrong = check_goal(goal, self._layout)
        if wrong is not None:
            raise InputError(f"{text}: {wrong}; it was saved with another layout: save it again")
        return goal

    def take_named(self) -> None:
        """The parameter `goal` was set."""
        text = self._node.settings.get(GoalConfig).goal
        if text:
            self._try(f"goal {text}", lambda: self.named(text))

    def _on_pose(self, message: PoseStamped) -> None:
        self._try("goal_pose", lambda: convert.goal_from_pose(message, self._layout))

    def _on_markers(self, message: PoseArray) -> None:
        self._try("goal_markers", lambda: convert.goal_from_markers(message, self._layout))

    def _try(self, what: str, read: Callable[[], Goal]) -> None:
        try:
            self._take(read())
        except InputError as error:
            self._node.get_logger().error(f"{what} refused, the goal stays as it was: {error}")

    def _on_set_from_state(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        state = self._state()
        if isinstance(state, Fault):
            response.success, response.message = False, state.text
            return response
        markers = self._layout.markers(state.x)
        try:
            self._take(Goal(markers_m=markers.copy()))
            response.success, response.message = True, f"goal: {_words(self._layout.pose_of(markers))}"
        except InputError as error:
            response.success, response.message = False, str(error)
        return response

    def _on_save(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        goal, name = self._goal(), self._node.settings.get(GoalConfig).save_goal_as
        response.success = False
        if goal is None:
            response.message = "no goal to save; call ~/set_goal_from_state first"
        elif self._path is None:
            response.message = "no file to save to; start the node with the parameter goals_file"
        else:
            try:
                pose = save_goal(self._path, name, goal, self._layout)
                response.success, response.message = True, f"goal {name} ({_words(pose)}) saved to {self._path}"
            except InputError as error:
                response.message = str(error)
        return response


def _words(pose: Pose) -> str:
    x_m, y_m, yaw_rad = pose
    return f"x {x_m:.3f} m, y {y_m:.3f} m, yaw {yaw_rad:.3f} rad"
