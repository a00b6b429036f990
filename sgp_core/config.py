"""Settings as frozen dataclasses: default, unit, range and description of each stand here and nowhere else.

ROS parameters, `--set key=value` and YAML files are all made from these fields.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from sgp_core.errors import InputError
from sgp_core.workspace import check_region

# A number, because an empty list has no type on ROS's command line and in what `ros2 param dump` writes.
ALL_SIGMAS = (0.0,)
ConfigT = TypeVar("ConfigT", bound="Config")
# A rectangle without area: none. An empty list has no type, either.
NO_KEEP_OUT = (0.0, 0.0, 0.0, 0.0)
DEVICES = ("cpu", "cuda")
DEFAULT_WORKSPACE_M = (0.30, 0.95, -0.35, 0.35)


def setting(
    default: Any, doc: str, *, unit: str = "", low: float = -math.inf, high: float = math.inf, live: bool = True
) -> Any:
    """A dataclass field with what a user needs to know about it; `live` may change while running."""
    return dataclasses.field(
        default=default, metadata={"doc": doc, "unit": unit, "low": low, "high": high, "live": live}
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """Base of all settings: checks every field once, when made.

    Raises:
        InputError: a value of the wrong type, not finite or out of range; the text names field, value and range.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            values = value if isinstance(value, tuple) else (value,)
            wanted = type(field.default)
            if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
                raise InputError(f"{field.name} = {value!r} must be of type {wanted.__name__}")
            for number in values:
                if isinstance(number, str | bool):
                    continue
                low, high = field.metadata["low"], field.metadata["high"]
                if not (math.isfinite(number) and low <= number <= high):
                    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
                    raise InputError(f"{field.name} = {value!r} must lie between {low:g} and {high:g}{unit}")
        self.check()

    def check(self) -> None:
        """Rules that span several fields; raises InputError."""

    def replaced(self: ConfigT, **changes: Any) -> ConfigT:
        """A copy with other values; unknown names, wrong types and bad values are an InputError."""
        known = {field.name: field for field in fields(self)}
        unknown = set(changes) - set(known)
        if unknown:
            raise InputError(f"unknown setting {sorted(unknown)}; known are {sorted(known)}")
        return dataclasses.replace(self, **{name: _coerced(known[name], value) for name, value in changes.items()})

    def to_dict(self) -> dict[str, Any]:
        """Plain values for YAML and JSON."""
        return {f.name: list(v) if isinstance(v := getattr(self, f.name), tuple) else v for f in fields(self)}


def _coerced(field: dataclasses.Field[Any], value: Any) -> Any:
    """Lists become tuples of floats, whole numbers may stand for floats, text is read as the field's type."""
    wanted = type(field.default)
    try:
        if wanted is tuple:
            parts = value.strip("[]() ").replace(",", " ").split() if isinstance(value, str) else list(value)
            return tuple(float(part) for part in parts)
        if isinstance(value, str) and wanted is bool:
            return {"true": True, "false": False}[value.lower()]
        if isinstance(value, bool):
            return value
        if wanted is float and isinstance(value, int | float | str):
            return float(value)
        if wanted is int and isinstance(value, str):
            return int(value)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{field.name} = {value!r} is not a {wanted.__name__}") from error
    return value


