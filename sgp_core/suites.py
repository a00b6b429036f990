"""What closed loops are measured on: starts, goals and physics, the same for every planner.

`paper` are the three goals of Table 3. The others are lists of pairs, config/suites/SUITE.csv, drawn once by `draw`
from a seed; none was left out afterwards. docs/quality.md describes them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sgp_core.config import DEFAULT_WORKSPACE_M, SimConfig
from sgp_core.errors import InputError
from sgp_core.goals import Pose
from sgp_core.layout import MarkerLayout, rotation
from sgp_core.share import share_path
from sgp_core.sim.rig import clearance

PAPER, RANDOM, ROBUST, FAR, TUNING = "paper", "random", "robust", "far", "tuning"
SUITES = (PAPER, RANDOM, ROBUST, FAR, TUNING)
COUNTS = {RANDOM: 100, ROBUST: 50, FAR: 30, TUNING: 40}
SEEDS = {RANDOM: 20231106, ROBUST: 20231107, FAR: 20231108, TUNING: 20231109}

BOX_START: Pose = (0.50, 0.0, 0.0)
PUSHER_START = (0.41, 0.0)
BEHIND_M = 0.09  # how far behind the centre of the box the pusher stands, where nobody says otherwise
OWN = "own start"
# A hand puts the box back to its start no better than this; without it every trial would be the same.
START_SPREAD = (0.002, 0.002, 0.02)
GAP_M = 0.01165  # between pusher and box at the start: the standard case's

TABLE_M = DEFAULT_WORKSPACE_M  # where the pusher can be is where a box is of use; the simulated table has no edge
LOW, HIGH = (0.50, -0.15, -np.pi / 3), (0.80, 0.15, np.pi / 3)
# `far`: further out than any demonstration and any case of `random`, but still on the table.
FAR_X_M, FAR_Y_M, FAR_YAW_RAD = (0.84, 0.89), (0.20, 0.26), (np.radians(100.0), np.pi)
# `robust`: what changes from case to case, and what every case has.
FRICTION, MASS_KG, MASS_OFFSET_M = (0.15, 0.6), (0.25, 1.0), 0.015
HIDDEN_FRAMES, NOISE_M, DELAY_S = 0.1, 0.001, 0.06

ENDS, AXES = ("start", "goal"), ("x_m", "y_m", "yaw_rad")
PLACES = tuple(f"{end}_{axis}" for end in ENDS for axis in AXES)
PHYSICS = ("friction", "mass_kg", "mass_offset_x_m", "mass_offset_y_m")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One start, one goal, one rig.

    Args:
        name: of the goal or of the line in the suite's list.
        box: pose of the box at the start [m, rad; table].
        pusher_m: where the pusher starts [m; table].
        goal: pose that the box should get [m, rad; table].
        sim: physics and sensors, the seed of this run among them.
        camera: whether the state comes late and through the estimation, or at once.
    """

    suite: str
    name: str
    box: Pose
    pusher_m: tuple[float, float]
    goal: Pose
    sim: SimConfig
    camera: bool = False


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where trials of the standard case begin, or of one of one's own."""

    box: Pose = BOX_START
    pusher_m: tuple[float, float] = PUSHER_START  # [m; table]


def start_of(box: Pose, pusher: str = "") -> Start:
    """A start for the box, and for the pusher from `x,y` [m; table]; by default it stands behind the box.

    Raises:
        InputError: the pusher's are not two finite numbers.
    """
    x_m, y_m, yaw_rad = box
    at = (round(x_m - BEHIND_M * np.cos(yaw_rad), 9), round(y_m - BEHIND_M * np.sin(yaw_rad), 9))
    if pusher:
        try:
            first, second = (float(part) for part in pusher.split(","))
            at = (first, second)
        except ValueError as error:
            raise InputError(f"pusher {pusher!r} is not x,y in m, such as 0.41,0.0") from error
        if not np.isfinite(at).all():
            raise InputError(f"pusher {pusher!r} is not finite; give x,y in m, such as 0.41,0.0")
    return Start(box=box, pusher_m=at)


def paper_cases(goals: Mapping[str, Pose], trials: int, seed: int, start: Start | None = None) -> list[Case]:
    """Every goal and trial, from the start of the standard case when left out."""
    return [paper_case(name, goal, number, seed, start) for name, goal in goals.items() for number in range(trials)]


def paper_case(name: str, goal: Pose, number: int, seed: int, start: Start | None = None) -> Case:
    """One of them; the seed and the trial's number fix start and noise, whatever the goal."""
    start = start or Start()
    random = np.random.default_rng((seed, number))
    box = _pose(np.asarray(start.box) + random.normal(0.0, 1.0, 3) * START_SPREAD)
    sim = SimConfig(seed=int(random.integers(2**31)))
    suite = PAPER if start == Start() else OWN
    return Case(suite=suite, name=name, box=box, pusher_m=start.pusher_m, goal=goal, sim=sim)


