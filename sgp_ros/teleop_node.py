"""Demonstrations by keyboard: keys in, steps out, through the same pusher_node and its limits."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import Vector3Stamped
from std_msgs.msg import Header

from sgp_core.config import Config, setting
from sgp_core.errors import InputError
from sgp_core.safety import Fault
from sgp_core.types import Reason
from sgp_ros import messages
from sgp_ros.running import RELIABLE_QOS, REPORT_QOS, SgpNode, run

POLL_PERIOD_S = 0.02
# Along x away from the arm, along y to its left: as one sees the table who stands behind the arm.
WAYS = {"w": (1.0, 0.0), "s": (-1.0, 0.0), "a": (0.0, 1.0), "d": (0.0, -1.0)}
ARROWS = {"\x1b[A": "w", "\x1b[B": "s", "\x1b[D": "a", "\x1b[C": "d"}
MARKS = {"1": "start", "2": "stop", "0": "discard"}
HELP = """\
  w s a d or arrows   push along +x, -x, +y, -y while held     space   stand
  + -                 faster, slower                           q       end
  1   a demonstration begins     2   it ends, and counts     0   it is discarded
"""


@dataclass(frozen=True, kw_only=True)
class TeleopConfig(Config):
    """How keys become steps."""

    speed_mps: float = setting(0.04, "speed of the pusher while a key is held", unit="m/s", low=1e-3, high=0.5)
    faster: float = setting(1.25, "factor of the keys + and -", low=1.01, high=10.0)
    release_s: float = setting(
        0.6, "a key counts as released after so long without a repetition", unit="s", low=0.05, high=5.0
    )
    step_duration_s: float = setting(
        1.0, "time one step takes; must equal pusher_node's", unit="s", low=0.02, high=10.0, live=False
    )


class TeleopNode(SgpNode):
    """Sends a step of the chosen speed again and again while a key is held, and a step of zero when it is released.

    Each step replaces the one before, so the pusher moves evenly; one that is not followed ends by itself after
    `step_duration_s`. Everything else is up to pusher_node: what it refuses here, it would refuse mpc_node.
    """

    def __init__(self) -> None:
        super().__init__("teleop_node", [TeleopConfig()])
        if not sys.stdin.isatty():
            raise InputError(
                "teleop_node needs a terminal for its keys; start it with `ros2 run`, not from a launch file"
            )
        self._speed_mps = self.settings.get(TeleopConfig).speed_mps
        self._way, self._held_s, self._read = np.zeros(2), -np.inf, ""
        self._demonstration = "no demonstration"
        self._step = self.create_publisher(Vector3Stamped, "step", RELIABLE_QOS)
        self._mark = self.create_publisher(Header, "demonstration", REPORT_QOS)
        self._terminal = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        self._say(HELP)
        self._tell()
        self.create_timer(POLL_PERIOD_S, self._on_tick, clock=self.steady_clock)

    def _on_tick(self) -> None:
        if self.settings.changed():
            self._speed_mps = self.settings.get(TeleopConfig).speed_mps
        while (key := self._key()) is not None:
            self._take(key)
        released = self.steady_s() - self._held_s > self.settings.get(TeleopConfig).release_s
        if released and self._way.any():
            self._go(np.zeros(2))

    def _key(self) -> str | None:
        """The next key pressed; arrows come as three characters at once."""
        if select.select([sys.stdin], [], [], 0.0)[0]:
            self._read += os.read(sys.stdin.fileno(), 1024).decode(errors="ignore")
        if not self._read:
            return None
        length = 3 if self._read.startswith("\x1b[") else 1
        key, self._read = self._read[:length], self._read[length:]
        return ARROWS.get(key, key.lower())

    def _take(self, key: str) -> None:
        config = self.settings.get(TeleopConfig)
        if key in WAYS:
            self._held_s = self.steady_s()
            self._go(np.array(WAYS[key]))
        elif key == " ":
            self._go(np.zeros(2))
        elif key in MARKS:
            self._note(MARKS[key])
        elif key in ("+", "-", "="):
            self._speed_mps = float(
                np.clip(self._speed_mps * (1.0 / config.faster if key == "-" else config.faster), 1e-3, 0.5)
            )
            self._tell()
        elif key == "q":
            os.kill(os.getpid(), signal.SIGINT)  # the one way to ask a node to end

    def _go(self, way: np.ndarray) -> None:
        self._way = way
        u = way * self._speed_mps * self.settings.get(TeleopConfig).step_duration_s
        self._step.publish(messages.step_to_msg(self.now_s(), u))

    def _note(self, word: str) -> None:
        begun = self._demonstration == "demonstration goes on"
        if begun == (word == "start"):
            self._say("end it first (2), or discard it (0)" if begun else "none has begun (1)")
            return
        self._mark.publish(messages.header(self.now_s(), word))
        self._demonstration = {
            "start": "demonstration goes on", "stop": "demonstration kept", "discard": "demonstration discarded",
        }[word]  # fmt: skip
        self._tell()

    def _tell(self) -> None:
        others = self.count_publishers("step") > 1
        warning = "; another node sends steps, too: disable mpc_node" if others else ""
        self._say(f"{self._demonstration}; {self._speed_mps * 1e3:.0f} mm/s{warning}")

    def _say(self, text: str) -> None:
        print(text, flush=True)  # noqa: T201  (a terminal is all that it has)

    def diagnostics(self) -> DiagnosticStatus:
        """What the keys do, and whether somebody else sends steps as well."""
        others = self.count_publishers("step") - 1
        text = f"steps by keyboard, {'pushing' if self._way.any() else 'standing'}; {self._demonstration}"
        if others:
            text += "; another node sends steps, too: disable mpc_node"
        values: dict[str, object] = {"speed_mps": self._speed_mps, "other_senders": others}
        return messages.report(self.report_name, Fault(reason=Reason.RUNNING, text=text), values)

    def close(self) -> bool:
        """Stand, and give the terminal back as it was."""
        self._go(np.zeros(2))
        if self._demonstration == "demonstration goes on":
            self._note("discard")
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._terminal)
        return True


def main() -> int:
    """Run the node."""
    return run(TeleopNode)


if __name__ == "__main__":
    sys.exit(main())
