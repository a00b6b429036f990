"""The checks of a bundle: verdicts, the reason for each threshold, and what to do about a bad one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.bundle import ModelBundle
from sgp_core.check_config import Check, CheckConfig, Place, Verdict
from sgp_core.check_data import Jury
from sgp_core.check_measures import Landing, Tear, neighbour_distances
from sgp_core.error_bound import ErrorBound
from sgp_core.goals import Pose


def data(jury: Jury, away: Float[ndarray, "M"], bundle: ModelBundle, config: CheckConfig) -> Check:
    """Whether there is enough to judge by, and whether it lies where the model was trained."""
    count = len(np.unique(jury.held_out.demonstration))
    own = bundle.reference.double().numpy()
    usual, found = float(np.quantile(neighbour_distances(own), config.spacing_quantile)), float(np.median(away))
    few, elsewhere = count < config.demonstrations_least, found > usual
    remedy = (
        [f"record more demonstrations, or give the data that the bundle was trained on: {count} are few"] if few else []
    )
    if elsewhere:
        remedy.append("these data lie apart from those of the training: collect the two together and train again")
    return Check(
        name="data",
        verdict=Verdict.WARN if few or elsewhere else Verdict.PASS,
        measured=f"{jury.remark} ({len(jury.held_out)} tuples, median distance to the training data {found:.2f})",
        threshold=f"at least {config.demonstrations_least} demonstrations, median distance at most {usual:.2f}",
        why=f"fewer judge by luck; {config.spacing_quantile:.0%} of the training tuples have a neighbour so near",
        remedy="; ".join(remedy),
        values={
            "demonstrations": count,
            "tuples": len(jury.held_out),
            "own": jury.own,
            "distance_median": found,
            "distance_most": usual,
        },
    )


def one_step(found: dict[str, Any], worst: Pose, config: CheckConfig) -> Check:
    """Error of one predicted step where the box moves; `found` is of `checks.one_step_error`."""
    error_mm, moved_mm = found["mm_pushes"], found["displacement_mm_pushes"]
    threshold = f"at most {config.error_most_m * 1e3:g} mm and {config.error_share_most:.0%} of the push"
    why = "the goal counts as reached within so much; an error of a quarter of a push is mended by the next few"
    if error_mm is None:
        return _unknown("one step", threshold, why, "no held-out transition moves the box: record pushes")
    good = error_mm <= config.error_most_m * 1e3 and error_mm <= config.error_share_most * moved_mm
    return Check(
        name="one step",
        verdict=Verdict.PASS if good else Verdict.FAIL,
        measured=f"markers {error_mm:.2f} mm off, mean of the pushes, which move them by {moved_mm:.1f} mm"
        f" ({error_mm / moved_mm:.1%})",
        threshold=threshold,
        why=why,
        remedy="" if good else f"train for longer, or collect more demonstrations, first near {pose_words(worst)}",
        values={"error_mm": error_mm, "push_mm": moved_mm, "worst_pose": list(worst)},
    )


def four_steps(found: dict[str, Any], config: CheckConfig) -> Check:
    """Error of a rollout with recorded steps; `found` is of `checks.rollout_error`."""
    threshold = f"at most {config.error_most_m * 1e3:g} mm"
    why = "a plan of four steps is judged by where it says the box will end; the goal counts as reached within so much"
    if not found["starts"]:
        return _unknown("four steps", threshold, why, "no held-out demonstration has four steps: record longer ones")
    good = found["mm"] <= config.error_most_m * 1e3
    return Check(
        name="four steps",
        verdict=Verdict.PASS if good else Verdict.FAIL,
        measured=f"markers {found['mm']:.2f} mm off after four recorded steps, mean of {found['starts']} rollouts",
        threshold=threshold,
        why=why,
        remedy=""
        if good
        else "see `one step`; if that is well, plan fewer steps (horizon) or collect more demonstrations",
        values={"error_mm": found["mm"], "rollouts": found["starts"], "rigid_mm": found["rigid_mm"]},
    )


def lands_on_data(landed: list[Landing], spacing: float, config: CheckConfig) -> Check:
    """Prop. 1 for the learned score: from each noise level, descent ends at data."""
    shares = [float((level.distance <= spacing).mean()) for level in landed]
    bad = [level.sigma for level, share in zip(landed, shares, strict=True) if share < config.share_least]
    top, low = landed[0], landed[-1]
    return Check(
        name="score lands on data",
        verdict=Verdict.FAIL if bad else Verdict.PASS,
        measured=f"at the worst level {min(shares):.0%} land; from sigma {top.sigma:.2g} the distance falls from"
        f" {np.median(top.distance_before):.2f} to {np.median(top.distance):.2f} (medians); descents from"
        f" there end at {top.places} different tuple(s), from sigma {low.sigma:.2g} at {low.places}",
        threshold=f"{config.share_least:.0%} within {spacing:.2f} of a demonstrated tuple (normalised), at every level",
        why=f"as near are {config.spacing_quantile:.0%} of the held-out tuples, which judged the model",
        remedy=f"from sigma {_listed(bad)} descent does not end at data: train the score for longer" if bad else "",
        values={
            "sigmas": [v.sigma for v in landed],
            "shares": shares,
            "within": spacing,
            "places": [v.places for v in landed],
        },
    )


def lands_rigid(landed: list[Landing], config: CheckConfig) -> Check:
    """Fig. 4B: descent makes a box again of markers that were torn apart."""
    most_mm = config.rigid_most_m * 1e3
    shares = [float((level.rigid_mm <= most_mm).mean()) for level in landed]
    bad = [level.sigma for level, share in zip(landed, shares, strict=True) if share < config.share_least]
    top, low = landed[0], landed[-1]
    return Check(
        name="score makes markers rigid",
        verdict=Verdict.FAIL if bad else Verdict.PASS,
        measured=f"at the worst level {min(shares):.0%}; worst marker from {np.median(top.rigid_before_mm):.0f} to"
        f" {np.median(top.rigid_mm):.2f} mm from sigma {top.sigma:.2g}, from {np.median(low.rigid_before_mm):.1f} to"
        f" {np.median(low.rigid_mm):.2f} mm from {low.sigma:.2g} (medians)",
        threshold=f"{config.share_least:.0%} with every marker within {most_mm:g} mm of a rigid box, at every level",
        why="with more the estimator would not take these markers for the box (rigid_tolerance_m)",
        remedy=f"from sigma {_listed(bad)} the markers stay torn apart: train the score for longer" if bad else "",
        values={
            "sigmas": [v.sigma for v in landed],
            "shares": shares,
            "median_mm": [float(np.median(v.rigid_mm)) for v in landed],
        },
    )


def plans_rigid(torn: list[Tear], config: CheckConfig) -> Check:
    """Figs. 4C and 4D: what plans predict stays a box, with the penalty."""
    most_mm = config.error_most_m * 1e3
    mm = np.array([pair.torn_mm for pair in torn])
    shares = (mm <= most_mm).mean(axis=0)
    verdict = _graded(float(shares[1]), config)
    without, with_penalty = (f"{column.mean():.2f} mm, at most {column.max():.2f}" for column in mm.T)
    return Check(
        name="plans stay rigid",
        verdict=verdict,
        measured=f"worst marker of four predicted steps, mean of {len(mm)} plans: {with_penalty} with beta"
        f" {config.beta:g}; {without} without",
        threshold=f"{config.share_least:.0%} of the plans with beta {config.beta:g} within {most_mm:g} mm"
        f" (fails below {config.broken_share:.0%})",
        why="a marker so far from any rigid box is predicted at least so wrong; the goal counts as reached within that",
        remedy=""
        if verdict == Verdict.PASS
        else "raise beta (--set beta=...), or collect more demonstrations and train again",
        values={
            "beta": config.beta,
            "torn_mm": mm.tolist(),
            "share": float(shares[1]),
            "share_without": float(shares[0]),
        },
    )


def near_data(place: Place, spacing_m: float, config: CheckConfig) -> Check:
    """Whether demonstrations led to a start or goal."""
    times = place.distance_m / spacing_m
    verdict = Verdict.PASS if times <= 1.0 else Verdict.WARN if times <= config.far else Verdict.FAIL
    return Check(
        name=f"{place.name} near data",
        verdict=verdict,
        measured=f"markers {place.distance_m * 1e3:.1f} mm (root mean square) from the nearest box of the data,"
        f" {pose_words(place.nearest)}",
        threshold=f"at most {spacing_m * 1e3:.1f} mm; fails beyond {config.far * spacing_m * 1e3:.1f} mm",
        why=f"as near are {config.spacing_quantile:.0%} of the held-out boxes, which judged the model",
        remedy=""
        if verdict == Verdict.PASS
        else f"collect demonstrations near {pose_words(place.pose)} and train again",
        values={
            "pose": list(place.pose),
            "distance_m": place.distance_m,
            "most_m": spacing_m,
            "nearest": list(place.nearest),
        },
    )


def bound_holds(bound: ErrorBound, push_mm: float | None, config: CheckConfig) -> Check:
    """Prop. 2 on tuples held out: how often the bound holds, and how loose it is."""
    coverage, median_mm, estimate = bound.coverage(), float(np.median(bound.bound_m)) * 1e3, bound.lipschitz
    vacuous = push_mm is not None and median_mm > push_mm
    verdict = _graded(coverage, config)
    if verdict == Verdict.PASS and vacuous:
        verdict = Verdict.WARN
    source = (
        f"reverse Weibull fit, {min(estimate.locations) * 1e3:.1f} to {max(estimate.locations) * 1e3:.1f} over seeds"
        if estimate.fitted
        else "the largest slope seen: the fit shows no upper end"
    )
    short = f"the model errs by more than its data tell in {1.0 - coverage:.0%} of the held-out tuples"
    remedy = f"{short}: collect more demonstrations, and raise beta until then" if coverage < config.share_least else ""
    if vacuous:
        remedy = (
            f"{remedy}; " * bool(remedy) + "the bound is larger than a push and says nothing: train again on more data"
        )
    return Check(
        name="error bound holds",
        verdict=verdict,
        measured=f"{coverage:.1%} of {len(bound.error_m)} held-out errors are within the bound of Prop. 2, which is"
        f" {median_mm:.1f} mm and {bound.looseness():.1f} times the error (medians); L_e"
        f" {estimate.constant * 1e3:.1f} mm per unit, {source}",
        threshold=f"at least {config.share_least:.0%} (fails below {config.broken_share:.0%}), and less than a push",
        why="the estimate is statistical; broken more often than once in ten it bounds nothing",
        remedy=remedy,
        values={
            "coverage": coverage,
            "looseness": bound.looseness(),
            "bound_median_mm": median_mm,
            "error_median_mm": float(np.median(bound.error_m)) * 1e3,
            "lipschitz_mm": estimate.constant * 1e3,
            "lipschitz_fits_mm": [v * 1e3 for v in estimate.locations],
            "lipschitz_seeds": estimate.seeds,
            "slopes": bound.pairs,
            "local": {"coverage": bound.coverage(bound.local_m), "looseness": bound.looseness(bound.local_m)},
            "unseen": {"coverage": bound.coverage(bound.unseen_m), "looseness": bound.looseness(bound.unseen_m)},
        },
    )


def pose_words(pose: Pose) -> str:
    """A box pose for people."""
    return f"({pose[0]:.2f}, {pose[1]:.2f}, {math.degrees(pose[2]):.0f} deg)"


def _graded(share: float, config: CheckConfig) -> Verdict:
    return Verdict.FAIL if share < config.broken_share else Verdict.WARN if share < config.share_least else Verdict.PASS


def _unknown(name: str, threshold: str, why: str, remedy: str) -> Check:
    return Check(
        name=name,
        verdict=Verdict.WARN,
        measured="nothing to measure",
        threshold=threshold,
        why=why,
        remedy=remedy,
        values={},
    )


def _listed(sigmas: list[float]) -> str:
    if len(sigmas) > 3:
        return f"{sigmas[0]:.2g} and {len(sigmas) - 1} more levels"
    return ", ".join(f"{sigma:.2g}" for sigma in sigmas)