@dataclass(frozen=True, kw_only=True)
class LimitsConfig(Config):
    """What planner and pusher enforce, each by itself and whatever the other does."""

    step_limit_m: float = setting(0.05, "largest step along x and along y", unit="m", low=1e-4, high=0.5)
    workspace_m: tuple[float, ...] = setting(
        DEFAULT_WORKSPACE_M,
        "where the centre of the pusher may be: x_min, x_max, y_min, y_max, or the corners x1, y1, x2, y2, x3, y3, ..."
        " of a convex polygon",
        unit="m",
        low=-10.0,
        high=10.0,
    )
    keep_out_m: tuple[float, ...] = setting(
        NO_KEEP_OUT,
        "where it may not be: x_min, x_max, y_min, y_max of each rectangle, one after the other; without area: none",
        unit="m",
        low=-10.0,
        high=10.0,
    )
    speed_limit_mps: float = setting(0.12, "largest speed of the pusher", unit="m/s", low=1e-3, high=1.0)
    acceleration_limit_mps2: float = setting(
        0.5, "largest acceleration of the pusher", unit="m/s^2", low=1e-2, high=20.0
    )
    tracking_limit_m: float = setting(
        0.03, "largest distance between reference and measured pusher", unit="m", low=1e-3, high=0.5
    )

    def check(self) -> None:
        """See `Config.check`."""
        check_region(self.workspace_m, self.keep_out_m)

    def check_step_duration(self, step_duration_s: float) -> None:
        """Raises InputError unless the longest step, and turning it round, keeps to speed and acceleration."""
        longest_m = self.step_limit_m * math.sqrt(2.0)
        if longest_m > self.speed_limit_mps * step_duration_s:
            raise InputError(
                f"step_limit_m = {self.step_limit_m} along both axes within step_duration_s = {step_duration_s:g} needs"
                f" more than speed_limit_mps = {self.speed_limit_mps}; lower the step or raise the speed"
            )
        if 2.0 * longest_m > self.acceleration_limit_mps2 * step_duration_s**2:
            raise InputError(
                f"step_limit_m = {self.step_limit_m} reversed within step_duration_s = {step_duration_s:g} needs more"
                f" than acceleration_limit_mps2 = {self.acceleration_limit_mps2}; lower the step or raise the limit"
            )


@dataclass(frozen=True, kw_only=True)
class PlannerConfig(LimitsConfig):
    """Algorithm 1 of the paper; its settings where the paper states them."""

    beta: float = setting(
        0.001,
        "weight of the squared distance to data against the task cost, both in normalised space",
        low=0.0,
        high=1e4,
    )
    sigmas: tuple[float, ...] = setting(
        ALL_SIGMAS,
        "noise levels to anneal through, high to low, from the bundle's ladder; [0.0] means all of it",
        low=0.0,
        high=10.0,
    )
    horizon: int = setting(4, "number of planned steps T", low=1, high=64)
    iterations: int = setting(50, "Adam iterations per plan, shared equally by the noise levels", low=1, high=5000)
    learning_rate: float = setting(
        0.1, "Adam learning rate; the action is optimised as a fraction of step_limit_m", low=1e-5, high=10.0
    )
    restarts: int = setting(
        4,
        "initial guesses optimised side by side: the warm start and restarts-1 random ones; with contacts, the best"
        " ones after a fifth of the iterations",
        low=1,
        high=1024,
    )
    contacts_per_side: int = setting(
        5,
        "places beside each side of the box where a plan may begin to push, after a walk there; 0: where the pusher is",
        low=0,
        high=32,
    )
    step_cost_m: float = setting(
        0.002, "what a step costs, as a distance of every marker from its goal", unit="m", low=0.0, high=0.1
    )
    sequences: int = setting(
        10, "first guesses from the best sequences of two straight pushes, where there are contacts", low=1, high=200
    )
    search_parts: int = setting(
        1,
        "where a step takes several plans: how many of them share the search, one for pushes from where the pusher is,"
        " the others for some of the places round the box each; 1: the first plan of a step searches all",
        low=1,
        high=21,
    )
    budget_ms: float = setting(
        0.0,
        "time for one plan, after which the best one so far counts, never worse than the warm start; 0 takes 60 % of a"
        " control period or of state_timeout_s in the loop, and lets every iteration run elsewhere",
        unit="ms",
        low=0.0,
        high=1e5,
    )
    device: str = setting(
        "cpu", "where plans are made: cpu, or cuda for all iterations of a plan as one CUDA graph", live=False
    )
    running_weight: float = setting(
        0.01, "weight of the markers' squared error before the last step; above 0, sooner is better", low=0.0, high=1e4
    )
    turn_weight: float = setting(
        3.0,
        "weight of a marker's error less the mean of all, which is what a turn of the box makes; above 1,"
        " turning comes first",
        low=0.0,
        high=1e4,
    )
    action_weight: float = setting(0.01, "weight R of the squared step in the task cost", low=0.0, high=1e4)

    def check(self) -> None:
        """See `Config.check`."""
        super().check()
        if list(self.sigmas) != sorted(self.sigmas, reverse=True):
            raise InputError(f"sigmas = {self.sigmas} must fall from high to low")
        if self.device not in DEVICES:
            raise InputError(f"device = {self.device!r} must be one of {', '.join(DEVICES)}")


