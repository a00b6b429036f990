"""Why an arm may not be released, in words that tell what to mend."""

from __future__ import annotations

import math

from sgp_core.config import PusherConfig
from sgp_core.pusher import NOT_MEASURED, PusherReference
from sgp_core.safety import MEASURED_SLACK_M, Fault, check_place
from sgp_core.types import Reason

# A tool that stands further from the orientation it will be told would swing round at the first command.
TOOL_TOLERANCE_RAD = 0.35
# Measured higher above the resting height than this, a tool is not lowered: metres or frames are wrong.
HIGHEST_ABOVE_M = 0.5


def not_released(reference: PusherReference, turned_rad: float, *, connected: bool) -> Fault | None:
    """What stands in the way of commands; None when nothing does.

    Args:
        reference: its fault, and where the pusher was measured.
        turned_rad: by how much the tool is turned against what it will be told; 0 when that is not measured.
        connected: whether anybody takes the commands.
    """
    if reference.fault is not None:
        text = f"a fault is latched: {reference.fault.text}; mend it and call pusher_node/clear_fault first"
        return Fault(reason=Reason.PUSHER_FAULT, text=text)
    if not connected:
        return Fault(reason=Reason.NO_PUSHER, text="nobody takes the commands; start the arm's controller")
    if reference.measured_m is None or not reference.fresh:
        return Fault(reason=Reason.NO_PUSHER, text=NOT_MEASURED)
    wrong = check_place("the pusher", reference.measured_m, reference.config, MEASURED_SLACK_M)
    if wrong is not None or turned_rad <= TOOL_TOLERANCE_RAD:
        return wrong
    text = (
        f"the tool is turned by {turned_rad:.2f} rad against tool_rpy, allowed are {TOOL_TOLERANCE_RAD}; turn it, or"
        " correct tool_rpy and table_from_base"
    )
    return Fault(reason=Reason.BAD_STATE, text=text)


def not_lowered(height_m: float, config: PusherConfig, *, unknown_allowed: bool) -> Fault | None:
    """What stands in the way of lowering a tool that is measured so high above the table; None when nothing does."""
    if not math.isfinite(height_m):
        text = "the height of the tool is not measured, without which a velocity output cannot lower it"
        return None if unknown_allowed else Fault(reason=Reason.NO_PUSHER, text=text)
    low_m = config.tool_height_m - config.tracking_limit_m
    high_m = config.retreat_height_m + HIGHEST_ABOVE_M
    if low_m <= height_m <= high_m:
        return None
    text = (
        f"the tool is measured {height_m:.3f} m above the table, allowed are {low_m:.3f} to {high_m:.3f}; check"
        " table_from_base or table_from_mocap, metres, and tool_height_m"
    )
    return Fault(reason=Reason.OUTSIDE_WORKSPACE, text=text)
