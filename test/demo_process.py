"""`sgp demo` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def demo(out: Path, *options: str, domain: str = "") -> Iterator[subprocess.Popen[str]]:
    """A running `sgp demo`, in a domain of its own unless one is given."""
    environment = os.environ | {"ROS_DOMAIN_ID": domain}
    command = [sys.executable, "-c", "from sgp_ros.cli import main; main()", "demo", "--out", str(out), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment | {"COLUMNS": "500"}
    ) as process:
        try:
            yield process
        finally:
            process.kill()