@dataclass(frozen=True, kw_only=True)
class MpcConfig(Config):
    """When to plan, when to trust the state, when to be done."""

    rate_hz: float = setting(1.0, "how often the planner runs", unit="Hz", low=0.05, high=100.0)
    state_timeout_s: float = setting(
        0.5, "oldest state that may become a step, planning time included", unit="s", low=0.01, high=10.0
    )
    goal_tolerance_m: float = setting(
        0.005, "mean marker error at which the goal counts as reached", unit="m", low=1e-4, high=0.2
    )
    goal_yaw_tolerance_rad: float = setting(
        0.06, "yaw error at which the goal counts as reached", unit="rad", low=1e-3, high=3.2
    )
    goal_hysteresis: float = setting(
        1.5, "the goal counts as left when an error exceeds its tolerance times this", low=1.0, high=10.0
    )
    trust_distance: float = setting(
        0.3,
        "distance to data up to which a plan is carried out in full; further off its steps are shorter in proportion,"
        " and from twice as far on there are none; 0 trusts every plan",
        low=0.0,
        high=100.0,
    )


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig(Config):
    """From marker samples to a state, and what of them is not believed."""

    sync_tolerance_s: float = setting(
        0.02, "samples further apart than this do not belong to one frame", unit="s", low=1e-4, high=1.0
    )
    rigid_tolerance_m: float = setting(
        0.005, "largest distance of a marker from the fitted rigid layout", unit="m", low=1e-4, high=0.1
    )
    pusher_gap_s: float = setting(
        0.25, "longest gap between two pusher samples that is bridged", unit="s", low=1e-3, high=5.0
    )
    frozen_timeout_s: float = setting(
        0.5,
        "a marker that repeats itself to the last bit for this long counts as hidden, all of them as a frozen driver;"
        " 0 never",
        unit="s",
        low=0.0,
        high=60.0,
    )
    box_speed_limit_mps: float = setting(
        1.5, "a box that seems to move faster is not believed", unit="m/s", low=0.05, high=100.0
    )
    pusher_speed_limit_mps: float = setting(
        3.0, "a pusher that seems to move faster is not believed", unit="m/s", low=0.1, high=100.0
    )
    reacquire_s: float = setting(
        0.3, "how long a box must be seen at an unbelievable place to be believed", unit="s", low=0.0, high=10.0
    )
    state_rate_hz: float = setting(
        120.0,
        "at most so many states a second; frames of a faster camera in between are left out, which saves their time",
        unit="Hz",
        low=10.0,
        high=1000.0,
    )


