"""Real-time scheduling for the process of a node, in the way of ros2_control's controller manager."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from sgp_core.config import Config, setting

THREADS = Path("/proc/self/task")
HIGHEST = 90
# One limit for all nodes: with less the one that plans might get its priority, and the one that stops the arm not.
REMEDY = (
    f"give the user the right: `USER - rtprio {HIGHEST}` in a file of /etc/security/limits.d, and a new login"
    f" (docker: --ulimit rtprio={HIGHEST}; systemd: LimitRTPRIO={HIGHEST}), or set realtime_priority to 0 in all nodes"
)


@dataclass(frozen=True, kw_only=True)
class ProcessConfig(Config):
    """How the process of a node runs; the same for every node."""

    realtime_priority: int = setting(
        0,
        "SCHED_FIFO priority of the process: ahead of every ordinary one; 0 leaves the scheduling as it is",
        low=0,
        high=HIGHEST,
        live=False,
    )


def take_priority(priority: int, behind: Collection[int] = ()) -> str:
    """Run every thread of this process under SCHED_FIFO; a later one inherits that from the one that starts it.

    Args:
        priority: 1 to 99; 0 changes nothing.
        behind: kernel's numbers of threads that work long, and get one less: the others must not wait for them.

    Returns:
        Why it is refused, with the remedy; empty when all is well.
    """
    if priority == 0:
        return ""
    if not hasattr(os, "sched_setscheduler"):
        return f"realtime_priority = {priority} is refused: only Linux has it; set it to 0"
    if _taken(priority, behind):
        return ""
    # As much as there is: with nothing the nodes that watch over the arm would come after the one that plans.
    most = min(resource.getrlimit(resource.RLIMIT_RTPRIO)[0], priority)
    got = f"it runs with {most}" if most > 0 and _taken(most, behind) else "it runs as any other"
    return f"realtime_priority = {priority} is refused, {got}; {REMEDY}"


def _taken(priority: int, behind: Collection[int]) -> bool:
    for thread in (int(entry.name) for entry in THREADS.iterdir()):
        own = max(priority - 1, 1) if thread in behind else priority
        try:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(own))
        except ProcessLookupError:
            continue  # it has ended meanwhile
        except PermissionError:
            return False
    return True


def leave_priority() -> None:
    """This thread works long, and nobody waits for it: it runs as any other."""
    with contextlib.suppress(OSError, AttributeError):  # it never had any
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
