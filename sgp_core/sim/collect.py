"""Demonstrations on the simulated rig, cut into transitions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.config import Config, SimConfig, setting
from sgp_core.data import Transitions
from sgp_core.errors import InputError
from sgp_core.layout import MarkerLayout
from sgp_core.sim.demonstrator import Habits, Pose, step
from sgp_core.sim.play import Heading, beside
from sgp_core.sim.rig import Rig, clearance


@dataclass(frozen=True, kw_only=True)
class CollectConfig(Config):
    """How many demonstrations, from where to where. Goals are drawn at random; no evaluation goal is known here."""

    demonstrations: int = setting(300, "number of demonstrations", low=1, high=1_000_000)
    longest: int = setting(12, "steps after which a demonstration ends, reached or not", low=1, high=1000)
    play: float = setting(
        0.5,
        "fraction of demonstrations that push at any place of the rim, in any direction, without a goal",
        low=0.0,
        high=1.0,
    )
    play_longest: int = setting(5, "steps after which such a one ends", low=1, high=1000)
    step_duration_s: float = setting(1.0, "time one step takes", unit="s", low=0.02, high=10.0)
    box_start: tuple[float, ...] = setting(
        (0.50, 0.0, 0.0), "pose of the box around which demonstrations begin: x, y (m), yaw (rad)", low=-10.0, high=10.0
    )
    start_spread: tuple[float, ...] = setting(
        (0.03, 0.05, 0.3), "half-width of the box's starts in x, y (m) and yaw (rad)", low=0.0, high=4.0
    )
    anywhere: float = setting(
        0.5, "fraction of demonstrations that start anywhere on the table, to correct from there", low=0.0, high=1.0
    )
    table_low: tuple[float, ...] = setting(
        (0.48, -0.17, -1.1), "least x, y (m) and yaw (rad) of those that start anywhere", low=-10.0, high=10.0
    )
    table_high: tuple[float, ...] = setting(
        (0.82, 0.17, 1.1), "largest x, y (m) and yaw (rad) of those that start anywhere", low=-10.0, high=10.0
    )
    goal_low: tuple[float, ...] = setting(
        (0.50, -0.15, -1.05), "least x, y (m) and yaw (rad) of the goals", low=-10.0, high=10.0
    )
    goal_high: tuple[float, ...] = setting(
        (0.80, 0.15, 1.05), "largest x, y (m) and yaw (rad) of the goals", low=-10.0, high=10.0
    )
    seed: int = setting(0, "seed of starts, goals and the hand's noise", low=0, high=2**31 - 1)

    def check(self) -> None:
        """Three numbers for each pose, and no range upside down."""
        for name in ("box_start", "start_spread", "table_low", "table_high", "goal_low", "goal_high"):
            if len(getattr(self, name)) != 3:
                raise InputError(f"{name} = {getattr(self, name)} needs three numbers: x, y, yaw")
        for low, high in (("table_low", "table_high"), ("goal_low", "goal_high")):
            if np.any(np.array(getattr(self, low)) > getattr(self, high)):
                raise InputError(f"{low} = {getattr(self, low)} must not exceed {high} = {getattr(self, high)}")


PACE_M = (0.025, 0.05)  # longest step along an axis of the slowest and of the boldest person


def collect(
    layout: MarkerLayout, config: CollectConfig, sim: SimConfig, progress: Callable[[int], None] = lambda _: None
) -> Transitions:
    """Run demonstrations and return their transitions.

    Args:
        layout: box, markers, pusher.
        config: starts, goals, length.
        sim: physics and marker noise; its seed is replaced per demonstration.
        progress: called with the number of demonstrations done.

    Raises:
        InputError: no place for the pusher beside the box was found.
    """
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]] = []
    for number in range(config.demonstrations):
        random = np.random.default_rng((config.seed, number))
        playing, box, pusher = begin(layout, config, random)
        rig = Rig(layout, sim.replaced(seed=int(random.integers(2**31))), box, (float(pusher[0]), float(pusher[1])))
        rig.advance(0.1)  # the box settles on the table
        wanted = None if playing else goal(config, random)
        rows += _demonstrate(rig, layout, config, wanted, number, random)
        progress(number + 1)
    x, u, commanded, x_next, demonstration = (np.array(column) for column in zip(*rows, strict=True))
    return Transitions(
        x=x,
        u=u,
        u_commanded=commanded,
        x_next=x_next,
        demonstration=demonstration,
        layout=layout,
        step_duration_s=config.step_duration_s,
        provenance={"source": "sgp collect, simulated rig", "collect": config.to_dict(), "sim": sim.to_dict()},
    )


def _demonstrate(
    rig: Rig, layout: MarkerLayout, config: CollectConfig, wanted: Pose | None, number: int, random: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]]:
    """One demonstration: rows of (x, u realised, u commanded, x_next, number); without a goal, play."""
    rows = []
    person = Person(layout, config, wanted, rig.box_pose(), rig.pusher(), random)
    x = layout.pack(rig.noisy_markers(), rig.pusher())
    for _ in range(person.longest):
        wish = person.step(rig.box_pose(), rig.pusher())
        u = np.zeros(2) if wish is None else wish
        rig.move(rig.pusher(), u, config.step_duration_s)
        x_next = layout.pack(rig.noisy_markers(), rig.pusher())
        rows.append((x, x_next[-2:] - x[-2:], u, x_next, number))
        x = x_next
        if wish is None:  # content: the hand has come to rest, which the planner must know to be possible
            break
    return rows


class Person:
    """Who demonstrates, another one each time: everybody has a pace of their own.

    Args:
        layout: of the box.
        config: how long a demonstration may be.
        wanted: where the box is to go [m, m, rad; table]; None to play.
        box: its pose at the start [m, m, rad; table].
        pusher: where the pusher starts [m; table].
        random: mood.

    Attributes:
        longest: steps after which the demonstration ends.
    """

    def __init__(
        self,
        layout: MarkerLayout,
        config: CollectConfig,
        wanted: Pose | None,
        box: Pose,
        pusher: Float[ndarray, "2"],
        random: np.random.Generator,
    ) -> None:
        self._layout, self._wanted, self._random = layout, wanted, random
        self._habits = Habits(boldest_m=random.uniform(*PACE_M))
        self._heading = Heading(layout, box, pusher, random)
        self.longest = config.longest if wanted else config.play_longest

    def step(self, box: Pose, pusher: Float[ndarray, "2"]) -> Float[ndarray, "2"] | None:
        """Next displacement of the pusher (2,) [m; table]; None when there is nothing more to do."""
        if self._wanted is None:
            return self._heading.step(self._layout, box, pusher, self._random)
        return step(self._layout, box, pusher, self._wanted, self._habits, self._random)


def begin(
    layout: MarkerLayout, config: CollectConfig, random: np.random.Generator
) -> tuple[bool, Pose, Float[ndarray, "2"]]:
    """Whether this one plays, pose of the box [m, m, rad; table], and the pusher beside it [m; table].

    Raises:
        InputError: no place for the pusher beside the box was found.
    """
    playing = bool(random.random() < config.play)
    return playing, *(play_start if playing else start)(layout, config, random)


def start(layout: MarkerLayout, config: CollectConfig, random: np.random.Generator) -> tuple[Pose, Float[ndarray, "2"]]:
    """Where a demonstration begins: pose of the box, and the pusher beside it [m; table].

    Raises:
        InputError: no place for the pusher beside the box was found.
    """
    if random.random() < config.anywhere:
        box = random.uniform(config.table_low, config.table_high)
        direction = random.uniform(-np.pi, np.pi)
    else:
        box = np.array(config.box_start) + random.uniform(-1.0, 1.0, 3) * config.start_spread
        direction = np.pi + random.normal(0.0, 0.4)  # behind the box, where a person begins
    pose: Pose = (float(box[0]), float(box[1]), float(box[2]))
    heading = np.array([np.cos(direction), np.sin(direction)])
    for distance in np.arange(0.04, 0.4, 0.005):
        pusher = box[:2] + heading * distance
        if clearance(layout, pose, pusher) > 0.004 + random.exponential(0.01):
            return pose, pusher
    raise InputError(
        f"no free place for a pusher of {layout.pusher_radius_m} m beside the box; check the layout's sizes"
    )


def play_start(
    layout: MarkerLayout, config: CollectConfig, random: np.random.Generator
) -> tuple[Pose, Float[ndarray, "2"]]:
    """Anywhere on the table, and the pusher at any place of the rim, or a little off [m; table]."""
    x, y, yaw = random.uniform(config.table_low, config.table_high)
    return (float(x), float(y), float(yaw)), beside(layout, (float(x), float(y), float(yaw)), random)


def goal(config: CollectConfig, random: np.random.Generator) -> Pose:
    """Where a demonstrator wants the box [m, m, rad; table]."""
    x, y, yaw = random.uniform(config.goal_low, config.goal_high)
    return float(x), float(y), float(yaw)
