"""What must never happen, written down from the documents (docs/nodes.md, "Safety") and from nothing else.

Each oracle sees messages and clocks only, and the plan that a step belongs to. Where the documents allow a reaction
time it stands here as a number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from injected_plans import TICK_S, Time, Worker

from sgp_ros import convert

REASONS = {
    "RUNNING", "GOAL_REACHED", "DRY_RUN", "NO_GOAL", "NO_STATE", "STALE_STATE", "NON_FINITE", "BAD_STATE",
    "FROZEN_STATE", "OUTSIDE_WORKSPACE", "KEEP_OUT", "STEP_TOO_LARGE", "LATE_STEP", "NO_PUSHER", "PUSHER_DISABLED",
    "APPROACHING", "PUSHER_FAULT", "STEP_DURATION_MISMATCH", "TRACKING_ERROR", "PLANNER_ERROR",
    "OFF_DATA",
}  # fmt: skip
WELL = ("RUNNING", "GOAL_REACHED")
UNTAKEN = "has taken no step"  # said beside a step that was sent nevertheless: it may be the first one taken
DEFAULTS: dict[str, Any] = {
    "step_limit_m": 0.05, "workspace_m": [0.30, 0.95, -0.35, 0.35], "keep_out_m": [0.0] * 4, "speed_limit_mps": 0.12,
    "acceleration_limit_mps2": 0.5, "tracking_limit_m": 0.03, "state_timeout_s": 0.5, "step_timeout_s": 0.6,
    "pusher_timeout_s": 0.2,
}  # fmt: skip
STEP_S = 1.0
SKEW_S = 0.05  # a stamp may be so far ahead
SLACK_M = 0.005  # a pusher on the border may be measured so far outside
ROUNDING_M = 2e-5
EXACT_M = 1e-6
CREEP_M = 1e-4  # the last of a way is gone gently
REPORT_S = 1.0  # a pusher that has not reported for so long is none
REACT_S = 0.15  # from a state that is lost to the stop: two looks of the watch, and one tick


class Oracles:
    """Watches what nodes hear and say; `unsafe` lists what they should not have done.

    Args:
        time: the clocks of the nodes.
    """

    def __init__(self, time: Time) -> None:
        self.time = time
        self.unsafe: list[str] = []
        self.sent = self.moving_sent = self.taken = 0  # steps; those that are not zero; those the pusher accepted
        self.reasons: dict[str, int] = {}
        self.reason = ""
        self.now = {"mpc": dict(DEFAULTS), "pusher": dict(DEFAULTS)}  # settings
        self.before = {"mpc": dict(DEFAULTS), "pusher": dict(DEFAULTS)}  # until the next cycle
        self._report: tuple[float, bool] | None = None
        self._start_mpc()
        self._start_pusher()

    def _start_mpc(self) -> None:
        self.enabled = True
        self._stopped = Worker.started  # no plan begun up to here may give a step
        self._until_s = 0.0  # ROS time at which the step under way ends
        self._states: dict[int, np.ndarray] = {}
        self._state: tuple[float, float, np.ndarray] | None = None  # stamp, steady time of arrival, x
        self._heard: tuple[float, bool] | None = None  # steady time of the last report, whether steps are taken
        self._untrusted_s = 0.0

    def _start_pusher(self) -> None:
        self.pusher_enabled, self.faulted = True, False
        self._was_faulted = False  # before the service that is called
        self._accepted_ns, self._not_before_s = 0, self.time.ros_s
        self._measured_m: np.ndarray | None = None
        self._silent_s = math.inf
        self._at_m: np.ndarray | None = None  # last target, while there is one
        self._height_m = math.nan
        self._at_s = self._speed_mps = 0.0
        self._velocity: np.ndarray | None = None
        self._seen = False
        self._renewed_m: np.ndarray | None = None  # where the pusher was measured when it was enabled
        self._beyond_m, self._deep_m, self._braked_s = math.inf, math.inf, 0.0
        self._still_s = math.inf  # from when on a disabled pusher stands
        self._clock_set_s = -math.inf  # when ROS time was set last
        self._fault_m: np.ndarray | None = None
        self._fault_reach_m = 0.0
        self._coming: tuple[int, str] | None = None

    def _say(self, text: str) -> None:
        self.unsafe.append(f"at {self.time.steady_s:.2f} s: {text}")

    def _largest(self, node: str, name: str) -> float:
        return max(self.before[node][name], self.now[node][name])

    # --- what happens to the nodes

    def restarted(self, name: str) -> None:
        if name == "mocap":
            return
        self.now[name], self.before[name] = dict(DEFAULTS), dict(DEFAULTS)
        if name == "mpc":
            self._start_mpc()
        else:
            self._start_pusher()

    def set(self, node: str, values: dict[str, Any], done: bool) -> None:
        if not done or node not in self.now:
            return
        self.before[node], self.now[node] = dict(self.now[node]), {**self.now[node], **values}
        if node == "pusher":
            self._forgive()

    def _forgive(self) -> None:
        """New limits: what moves has to brake first, and ends where it can."""
        if self._at_m is None:
            return
        slow = min(self.now["pusher"]["acceleration_limit_mps2"], self.before["pusher"]["acceleration_limit_mps2"])
        way_m = self._speed_mps**2 / (2.0 * slow) + 2.0 * self._speed_mps * TICK_S + EXACT_M
        self._beyond_m = max(outside_m(self.now["pusher"]["workspace_m"], self._at_m), 0.0) + way_m
        self._deep_m = max(inside_m(self.now["pusher"]["keep_out_m"], self._at_m), 0.0) + way_m
        self._braked_s = self.time.steady_s + self._speed_mps / slow + 3.0 * TICK_S
        self._fault_reach_m += way_m
        if not self.pusher_enabled:
            self._still_s = max(self._still_s, self._braked_s)

    def before_call(self, node: str, service: str, flag: bool | None) -> None:
        if (node, service, flag) == ("mpc", "enable", False):
            self.enabled = False
        self._was_faulted = self.faulted

    def called(self, node: str, service: str, flag: bool | None, done: bool) -> None:
        """A service was called."""
        if node == "mpc" and (service == "reset" or (service == "enable" and not flag)):
            self._stopped = Worker.started
            if self._under_way() and service == "reset":
                self._say("reset left a step under way")
            if self._under_way() and service == "enable" and self.pusher_enabled:
                self._say("disabled, and a step under way goes on")
        if node == "mpc" and service == "enable":
            self.enabled = bool(flag)
        if node == "pusher" and service == "enable" and done:
            if flag:
                if not self.pusher_enabled:
                    self._not_before_s = self.time.ros_s
                self._still_s, self._renewed_m = math.inf, self._measured_m
            else:
                slow = min(self.now["pusher"]["acceleration_limit_mps2"], DEFAULTS["acceleration_limit_mps2"])
                self._still_s = min(self._still_s, self.time.steady_s + self._speed_mps / slow + 3.0 * TICK_S)
            self.pusher_enabled = bool(flag)
        if node == "pusher" and service == "clear_fault" and done and self._was_faulted:
            # Without a fault it changes nothing.
            self._not_before_s, self._fault_m = self.time.ros_s, None

    def clock_set(self, seconds: float) -> None:
        self._clock_set_s = self.time.steady_s
        if seconds < -SKEW_S:
            self._until_s = 0.0  # the pusher sees it, too, and stands
            self._accepted_ns, self._not_before_s = 0, 0.0

    # --- what the controller hears and says

    def state(self, message: Any) -> None:
        """A state reaches the controller."""
        x = np.array([(pose.position.x, pose.position.y) for pose in message.poses]).ravel()
        if np.isfinite(x).all():
            stamp_ns = convert.stamp_ns(message.header.stamp)
            if len(self._states) > 400:
                self._states = dict(list(self._states.items())[-200:])
            self._states[round(stamp_ns * 1e-3)] = x
            self._state = (stamp_ns * 1e-9, self.time.steady_s, x)

    def _under_way(self) -> bool:
        return self.time.ros_s < self._until_s

    def step(self, message: Any, taken: Any) -> None:
        """The controller sends a step."""
        self.sent += 1
        u = np.array([message.vector.x, message.vector.y])
        stamp_s, now_s = convert.seconds(message.header.stamp), self.time.ros_s
        if not np.isfinite(u).all():
            self._say(f"a step of {u}")
            return
        if not u.any():
            self._until_s = 0.0
            return
        self.moving_sent += 1
        self._until_s = stamp_s + STEP_S
        number, job = taken
        if np.abs(u).max() > self._largest("mpc", "step_limit_m") + ROUNDING_M:
            self._say(f"a step of {u}, longer than step_limit_m")
        if not self.enabled:
            self._say("a step in a dry run")
        if number <= self._stopped:
            self._say("a step from a plan that began before a stop")
        if stamp_s > now_s + EXACT_M:
            self._say(f"a step stamped {stamp_s - now_s:.3f} s ahead")
        age_s = now_s - job.state.stamp_s
        if not -SKEW_S - EXACT_M <= age_s <= self._largest("mpc", "state_timeout_s") + EXACT_M:
            self._say(f"a step from a state that is {age_s:.3f} s old")
        known = self._states.get(round(job.state.stamp_s * 1e6))
        if known is None or not np.array_equal(known, job.state.x):
            self._say("a step from a state that nobody sent")
        elif all(outside_m(c["mpc"]["workspace_m"], known[-2:]) > SLACK_M + EXACT_M for c in (self.now, self.before)):
            self._say("a step from a pusher outside of the workspace")
        if self._heard is None or self.time.steady_s - self._heard[0] > REPORT_S + EXACT_M:
            self._say("a step to a pusher that does not report")
        elif not self._heard[1]:
            self._say("a step to a pusher that takes none")

    def status(self, message: Any) -> None:
        """The controller says why."""
        reason = {pair.key: pair.value for pair in message.values}.get("reason", "")
        self.reasons[reason] = self.reasons.get(reason, 0) + 1
        self.reason = reason
        if reason not in REASONS or len(message.message) < 4:
            self._say(f"a status without explanation: '{reason}', '{message.message}'")
        if reason in WELL or (reason == "NO_PUSHER" and UNTAKEN in message.message):
            return
        self._stopped = Worker.started
        if reason in ("PUSHER_DISABLED", "PUSHER_FAULT"):
            self._until_s = 0.0  # the pusher stands by itself
        elif self._under_way():
            self._say(f"{reason}, and a step under way goes on")

    def ticked(self, dt_s: float) -> None:
        """All nodes have run once."""
        self.before = {name: dict(values) for name, values in self.now.items()}
        self._silent_s += min(dt_s, 2.0 * TICK_S)
        if not self._seen:
            self._at_m = self._velocity = None
            self._speed_mps = 0.0
        self._seen = False
        self._untrusted_s = self._untrusted_s + min(dt_s, TICK_S) if self._under_way() and self._lost() else 0.0
        if self._untrusted_s > REACT_S + EXACT_M:
            self._say(f"missed stop: {self._lost()}")
            self._untrusted_s = 0.0

    def _lost(self) -> str:
        """What has taken the ground from under a step, in words."""
        limits, state = self.now["mpc"], self._state
        if state is None:
            return "no state"
        age_s = max(self.time.ros_s - state[0], self.time.steady_s - state[1])
        if age_s > limits["state_timeout_s"]:
            return f"the newest state is {age_s:.2f} s old"
        if outside_m(limits["workspace_m"], state[2][-2:]) > SLACK_M + EXACT_M:
            return "the pusher is outside of the workspace"
        if self._heard is None or self.time.steady_s - self._heard[0] > REPORT_S:
            return "the pusher does not report"
        return ""

    # --- what the pusher hears and says

    def report_heard(self, message: Any) -> None:
        """A report of the pusher reaches the controller."""
        values = {pair.key: pair.value for pair in message.status[0].values}
        takes = values["enabled"] == "true" and values["faulted"] == "false" and values["reason"] == "RUNNING"
        self._heard = (self.time.steady_s, takes)

    def pusher_pose(self, message: Any) -> None:
        """A measurement reaches the pusher's node."""
        where = message.pose.position
        age_s = self.time.ros_s - convert.seconds(message.header.stamp)
        fresh = -SKEW_S - EXACT_M <= age_s <= self._largest("pusher", "pusher_timeout_s") + EXACT_M
        if message.header.frame_id == "table" and math.isfinite(where.x) and math.isfinite(where.y) and fresh:
            self._measured_m, self._silent_s = np.array([where.x, where.y]), max(age_s, 0.0)

    def step_comes(self, message: Any, last_ns: int) -> None:
        """A step reaches the pusher's node, which took one last: why it must not be taken, if there is a reason."""
        u, stamp_s = np.array([message.vector.x, message.vector.y]), convert.seconds(message.header.stamp)
        age_s, why = self.time.ros_s - stamp_s, ""
        if not np.isfinite(u).all():
            why = "it is not finite"
        elif np.abs(u).max() > self._largest("pusher", "step_limit_m") + ROUNDING_M:
            why = "it is longer than step_limit_m"
        elif not -SKEW_S - EXACT_M <= age_s <= self._largest("pusher", "step_timeout_s") + EXACT_M:
            why = f"it is {age_s:.3f} s old"
        elif convert.stamp_ns(message.header.stamp) < self._accepted_ns:
            why = "it is older than the last one"
        elif stamp_s < self._not_before_s - EXACT_M:
            why = "it is from before the start, the enabling or the clearing"
        elif not self.pusher_enabled:
            why = "the pusher is disabled"
        elif self.faulted:
            why = "a fault is latched"
        elif self._silent_s > self._largest("pusher", "pusher_timeout_s") + 3.0 * TICK_S:
            why = "nobody measures the pusher"
        elif message.header.frame_id != "table":
            why = "its frame is not the table"
        stamp_ns = convert.stamp_ns(message.header.stamp)
        # Another one with the stamp of the last is not it.
        self._coming = None if stamp_ns == last_ns else (stamp_ns, why)

    def step_came(self) -> None:
        """The report on it was heard."""
        self._coming = None

    def pusher_state(self, message: Any) -> None:
        """The pusher reports."""
        values = {pair.key: pair.value for pair in message.status[0].values}
        stamp_ns, faulted = int(values["step_stamp_ns"]), values["faulted"] == "true"
        if self._coming is not None and stamp_ns == self._coming[0] != self._accepted_ns:
            self.taken += 1
            if self._coming[1]:
                self._say(f"the pusher took a step although {self._coming[1]}")
            self._accepted_ns = stamp_ns
        if faulted and not self.faulted and self._at_m is not None:
            self._fault_m = self._at_m
            slow = self.now["pusher"]["acceleration_limit_mps2"]
            self._fault_reach_m = self._speed_mps**2 / (2.0 * slow) + 3.0 * self._speed_mps * TICK_S + 2e-3
        if not faulted:
            self._fault_m = None
        self.faulted = faulted
        if values["reason"] not in REASONS or len(message.status[0].message) < 4:
            self._say(f"a pusher state without explanation: {values['reason']}, '{message.status[0].message}'")

    def target(self, message: PoseStamped) -> None:
        """The pusher's node commands the arm."""
        place = message.pose.position
        at_m, limits, now_s = np.array([place.x, place.y]), self.now["pusher"], self.time.steady_s
        self._seen = True
        if not (np.isfinite(at_m).all() and math.isfinite(place.z)):
            self._say(f"a target of {at_m}, {place.z}")
            return
        gap_s, slow = now_s - self._at_s, limits["acceleration_limit_mps2"]
        first_m = 2.0 * max(slow, 0.5) * min(gap_s, 2.0 * TICK_S) ** 2 + EXACT_M
        renewed, self._renewed_m = near(at_m, self._renewed_m, first_m), None
        if self._at_m is None or renewed:
            if not renewed and not near(at_m, self._measured_m, first_m):
                self._say(f"the first target {at_m} is not the measured place {self._measured_m}")
            # Enabled again, it may go on from where it is, at the speed that it has.
            self._velocity, self._height_m = np.zeros(2) if self._at_m is None else None, place.z
            self._beyond_m = self._deep_m = SLACK_M + EXACT_M
            self._braked_s = 0.0
        else:
            self._moved(at_m, gap_s, slow)
            if abs(place.z - self._height_m) > 0.05 * gap_s + EXACT_M:
                self._say("the tool goes up or down faster than approach_speed_mps")
        beyond_m, deep_m = outside_m(limits["workspace_m"], at_m), inside_m(limits["keep_out_m"], at_m)
        if beyond_m > self._beyond_m + EXACT_M:
            self._say(f"a target {beyond_m * 1e3:.1f} mm outside of the workspace")
        if deep_m > self._deep_m + EXACT_M:
            self._say(f"a target {deep_m * 1e3:.1f} mm inside of a keep-out")
        if now_s > self._braked_s:  # the way back is one way
            self._beyond_m = min(self._beyond_m, max(beyond_m, 0.0))
            self._deep_m = min(self._deep_m, max(deep_m, 0.0))
        self._at_m, self._at_s, self._height_m = at_m, now_s, place.z

    def _moved(self, at_m: np.ndarray, gap_s: float, slow: float) -> None:
        """From one target to the next."""
        assert self._at_m is not None
        way = at_m - self._at_m
        way_m = float(np.linalg.norm(way))
        speed_mps = way_m / max(gap_s, 1e-9)
        if way_m > max(self._largest("pusher", "speed_limit_mps"), self._speed_mps) * gap_s + EXACT_M:
            self._say(f"the target moves at {speed_mps:.3f} m/s")
        velocity = way / max(gap_s, 1e-9) if gap_s <= 2.0 * TICK_S + EXACT_M else None
        if velocity is not None and self._velocity is not None:
            change = float(np.linalg.norm(velocity - self._velocity))
            if change > max(slow, self._largest("pusher", "acceleration_limit_mps2")) * gap_s + EXACT_M / gap_s:
                self._say(f"the target changes its velocity by {change:.4f} m/s in {gap_s:.3f} s")
        self._velocity, self._speed_mps = velocity, speed_mps
        if way_m > 1e-9 and self.time.steady_s > self._still_s:
            self._say("disabled, and the target moves")
        limits = self.now["pusher"]
        reach_m = limits["tracking_limit_m"] + self._fault_reach_m
        if self._fault_m is not None and float(np.linalg.norm(at_m - self._fault_m)) > reach_m:
            self._say("after a fault the target goes further than tracking_limit_m")
        # Nobody measures the pusher: it brakes, and goes back to where it was seen last. ROS time that stood still and
        # is set leads it there by a millimetre once more.
        braked_s = limits["pusher_timeout_s"] + limits["speed_limit_mps"] / slow + 3.0 * TICK_S
        still_s = braked_s + limits["tracking_limit_m"] / limits["speed_limit_mps"] + limits["speed_limit_mps"] / slow
        seen_m = self._at_m if self._measured_m is None else self._measured_m
        off_m, before_m = (float(np.linalg.norm(place_m - seen_m)) for place_m in (at_m, self._at_m))
        late_s = braked_s if off_m > before_m + CREEP_M else still_s
        set_just_now = self.time.steady_s - self._clock_set_s < 1.0 and off_m <= SLACK_M
        if way_m > CREEP_M and self._silent_s > late_s and not set_just_now:
            self._say(f"the target moves, and the pusher was not measured for {self._silent_s:.2f} s")


def near(one_m: np.ndarray, other_m: np.ndarray | None, within_m: float) -> bool:
    """Whether two points are the same but for so much [m]."""
    return other_m is not None and float(np.linalg.norm(one_m - other_m)) <= within_m


def outside_m(workspace_m: list[float], point_m: np.ndarray) -> float:
    """How far outside of a rectangle a point lies along x or y [m]."""
    x_min, x_max, y_min, y_max = workspace_m
    return float(max(x_min - point_m[0], point_m[0] - x_max, y_min - point_m[1], point_m[1] - y_max))


def inside_m(keep_out_m: list[float], point_m: np.ndarray) -> float:
    """How deep inside of a rectangle a point lies [m]; negative outside, and where the rectangle has no area."""
    x_min, x_max, y_min, y_max = keep_out_m
    if x_min >= x_max or y_min >= y_max:
        return -1.0
    return float(min(point_m[0] - x_min, x_max - point_m[0], point_m[1] - y_min, y_max - point_m[1]))
