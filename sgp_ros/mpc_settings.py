"""Settings of mpc_node beside those of the planner and the control cycle."""

from __future__ import annotations

from dataclasses import dataclass

from sgp_core.config import Config, setting


@dataclass(frozen=True, kw_only=True)
class MpcNodeConfig(Config):
    """What only the node needs to know."""

    bundle: str = setting(
        "", "folder of the model bundle; empty takes models/default; another one takes its place once it is verified"
    )
    seed: int = setting(0, "seed of the planner's random restarts", low=0, high=2**31 - 1, live=False)
    enabled: bool = setting(
        True, "whether steps are sent from the start; ~/enable changes it while running", live=False
    )
    torch_threads: int = setting(1, "threads torch uses for one plan", low=1, high=64, live=False)
