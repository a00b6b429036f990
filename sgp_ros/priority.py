"""Real-time scheduling for the process of a node, in the way of ros2_control's controller manager."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from sgp_core.config import Config, setting

THREADS = Path("/proc/self/task")


@dataclass(frozen=True, kw_only=True)
class ProcessConfig(Config):
    """How the process of a node runs; the same for every node."""

    realtime_priority: int = setting(
        0,
        "SCHED_FIFO priority of the process: ahead of every ordinary one; 0 leaves the usual scheduling",
        low=0,
        high=90,
        live=False,
    )


def take_priority(priority: int) -> str:
    """Run every thread of this process under SCHED_FIFO; a later one inherits that from the one that starts it.

    Args:
        priority: 1 to 99; 0 changes nothing.

    Returns:
        Why it is refused, with the remedy; empty when all is well.
    """
    if priority == 0:
        return ""
    try:
        for thread in THREADS.iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setscheduler(int(thread.name), os.SCHED_FIFO, os.sched_param(priority))
    except (OSError, AttributeError) as error:  # no right; not Linux
        return (
            f"realtime_priority = {priority} is refused ({error}), the process runs as any other; give the user the"
            f" right, `USER - rtprio {priority}` in a file of /etc/security/limits.d, and log in anew, or set it to 0"
        )
    return ""


def leave_priority() -> None:
    """This thread works long, and nobody waits for it: it runs as any other."""
    if hasattr(os, "sched_setscheduler"):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
