"""Every fault: how it is done, when, what must be said of it, and how soon the pusher has to stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fault_actions import Action, CorruptBundle, Disturb, FullDisk, GoalStorm, Kill, ParameterStorm, Starve
from fault_relay import CLOCK, MARKERS, PUSHER_SOURCE, Disturbance
from fault_scene import Phase

from sgp_core.config import MpcConfig, PlannerConfig, PusherConfig
from sgp_core.follower import SHARE
from sgp_ros.inputs import PUSHER_STATE_TIMEOUT_S
from sgp_ros.mpc_node import WATCH_PERIOD_S

MPC, PLANNER, PUSHER = MpcConfig(), PlannerConfig(), PusherConfig()
# Messages and measurements on their way, and what the simulated arm lags behind its command.
REACTION_S = 0.25
# From full speed to rest, with the share of the acceleration that braking is planned with; and back from there to where
# the reference was stopped, from rest to rest.
_BRAKE_MPS2 = SHARE * PUSHER.acceleration_limit_mps2
_OVERSHOOT_M = PUSHER.speed_limit_mps**2 / (2.0 * _BRAKE_MPS2)
BRAKING_S = PUSHER.speed_limit_mps / _BRAKE_MPS2 + 2.0 * math.sqrt(_OVERSHOOT_M / _BRAKE_MPS2)
# After a latched fault the command goes back to the last measured place.
RETURN_S = PUSHER.tracking_limit_m / PUSHER.speed_limit_mps


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Time within which the pusher has to stand, and what it follows from."""

    seconds: float
    why: str


