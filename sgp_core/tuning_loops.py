"""Settings judged by closed loops on the simulated rig."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgp_core import arena
from sgp_core.baselines.registry import Contender
from sgp_core.bundle import ModelBundle
from sgp_core.config import MpcConfig, PlannerConfig
from sgp_core.goals import Pose
from sgp_core.run_cost import MAX_STEPS, SUCCESS_COST_CM2
from sgp_core.suites import paper_case
from sgp_core.tuning_jobs import Job, Outcome


def price(cost_cm2: float, steps: int) -> float:
    """What a run counts for, less is better: ln(1 + cost / 5 cm^2) + steps / 25.

    5 cm^2 is what a success may still cost, so differences far below it, which are noise, hardly count; and through the
    logarithm one box pushed away does not drown all other runs.
    """
    return math.log1p(cost_cm2 / SUCCESS_COST_CM2) + steps / MAX_STEPS


@dataclass(frozen=True, kw_only=True)
class Loop:
    """One closed loop."""

    trial: arena.Trial

    def run(self) -> Outcome:
        """See `Job.run`."""
        run = self.trial.run()
        figures = {"cost_cm2": run.cost_cm2, "success": float(run.success), "steps": float(run.steps)}
        return Outcome(price=price(run.cost_cm2, run.steps), figures=figures)


@dataclass(frozen=True, kw_only=True)
class LoopJudge:
    """Closed loops from starts that the seed draws, as in `sgp evaluate`.

    Args:
        path: folder of the bundle.
        bundle: the same, loaded.
        mpc: when the goal counts as reached.
        goals: of the box [m, m, rad; table], by name.
        loops: per goal, to tune by.
        checks: per goal, from other starts, to compare by.
        seed: of starts and noise.
    """

    path: Path
    bundle: ModelBundle
    mpc: MpcConfig
    goals: dict[str, Pose]
    loops: int
    checks: int
    seed: int

    @property
    def about(self) -> dict[str, Any]:
        """See `Judge.about`."""
        goals = {name: list(pose) for name, pose in self.goals.items()}
        return {"judge": "closed loops", "goals": goals, "loops": self.loops, "mpc": self.mpc.to_dict()}

    def rounds(self, planner: PlannerConfig) -> list[list[Job]]:
        """A round has one loop for each goal."""
        return [self._loops(planner, number) for number in range(self.loops)]

    def check(self, planner: PlannerConfig) -> list[Job]:
        """See `Judge.check`."""
        return [loop for k in range(self.checks) for loop in self._loops(planner, self.loops + k)]

    def _loops(self, planner: PlannerConfig, number: int) -> list[Job]:
        contender = Contender(name="sgp", planner=planner)
        return [
            Loop(
                trial=arena.Trial(
                    bundle=self.path,
                    contender=contender,
                    mpc=self.mpc,
                    case=paper_case(name, goal, number, self.seed),
                    seed=self.seed,
                )
            )
            for name, goal in self.goals.items()
        ]