def listed_cases(suite: str, layout: MarkerLayout, trials: int, seed: int, limit: int = 0) -> list[Case]:
    """Every pair of a suite's list, each `trials` times with other noise.

    Args:
        suite: any but `paper`.
        layout: the box, which decides where the pusher starts.
        trials: runs of each pair.
        seed: of the noise; the pairs and their physics stand in the list.
        limit: only so many pairs, from the first on; 0 for all.
    """
    text = share_path("config", "suites", f"{suite}.csv").read_text(encoding="utf-8")
    cases = []
    for index, row in enumerate(csv.DictReader(io.StringIO(text))):
        if limit and index >= limit:
            break
        start, goal = (_pose(float(row[f"{end}_{axis}"]) for axis in AXES) for end in ENDS)
        physics = _physics(row, layout.count) if suite == ROBUST else SimConfig()
        for number in range(trials):
            random = np.random.default_rng((seed, index, number))
            cases.append(
                Case(
                    suite=suite,
                    name=row["name"],
                    box=start,
                    pusher_m=behind(layout, start),
                    goal=goal,
                    sim=physics.replaced(seed=int(random.integers(2**31))),
                    camera=suite == ROBUST,
                )
            )
    return cases


def behind(layout: MarkerLayout, box: Pose) -> tuple[float, float]:
    """Where the pusher starts [m; table]: straight on the arm's side of the box (-x), the standard case's gap away."""
    near, far = 0.0, 2.0 * float(np.hypot(*layout.box_size_m[:2])) + layout.pusher_radius_m
    for _ in range(32):  # bisection: the gap grows with the distance
        middle = 0.5 * (near + far)
        gap_m = clearance(layout, box, np.array([box[0] - middle, box[1]]))
        near, far = (middle, far) if gap_m < GAP_M else (near, middle)
    return box[0] - far, box[1]


def on_table(layout: MarkerLayout, box: Pose) -> bool:
    """Whether no corner of the box is off the table."""
    half = np.asarray(layout.box_size_m[:2]) / 2.0
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ rotation(box[2]).T + box[:2]
    x_min, x_max, y_min, y_max = TABLE_M
    return bool((corners >= (x_min, y_min)).all() and (corners <= (x_max, y_max)).all())


def draw(suite: str, layout: MarkerLayout) -> str:
    """The text of config/suites/SUITE.csv, from the suite's seed.

    Raises:
        InputError: `paper` has no list.
    """
    if suite not in COUNTS:
        raise InputError(f"suite {suite} has no list; choose one of {', '.join(COUNTS)}")
    if suite == ROBUST:
        return _drawn_robust(draw(RANDOM, layout))
    random = np.random.default_rng(SEEDS[suite])
    rows = []
    for index in range(COUNTS[suite]):
        ends = [_evenly, _evenly]
        if suite == FAR:  # by turns: a goal far away, a goal turned far, a start far away, a start turned far
            ends[1 - index // 2 % 2] = (_away, _turned)[index % 2]
        poses = []
        for end in ends:
            pose = end(random)
            while not on_table(layout, pose):
                pose = end(random)
            poses.append(pose)
        rows.append([f"{suite}-{index:03d}", *(f"{value:.4f}" for pose in poses for value in pose)])
    return _text(["name", *PLACES], rows)


def _drawn_robust(pairs: str) -> str:
    """The first pairs of `random`, each with a box and a table of its own."""
    random = np.random.default_rng(SEEDS[ROBUST])
    rows = []
    for index, pair in enumerate(list(csv.reader(io.StringIO(pairs)))[1 : COUNTS[ROBUST] + 1]):
        friction, mass_kg = random.uniform(*FRICTION), np.exp(random.uniform(*np.log(MASS_KG)))
        angle = random.uniform(-np.pi, np.pi)
        physics = (friction, mass_kg, MASS_OFFSET_M * np.cos(angle), MASS_OFFSET_M * np.sin(angle))
        rows.append([f"{ROBUST}-{index:03d}", *pair[1:], *(f"{value:.4f}" for value in physics)])
    return _text(["name", *PLACES, *PHYSICS], rows)


def _physics(row: Mapping[str, str], markers: int) -> SimConfig:
    friction, mass_kg, *offset_m = (float(row[name]) for name in PHYSICS)
    # Each marker is hidden by itself, so often that the share of frames which miss one or more is as wanted.
    occlusion = 1.0 - (1.0 - HIDDEN_FRAMES) ** (1.0 / markers)
    return SimConfig(
        friction=friction,
        mass_kg=mass_kg,
        mass_offset_m=tuple(offset_m),
        marker_noise_m=NOISE_M,
        occlusion=occlusion,
        delay_s=DELAY_S,
    )


def _evenly(random: np.random.Generator) -> Pose:
    return _rounded(random.uniform(LOW, HIGH))


def _away(random: np.random.Generator) -> Pose:
    pose = random.uniform(LOW, HIGH)
    sideways = random.random() < 0.5
    if sideways:
        pose[1] = random.uniform(*FAR_Y_M) * random.choice([-1.0, 1.0])
    else:
        pose[0] = random.uniform(*FAR_X_M)
    return _rounded(pose)


def _turned(random: np.random.Generator) -> Pose:
    pose = random.uniform(LOW, HIGH)
    pose[2] = random.uniform(*FAR_YAW_RAD) * random.choice([-1.0, 1.0])
    return _rounded(pose)


def _rounded(pose: np.ndarray) -> Pose:
    return _pose(np.round(pose, 4))


def _pose(values: object) -> Pose:
    x, y, yaw = (float(value) for value in values)  # type: ignore[attr-defined]
    return x, y, yaw


def _text(header: list[str], rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, *rows])
    return out.getvalue()