NOTHING_MOVES = Bound(seconds=0.0, why="nothing moves")
AT_ONCE = Bound(seconds=REACTION_S, why="the arm stands at its last command")
STEPS_END = Bound(seconds=PUSHER.step_duration_s + REACTION_S, why="`step_duration_s`: the step under way ends")
SILENCE = Bound(
    seconds=PUSHER.pusher_timeout_s + RETURN_S + BRAKING_S + REACTION_S, why="`pusher_timeout_s`, back to where it was"
)
STALE = Bound(seconds=MPC.state_timeout_s + WATCH_PERIOD_S + BRAKING_S + REACTION_S, why="`state_timeout_s`")
NO_REPORT = Bound(
    seconds=PUSHER_STATE_TIMEOUT_S + WATCH_PERIOD_S + BRAKING_S + REACTION_S, why="1 s without `pusher_state`"
)
NOT_FOLLOWED = Bound(seconds=REACTION_S, why="the arm does not move")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row.

    Attributes:
        name: for people, and to choose it by.
        phase: of the loop when it strikes.
        action: how it is done and undone.
        expect: parts of what has to be said, one of them; empty when nothing need be, because the work goes on.
        bound: of the stop; None when the work goes on.
        works: whether the pusher has to go on moving.
        commands: the stop is seen in the commands, because nobody measures the pusher any more.
        sim_time: the rig is the clock.
        stamps: whether stamps are of this machine's clock all the time.
        watch_s: how long it is looked at, at least.
        short: whether it belongs to the few that `make test` runs.
        cell: topic and what happens to its messages, where that is all there is to it.
    """

    name: str
    phase: Phase
    action: Action
    expect: tuple[str, ...] = ()
    bound: Bound | None = None
    works: bool = False
    commands: bool = False
    sim_time: bool = False
    stamps: bool = True
    watch_s: float = 2.5
    short: bool = False
    cell: tuple[str, str] | None = None

    @property
    def label(self) -> str:
        """Name and phase."""
        return f"{self.name}, {self.phase}"


_KILLED = {
    "mocap_node": (SILENCE, ("NO_PUSHER", "STALE_STATE")),
    "mpc_node": (STEPS_END, ("is mpc_node running",)),
    "pusher_node": (AT_ONCE, ("is pusher_node running",)),
    "rig_sim_node": (SILENCE, ("NO_PUSHER", "STALE_STATE", "no frame")),
}
_STOPPED = {  # topics: what the silence is called, what stops the pusher, and what has to be said
    MARKERS: ("markers", STALE, ("STALE_STATE", "no frame")),
    (PUSHER_SOURCE,): ("pusher source", SILENCE, ("NO_PUSHER",)),
    ("state",): ("state", STALE, ("STALE_STATE",)),
    ("pusher_pose",): ("pusher_pose", SILENCE, ("NO_PUSHER",)),
    ("step",): ("step", STEPS_END, ("is the topic step connected",)),
    ("pusher_state",): ("pusher_state", NO_REPORT, ("is pusher_node running",)),
    ("arm_target",): ("arm_target", NOT_FOLLOWED, ("TRACKING_ERROR", "following")),
}


def _kills() -> list[Fault]:
    return [
        Fault(
            name=f"{node} killed",
            phase=phase,
            action=Kill(node),
            expect=words,
            bound=bound if phase in (Phase.PUSH, Phase.WALK) else NOTHING_MOVES,
            commands=node == "rig_sim_node",
            watch_s=3.0,
        )
        for node, (bound, words) in _KILLED.items()
        for phase in Phase
    ]


def _silences() -> list[Fault]:
    return [
        Fault(
            name=f"{name} silent",
            phase=Phase.PUSH,
            action=Disturb(Disturbance(topics=topics, drop=1.0)),
            expect=words,
            bound=bound,
            watch_s=3.0,
            short=name in ("step", "pusher source"),
        )
        for topics, (name, bound, words) in _STOPPED.items()
    ]


# A pusher that is always measured 0.2 s late is one that `pusher_timeout_s` does not trust.
_TOO_LATE = {("pusher source", "200 ms late"), ("pusher_pose", "200 ms late")}
# No promise that the work goes on: on a busy machine planning takes the rest of `state_timeout_s`; steps that are lost
# or come too late are not taken; of 50 samples a second ten in a row get lost at times, which is `pusher_timeout_s`.
_AT_TIMES = {
    ("markers", "200 ms late"),
    ("state", "200 ms late"),
    ("step", "loses 60 %"),
    ("step", "reordered"),
    ("pusher source", "loses 60 %"),
    ("pusher_pose", "loses 60 %"),
}


def _disturbances() -> list[Fault]:
    kinds = {
        "loses 20 %": {"drop": 0.2},
        "loses 60 %": {"drop": 0.6},
        "200 ms late": {"delay_s": 0.2},
        "reordered": {"reorder": True},
    }
    return [
        Fault(
            name=f"{name} {kind}",
            phase=Phase.PUSH,
            action=Disturb(Disturbance(topics=topics, **how)),
            expect=("NO_PUSHER",) if (name, kind) in _TOO_LATE else (),
            bound=SILENCE if (name, kind) in _TOO_LATE else None,
            works=(name, kind) not in _TOO_LATE | _AT_TIMES,
            watch_s=3.0,
            cell=(name, kind),
        )
        for topics, (name, _, _) in _STOPPED.items()
        for kind, how in kinds.items()
    ]


def _clocks() -> list[Fault]:
    sources = (*MARKERS, PUSHER_SOURCE)
    stamps = [
        Fault(
            name=f"stamps of camera and arm {by_s:+g} s",
            phase=Phase.PUSH,
            action=Disturb(Disturbance(topics=sources, shift_s=by_s)),
            expect=("NO_PUSHER", "STALE_STATE"),
            bound=SILENCE,
            stamps=False,
        )
        for by_s in (-2.0, 2.0)
    ]
    alone = [
        Fault(
            name=f"/clock alone {by_s:+g} s",
            phase=Phase.PUSH,
            action=Disturb(Disturbance(topics=(CLOCK,), shift_s=by_s)),
            expect=("NO_PUSHER", "STALE_STATE", "NO_STATE"),
            bound=SILENCE,
            sim_time=True,
            stamps=False,
        )
        for by_s in (-2.0, 2.0)
    ]
    together = [
        Fault(
            name=f"/clock and all stamps {by_s:+g} s",
            phase=Phase.PUSH,
            action=Disturb(Disturbance(topics=(CLOCK, *sources), shift_s=by_s)),
            works=True,
            watch_s=3.0,
            sim_time=True,
            stamps=False,
        )
        for by_s in (-2.0, 2.0)
    ]
    still = Fault(
        name="/clock stands still",
        phase=Phase.PUSH,
        action=Disturb(Disturbance(topics=(CLOCK,), drop=1.0)),
        expect=("NO_PUSHER", "STALE_STATE", "NO_STATE"),
        bound=STALE,
        sim_time=True,
        stamps=False,
    )
    return [*stamps, *alone, *together, still]


def _others() -> list[Fault]:
    frozen = Disturbance(topics=MARKERS, freeze=True)
    stuck = Disturbance(topics=("arm_target",), freeze=True)
    return [
        Fault(
            name="driver repeats its last frame",
            phase=Phase.PUSH,
            action=Disturb(frozen),
            expect=("FROZEN_STATE", "STALE_STATE"),
            bound=Bound(seconds=0.5 + STALE.seconds, why="`frozen_timeout_s`, then `state_timeout_s`"),
        ),
        Fault(
            name="arm stops following",
            phase=Phase.WALK,
            action=Disturb(stuck),
            expect=("TRACKING_ERROR",),
            bound=NOT_FOLLOWED,
            watch_s=3.0,
        ),
        Fault(name="two spinning processes per core", phase=Phase.PUSH, action=Starve(2, 8.0), watch_s=0.0),
        Fault(
            name="full disk while recording",
            phase=Phase.PUSH,
            action=FullDisk(),
            expect=("is the disk full? What was recorded before can be read ->",),
            watch_s=0.0,
            works=True,
        ),
        Fault(
            name="corrupt bundle",
            phase=Phase.PUSH,
            action=CorruptBundle(),
            expect=("dynamics.pt",),
            bound=STEPS_END,
        ),
        Fault(name="settings changed in a storm", phase=Phase.PUSH, action=ParameterStorm(), watch_s=0.5),
        Fault(name="1,000 goals in a second", phase=Phase.PUSH, action=GoalStorm(), works=True, watch_s=6.0),
    ]


FAULTS = [*_kills(), *_silences(), *_disturbances(), *_clocks(), *_others()]
