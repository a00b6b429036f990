"""Thresholds of `sgp check`, and what a check says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sgp_core.config import Config, EstimatorConfig, MpcConfig, PlannerConfig, setting
from sgp_core.goals import Pose


class Verdict(StrEnum):
    """Of one check, and of all; in order of badness."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check.

    Args:
        name: what was checked.
        verdict: how it came out.
        measured: figures with units.
        threshold: what they had to be.
        why: why that.
        remedy: what to do; empty when all is well.
        values: the figures for programs.
    """

    name: str
    verdict: Verdict
    measured: str
    threshold: str
    why: str
    remedy: str
    values: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Start or goal: its box pose, the nearest one of the data (x [m], y [m], yaw [rad]), and the markers' distance."""

    name: str
    pose: Pose
    distance_m: float  # root mean square over the markers
    nearest: Pose


@dataclass(frozen=True, kw_only=True)
class CheckConfig(Config):
    """Thresholds of `sgp check`; each follows from another setting or from the data, none from a model."""

    error_most_m: float = setting(
        MpcConfig().goal_tolerance_m,
        "largest mean marker error of one step (pushes) and of four, and distance from a rigid box of any marker in a"
        " plan; by default goal_tolerance_m",
        unit="m",
        low=1e-4,
        high=1.0,
    )
    error_share_most: float = setting(
        0.25, "largest error of one step as a share of the push; predicting that nothing moves has 1", low=0.0, high=1.0
    )
    rigid_most_m: float = setting(
        EstimatorConfig().rigid_tolerance_m,
        "largest distance of a marker from a rigid box after score descent; by default rigid_tolerance_m",
        unit="m",
        low=1e-4,
        high=1.0,
    )
    share_least: float = setting(
        0.9, "share of descents, of plans, and of errors within the bound that must do", low=0.0, high=1.0
    )
    broken_share: float = setting(
        0.8, "share of plans, and of errors within the bound, below which a warning is a failure", low=0.0, high=1.0
    )
    spacing_quantile: float = setting(
        0.95, "quantile of held-out distances to the data that still counts as on the data", low=0.5, high=1.0
    )
    far: float = setting(2.0, "start or goal fails so many times that far from the data", low=1.0, high=100.0)
    demonstrations_least: int = setting(
        10, "held-out demonstrations below which figures are uncertain", low=2, high=10000
    )
    beta: float = setting(
        PlannerConfig().beta, "weight of the penalty in the plans that are compared", low=0.0, high=1e4
    )
    plans: int = setting(24, "states planned from, towards goals and random poses", low=1, high=10000)
