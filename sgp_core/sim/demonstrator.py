"""Somebody who pushes the box by hand: looks, chooses a side, goes there, pushes, corrects."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from sgp_core.layout import MarkerLayout, rotation, wrap_angle
from sgp_core.sim.rig import clearance

Pose = tuple[float, float, float]

YAW_ARM_M = 0.07  # how many metres of displacement a person finds as bad as one radian of turn
TRAVEL_COST_M = 0.2  # reluctance to walk: worth of one metre of way to another side, in metres of error
GAP_M = 0.008  # gap a person leaves between pusher and box before pushing
OFFSETS = np.linspace(-0.75, 0.75, 7)  # contact points along a face, as a fraction of half its length
PUSHES_M = np.array([0.01, 0.02, 0.03, 0.05, 0.08])


@dataclass(frozen=True, kw_only=True)
class Habits:
    """How steady the hand is; standard deviations."""

    direction_rad: float = 0.3
    length: float = 0.15  # of the step's length
    contact_m: float = 0.006
    boldest_m: float = 0.05  # longest step along an axis; everybody has a pace of their own
    pause: float = 0.1  # how often the hand rests for a step, to look


@dataclass(frozen=True, kw_only=True)
class Contact:
    """A place on a face of the box, in the box frame: point on the face [m] and inward normal."""

    point: ndarray
    normal: ndarray


def step(
    layout: MarkerLayout,
    box: Pose,
    pusher: Float[ndarray, "2"],
    goal: Pose,
    habits: Habits,
    random: np.random.Generator,
) -> ndarray | None:
    """Next displacement of the pusher (2,) [m; table] of a person who wants the box at `goal`; None when content."""
    choice = choose_contact(layout, box, pusher, goal)
    if choice is None:
        return None
    if random.random() < habits.pause:
        return np.zeros(2)
    contact, push_m = choice
    turn = rotation(box[2])
    centre = np.array(box[:2])
    noise = rotation(np.pi / 2) @ contact.normal * random.normal(0.0, habits.contact_m)
    ready = centre + turn @ (contact.point + noise - contact.normal * (layout.pusher_radius_m + GAP_M))
    away = pusher - ready
    normal = turn @ contact.normal
    # In place: beside the chosen point and close enough to the face to push on from here.
    sideways = abs(float(normal[0] * away[1] - normal[1] * away[0]))
    if sideways < 0.02 and clearance(layout, box, pusher) < 0.02 and float(away @ normal) > -0.02:
        wish = normal * (push_m + max(0.0, clearance(layout, box, pusher)))
        wish = rotation(random.normal(0.0, habits.direction_rad)) @ wish
    else:
        wish = way_round(layout, box, pusher, ready) - pusher
    wish = wish * max(0.2, 1.0 + random.normal(0.0, habits.length))
    longest = float(np.abs(wish).max())
    return wish * min(1.0, habits.boldest_m / longest) if longest > 0.0 else wish


def choose_contact(
    layout: MarkerLayout, box: Pose, pusher: Float[ndarray, "2"], goal: Pose
) -> tuple[Contact, float] | None:
    """The contact and push length [m] that look best for the next push, walking there included; None to leave it."""
    half = np.asarray(layout.box_size_m[:2]) / 2.0
    grip2 = (half**2).sum() / 3.0  # squared radius of gyration: how hard the box is to turn
    turn = rotation(box[2])
    error = turn.T @ (np.array(goal[:2]) - box[:2])
    error_yaw = wrap_angle(goal[2] - box[2])
    at = turn.T @ (pusher - np.array(box[:2]))
    lowest = float(np.hypot(np.linalg.norm(error), YAW_ARM_M * error_yaw))
    best: tuple[Contact, float] | None = None
    for axis in (0, 1):
        for side in (-1.0, 1.0):
            for offset in OFFSETS:
                point, normal = np.zeros(2), np.zeros(2)
                point[axis], point[1 - axis] = side * half[axis], offset * half[1 - axis]
                normal[axis] = -side
                arm = point[0] * normal[1] - point[1] * normal[0]
                walk = np.linalg.norm(at - (point - normal * layout.pusher_radius_m))
                for push in PUSHES_M:
                    # Frictionless quasistatic push on an ellipsoidal limit surface.
                    forward = push / (1.0 + arm**2 / grip2)
                    left = error - forward * normal
                    left_yaw = error_yaw - forward * arm / grip2
                    cost = float(np.hypot(np.linalg.norm(left), YAW_ARM_M * left_yaw) + TRAVEL_COST_M * walk)
                    if cost < lowest:
                        lowest, best = cost, (Contact(point=point, normal=normal), float(push))
    return best


def way_round(layout: MarkerLayout, box: Pose, pusher: Float[ndarray, "2"], target: Float[ndarray, "2"]) -> ndarray:
    """Where to head first (2,) [m; table] to reach `target` without touching the box: it, or the corner to go round."""
    if _free(layout, box, pusher, target):
        return target
    half = np.asarray(layout.box_size_m[:2]) / 2.0 + layout.pusher_radius_m + 0.015
    corners = [np.array(box[:2]) + rotation(box[2]) @ (half * sign) for sign in ((1, 1), (1, -1), (-1, -1), (-1, 1))]
    routes = []
    for k, first in enumerate(corners):
        if not _free(layout, box, pusher, first):
            continue
        for way in (1, -1):
            route, where = [first], k
            while not _free(layout, box, route[-1], target) and len(route) < 4:
                where = (where + way) % 4
                route.append(corners[where])
            stops = [pusher, *route, target]
            length = sum(float(np.linalg.norm(b - a)) for a, b in itertools.pairwise(stops))
            routes.append((length, first if np.linalg.norm(first - pusher) > 0.005 else stops[2]))
    if routes:
        return min(routes, key=lambda route: route[0])[1]
    # Wedged against the box: back off straight away from its centre.
    back = pusher - np.array(box[:2])
    return pusher + back / max(float(np.linalg.norm(back)), 1e-6) * 0.03


def _free(layout: MarkerLayout, box: Pose, start: ndarray, end: ndarray) -> bool:
    """True when the pusher can go straight without touching the box."""
    # Its own start may touch (it has just pushed), so only the rest of the way has to be clear.
    points = (start + (end - start) * f for f in np.linspace(0.15, 1.0, 12))
    return all(clearance(layout, box, point) > 0.002 for point in points)
