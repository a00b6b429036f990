"""Sequences of events: what a rig, a network, an operator and a bad day do, in any order.

An event is three small numbers (kind, a, b), so that hypothesis draws thousands of them in a second and makes a failing
sequence as short as it can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fuzz_world import World
from hypothesis import strategies as st
from injected import injected
from injected_plans import Unsteady

from sgp_ros import messages

Event = tuple[int, int, int]
CAMERA = (
    "fine", "fine", "fine", "silent", "nan", "infinite", "some", "millimetres", "jump", "frozen", "old", "future",
    "unstamped", "shuffled", "twice", "swapped", "frame",
)  # fmt: skip
SOURCE = ("fine", "fine", "silent", "nan", "millimetres", "origin", "jump", "old", "future", "shuffled")
ARM = ("follows", "follows", "follows", "slow", "stuck", "by hand")
WAYS = ("fine", "fine", "dead", "lossy", "late", "very late", "jitter", "twice")
TOPICS = ("state", "pusher_state", "step", "pusher_pose")
PLAN_S = (0.02, 0.02, 0.1, 0.3, 0.7, 2.0)
SPOILT = (None, (0.4, 0.0), (float("nan"), 0.0), (0.0, float("inf")), (0.05, 0.05), (-0.05, -0.05), (0.0, 0.06))
MOODS = ("fine", "off", "nan", "raise")
RAW = ((0.04, 0.0), (-0.04, 0.03), (0.0, -0.05), (0.2, 0.0), (float("nan"), 0.0), (0.0, float("-inf")), (0.0, 0.0))
AGES_S = (0.0, 0.1, 0.5, 0.65, 2.0, -0.04, -0.2)
STEP_S = (0.05, 0.25, 0.5, 1.0, 3.0, 20.0)
JUMPS_S = (0.3, 2.0, 3600.0, -0.04, -0.3, -2.0, -500.0, -1e9)
SETTINGS = (
    {"step_limit_m": 0.02}, {"step_limit_m": 0.05}, {"step_limit_m": -1.0}, {"speed_limit_mps": 0.08},
    {"speed_limit_mps": 0.3}, {"acceleration_limit_mps2": 0.3}, {"acceleration_limit_mps2": 5.0},
    {"workspace_m": [0.35, 0.7, -0.1, 0.1]}, {"workspace_m": [0.30, 0.95, -0.35, 0.35]},
    {"workspace_m": [0.9, 0.3, 0.0, 0.1]}, {"keep_out_m": [0.5, 0.6, -0.05, 0.2]}, {"keep_out_m": [0.0] * 4},
    {"tracking_limit_m": 0.01}, {"tracking_limit_m": 0.1}, {"tracking_limit_m": float("nan")},
)  # fmt: skip
MPC_SETTINGS = (
    {"state_timeout_s": 0.15}, {"state_timeout_s": 1.0}, {"rate_hz": 20.0}, {"rate_hz": 1.0}, {"horizon": 5},
    {"beta": 0.1}, {"goal_tolerance_m": 0.05}, {"goal": "0.55,-0.1,0.4"}, {"goal": "9,9,9"}, {"iterations": 0},
)  # fmt: skip
PUSHER_SETTINGS = (
    {"step_timeout_s": 0.2},
    {"step_timeout_s": 2.0},
    {"pusher_timeout_s": 0.1},
    {"pusher_timeout_s": 1.0},
)
MOCAP_SETTINGS = (
    {"rigid_tolerance_m": 0.05}, {"frozen_timeout_s": 0.0}, {"reacquire_s": 0.0}, {"state_rate_hz": 10.0},
    {"sync_tolerance_s": 0.2}, {"box_speed_limit_mps": 100.0}, {"pusher_speed_limit_mps": 100.0},
)  # fmt: skip


def _run(world: World, a: int, _b: int) -> None:
    for _ in range(1 + a % 8):
        world.tick()


def _long_run(world: World, a: int, _b: int) -> None:
    for _ in range(10 + a % 16):
        world.tick()


def _stall(world: World, a: int, _b: int) -> None:
    """The computer stands still, and then all that has waited comes at once."""
    for _ in range(1 + a % 12):
        world.tick(nodes=False)
    world.tick()


def _goal(world: World, a: int, b: int) -> None:
    far = (float("nan") if b % 8 == 0 else 5.0) if a % 8 == 0 else 0.0
    world.send_goal(0.4 + 0.05 * (a % 9) + far, -0.2 + 0.05 * (b % 9), 0.3 * (b % 5) - 0.6)


def _raw_step(world: World, a: int, b: int) -> None:
    """Somebody else publishes on `step`."""
    stamp_s = world.time.ros_s - AGES_S[b % len(AGES_S)]
    world.hear("pusher", "step", messages.step_to_msg(stamp_s, RAW[a % len(RAW)]))


def _set(world: World, a: int, b: int) -> None:
    if b % 4 == 0:
        world.set("mpc", **MPC_SETTINGS[a % len(MPC_SETTINGS)])
    elif b % 4 == 1:
        world.set("pusher", **PUSHER_SETTINGS[a % len(PUSHER_SETTINGS)])
    elif b % 4 == 2:
        world.set("mocap", **MOCAP_SETTINGS[a % len(MOCAP_SETTINGS)])
    else:
        values = SETTINGS[a % len(SETTINGS)]
        if b % 3 != 1:
            world.set("mpc", **values)
        if b % 3 != 2:
            world.set("pusher", **values)


def _mend(world: World, a: int, _b: int) -> None:
    """Everything is as it should be again, and somebody calls the services that say so."""
    world.camera, world.source, world.arm, world.clock_runs = "fine", "fine", "follows", True
    world.ways = dict.fromkeys(world.ways, "fine")
    worker = world.nodes["mpc"]._worker
    worker.plan_s, worker.spoilt, Unsteady.mood = 0.02, None, "fine"
    for _ in range(8 + a % 8):
        world.tick()
    world.call("pusher", "clear_fault")
    world.call("pusher", "enable", True)
    world.call("mpc", "enable", True)


def _camera(world: World, a: int, _b: int) -> None:
    world.camera = CAMERA[a % len(CAMERA)]


def _source(world: World, a: int, _b: int) -> None:
    world.source = SOURCE[a % len(SOURCE)]


def _arm(world: World, a: int, _b: int) -> None:
    world.arm = ARM[a % len(ARM)]


def _way(world: World, a: int, b: int) -> None:
    world.ways[TOPICS[b % 4]] = WAYS[a % len(WAYS)]


def _plan(world: World, a: int, b: int) -> None:
    worker = world.nodes["mpc"]._worker
    worker.plan_s = PLAN_S[a % len(PLAN_S)]
    worker.spoilt = SPOILT[b % len(SPOILT)] if a % 2 else None
    Unsteady.mood = MOODS[b % len(MOODS)]


def _service(world: World, a: int, b: int) -> None:
    calls = (
        ("mpc", "enable", False), ("mpc", "enable", True), ("mpc", "reset", None), ("mpc", "set_goal_from_state", None),
        ("pusher", "enable", False), ("pusher", "enable", True), ("pusher", "clear_fault", None),
    )  # fmt: skip
    world.call(*calls[(a + b) % len(calls)])


def _stop(world: World, a: int, _b: int) -> None:
    """What an emergency stop does: both sides are disabled."""
    for node in ("mpc", "pusher") if a % 2 else ("pusher", "mpc"):
        world.call(node, "enable", False)


def _restart(world: World, a: int, b: int) -> None:
    name = ("mpc", "pusher", "mocap")[a % 3]
    world.restart(name)
    if name == "mpc" and b % 2:
        world.send_goal(0.62, 0.05, 0.0)


def _clock(world: World, a: int, b: int) -> None:
    if b % 4 == 0:
        world.clock_runs = not world.clock_runs
    else:
        world.jump(JUMPS_S[a % len(JUMPS_S)])


def _diagnose(world: World, _a: int, _b: int) -> None:
    for node in world.nodes.values():
        node.diagnostics()


KINDS: tuple[Callable[[World, int, int], None], ...] = (
    _run, _run, _run, _run, _run, _run, _long_run, _long_run, _mend, _mend, _camera, _camera, _source, _arm, _way, _way,
    _plan, _goal, _raw_step, _set, _set, _service, _service, _stop, _restart, _clock, _stall, _diagnose,
)  # fmt: skip
NAMED = {kind.__name__.lstrip("_"): KINDS.index(kind) for kind in KINDS}
_small = st.integers(0, 255)
_event = st.tuples(st.integers(0, len(KINDS) - 1), _small, _small)
sequences = st.lists(_event, min_size=5, max_size=40)
long_sequences = st.lists(_event, min_size=25, max_size=60)  # hypothesis rarely goes far beyond the shortest


def play(events: Sequence[Event], seed: int = 0) -> World:
    """Run a sequence on nodes that have just started, and are given a second to get going."""
    with injected():
        world = World(seed)
        for _ in range(20):
            world.tick()
        for kind, a, b in events:
            KINDS[kind](world, a, b)
            if world.oracles.unsafe:
                break
    return world
