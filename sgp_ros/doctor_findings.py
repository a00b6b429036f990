"""What `sgp doctor` finds, and what helps against each reason code. Needs no ROS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from sgp_core.types import Reason


class Severity(StrEnum):
    """How much a finding matters; the order is that of the table."""

    ERROR = "ERROR"  # nothing will move, or it must not
    WARN = "WARN"  # it may work, but not well or not for long
    INFO = "INFO"  # nothing is wrong: who is waited for, or what follows from a worse finding


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, in words."""

    severity: Severity
    check: str  # short name of what was looked at; the same for every finding of its kind
    words: str  # what is wrong, with the figures
    remedy: str  # what to do


def error(check: str, words: str, remedy: str) -> Finding:
    """A finding because of which nothing moves, or must not."""
    return Finding(severity=Severity.ERROR, check=check, words=words, remedy=remedy)


def warn(check: str, words: str, remedy: str) -> Finding:
    """A finding with which it may still work."""
    return Finding(severity=Severity.WARN, check=check, words=words, remedy=remedy)


def info(check: str, words: str, remedy: str) -> Finding:
    """Something to know."""
    return Finding(severity=Severity.INFO, check=check, words=words, remedy=remedy)


def ordered(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first, each once."""
    return sorted(dict.fromkeys(findings), key=lambda finding: list(Severity).index(finding.severity))


def as_dicts(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """For JSON."""
    return [asdict(finding) for finding in findings]


def several(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return f"{names[0]}{more}"


# Reasons that name no fault: somebody has to do something, or it takes a moment.
WAITING = {
    Reason.DRY_RUN: "call the service mpc_node/enable with true when the plans look right",
    Reason.NO_GOAL: "publish goal_pose, set the parameter goal of mpc_node, or call mpc_node/set_goal_from_state",
    Reason.PUSHER_DISABLED: "call the service pusher_node/enable with true when the way down is free",
    Reason.APPROACHING: "wait until the tool is down",
}
REMEDIES = WAITING | {
    Reason.NO_STATE: "start mocap_node and the driver; see the driver's topics",
    Reason.STALE_STATE: "look at the driver, the network and the clocks of both computers",
    Reason.NON_FINITE: "look at the source that the words name",
    Reason.BAD_STATE: "compare layout file, marker labels and unit with what the driver sends",
    Reason.FROZEN_STATE: "restart the driver; for a source without any noise set frozen_timeout_s: 0.0 of mocap_node",
    Reason.OUTSIDE_WORKSPACE: "move the pusher back by hand, or correct workspace_m of mpc_node and pusher_node",
    Reason.KEEP_OUT: "move the pusher out by hand, or correct keep_out_m of mpc_node and pusher_node",
    Reason.STEP_TOO_LARGE: "set step_limit_m of mpc_node and pusher_node alike, and see who else publishes step",
    Reason.LATE_STEP: "give mpc_node more of the processor (rate_hz, budget_ms), and synchronise the clocks",
    Reason.NO_PUSHER: "start pusher_node, and see whether the driver tracks the pusher",
    Reason.PUSHER_FAULT: "mend what the words name, then call the service pusher_node/clear_fault",
    Reason.STEP_DURATION_MISMATCH: "start pusher_node with the step_duration_s of the bundle",
    Reason.TRACKING_ERROR: "free the arm and see whether its controller runs, then call pusher_node/clear_fault",
    Reason.STOPPED: "see that nobody is in the way, then call pusher_node/clear_fault",
    Reason.PLANNER_ERROR: "look at the log of mpc_node; `sgp info` verifies the bundle",
    Reason.OFF_DATA: "put box and goal where the demonstrations are, record more, or raise trust_distance of mpc_node",
}


def remedy_of(reason: str) -> str:
    """What to do about a reason code."""
    known = {str(code): words for code, words in REMEDIES.items()}
    return known.get(reason, "look up the reason code in docs/nodes.md")