@dataclass(frozen=True, kw_only=True)
class FramesConfig(Config):
    """Where the frames are; written by `sgp calibrate frames`, the same for every node."""

    mocap_frame: str = setting(
        "", "frame_id that mocap messages must have; empty takes any that is not another frame's", live=False
    )
    base_frame: str = setting("base_link", "frame_id of the arm's base", live=False)
    table_from_mocap: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "place of the mocap frame in the table frame: x, y, z in m, then roll, pitch, yaw about the fixed axes in rad",
        low=-100.0,
        high=100.0,
        live=False,
    )
    table_from_base: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "place of the arm's base frame in the table frame, in the same six numbers",
        low=-100.0,
        high=100.0,
        live=False,
    )

    def check(self) -> None:
        """See `Config.check`."""
        for name in ("table_from_mocap", "table_from_base"):
            if len(getattr(self, name)) != 6:
                raise InputError(f"{name} = {getattr(self, name)} needs six numbers: x, y, z, roll, pitch, yaw")
        if self.mocap_frame and self.mocap_frame == self.base_frame:
            raise InputError(
                f"mocap_frame and base_frame are both '{self.base_frame}': which of the two a message comes from cannot"
                " be told; give the driver's frame another name"
            )


@dataclass(frozen=True, kw_only=True)
class PusherConfig(LimitsConfig):
    """Limits between a step and the arm; enforced whatever the planner says."""

    step_duration_s: float = setting(
        1.0, "time one step takes; must equal the bundle's", unit="s", low=0.02, high=10.0, live=False
    )
    step_timeout_s: float = setting(0.6, "a step older than this on arrival is dropped", unit="s", low=0.01, high=10.0)
    pusher_timeout_s: float = setting(
        0.2, "oldest measured pusher position that lets the arm move", unit="s", low=0.01, high=5.0
    )
    output_rate_hz: float = setting(100.0, "rate of arm targets", unit="Hz", low=10.0, high=500.0, live=False)
    # Not live: a height set by mistake would be commanded at once.
    tool_height_m: float = setting(0.02, "height of the tool while it pushes", unit="m", low=0.0, high=0.5, live=False)
    retreat_height_m: float = setting(
        0.12,
        "height the tool is raised to when disabled, and lowered from when enabled",
        unit="m",
        low=0.0,
        high=1.0,
        live=False,
    )
    approach_speed_mps: float = setting(
        0.05, "largest speed of the tool straight down and up", unit="m/s", low=1e-3, high=0.5
    )

    def check(self) -> None:
        """See `Config.check`."""
        super().check()
        self.check_step_duration(self.step_duration_s)
        if self.retreat_height_m < self.tool_height_m:
            raise InputError(
                f"retreat_height_m = {self.retreat_height_m} lies below tool_height_m = {self.tool_height_m}; the tool"
                " must retreat upwards"
            )


@dataclass(frozen=True, kw_only=True)
class SimConfig(Config):
    """The simulated rig: physics, sensors and their faults."""

    friction: float = setting(0.35, "friction between box and table", low=0.02, high=2.0, live=False)
    pusher_friction: float = setting(0.2, "friction between box and pusher", low=0.0, high=2.0, live=False)
    mass_kg: float = setting(0.5, "mass of the box", unit="kg", low=0.01, high=20.0, live=False)
    mass_offset_m: tuple[float, ...] = setting(
        (0.0, 0.0),
        "where the centre of mass is, seen from the centre of the box along its x and y",
        unit="m",
        low=-0.5,
        high=0.5,
        live=False,
    )
    marker_noise_m: float = setting(0.0003, "standard deviation of a marker coordinate", unit="m", low=0.0, high=0.05)
    marker_rate_hz: float = setting(
        100.0, "rate of marker and pusher samples", unit="Hz", low=5.0, high=500.0, live=False
    )
    delay_s: float = setting(0.01, "time from measurement to publication", unit="s", low=0.0, high=1.0)
    dropout: float = setting(0.0, "fraction of frames lost as a whole", low=0.0, high=1.0)
    occlusion: float = setting(0.0, "fraction of marker samples hidden, each by itself", low=0.0, high=1.0)
    seed: int = setting(0, "seed of noise, dropout and occlusion", low=0, high=2**31 - 1, live=False)

    def check(self) -> None:
        """See `Config.check`."""
        if len(self.mass_offset_m) != 2:
            raise InputError(f"mass_offset_m = {self.mass_offset_m} needs two numbers: x, y in the box frame")
