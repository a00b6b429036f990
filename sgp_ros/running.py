"""What all nodes share: parameters, diagnostics once a second, and a clean end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from types import FrameType

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.executors import Executor, ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from sgp_core.config import Config
from sgp_core.errors import InputError
from sgp_ros import convert
from sgp_ros.parameters import Settings
from sgp_ros.priority import ProcessConfig, take_priority
from sgp_ros.security import NOT_ENFORCED, refused_words, security_enforced, security_wanted

# For measurements: matches every driver, reliable or not; only the newest counts, and a deadline would block matching.
SENSOR_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
# For commands and reports.
RELIABLE_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.RELIABLE)
REPORT_QOS = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.RELIABLE)
# For what a node that starts late still has to know.
LATCHED_QOS = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.RELIABLE,
    durability=DurabilityPolicy.TRANSIENT_LOCAL,
)
# How long a wait for work may last before the flag of a signal is looked at.
POLL_S = 0.1
DIAGNOSTICS_PERIOD_S = 1.0


class SgpNode(Node):
    """A node with parameters from configuration classes, a steady clock and a report on /diagnostics once a second.

    Args:
        name: node name.
        configs: configuration objects whose fields become parameters.
    """

    def __init__(self, name: str, configs: Sequence[Config]) -> None:
        try:
            super().__init__(name, automatically_declare_parameters_from_overrides=True)
        except ValueError as error:
            raise InputError(f"a parameter given to {name} has no type, as an empty list has none: {error}") from error
        except RuntimeError as error:
            raise InputError(refused_words(error)) from error
        self.settings = Settings(self, [*configs, ProcessConfig()])
        self.steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", REPORT_QOS)
        self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=self.steady_clock)

    def now_s(self) -> float:
        """ROS time [s]: 0 under use_sim_time before the first /clock."""
        return convert.clock_seconds(self.get_clock().now().nanoseconds)

    def steady_s(self) -> float:
        """Time that never pauses and is never set back [s]."""
        return convert.clock_seconds(self.steady_clock.now().nanoseconds)

    @property
    def report_name(self) -> str:
        """The node's name on /diagnostics: that of two rigs differs by the namespace."""
        return str(self.get_fully_qualified_name()).lstrip("/")

    def working_threads(self) -> Collection[int]:
        """Kernel's numbers of threads that work long, for which the others must not wait."""
        return ()

    def take_priority(self) -> None:
        """Ask for the scheduling that the parameters want, for every thread that there is."""
        refused = take_priority(self.settings.get(ProcessConfig).realtime_priority, self.working_threads())
        if refused:
            self.get_logger().warning(refused)

    def diagnostics(self) -> DiagnosticStatus | None:
        """The node's entry on /diagnostics; None while there is nothing to say."""
        return None

    def close(self) -> bool:
        """Leave the arm and the other nodes in a safe state; the context still works. At most a second.

        Returns:
            False when a thread could not be ended.
        """
        return True

    def _publish_diagnostics(self) -> None:
        status = self.diagnostics()
        if status is not None:
            message = DiagnosticArray(status=[status])
            message.header.stamp = self.get_clock().now().to_msg()
            self._diagnostics.publish(message)


class _Signals:
    """SIGINT and SIGTERM ask for an end once; what comes after that cannot disturb the clean-up.

    rclpy's own handlers shut the context down at once, and then no last message can be sent. These only set a flag, or
    interrupt the start of a node, which may be waiting in a long load.
    """

    def __init__(self) -> None:
        self.asked = False
        self.starting = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        first, self.asked = not self.asked, True
        if first and self.starting:
            raise KeyboardInterrupt


def make_executor() -> Executor:
    """The events executor, which wakes up for what came and asks nobody else; rclpy before 7.1.4 has none."""
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError:
        return SingleThreadedExecutor()
    return EventsExecutor()


def run(make_node: Callable[[], SgpNode], args: Sequence[str] | None = None) -> int:
    """Run one node until SIGINT, SIGTERM or a shutdown of its context; returns the exit code of the process.

    0 after a normal end; 2 when a file, argument or setting is wrong: the reason is on stderr.
    """
    signals = _Signals()
    node: SgpNode | None = None
    executor: Executor | None = None
    code, ended = 0, True
    try:
        try:
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:
            raise InputError(refused_words(error)) from error
        node = make_node()
        if security_wanted() and not security_enforced():
            node.get_logger().warning(NOT_ENFORCED)
        node.take_priority()
        signals.starting = False
        # What is there now stays; walking all of torch now and then would stop every thread for tens of milliseconds.
        gc.collect()
        gc.freeze()
        executor = make_executor()
        executor.add_node(node)
        while rclpy.ok() and not signals.asked:
            executor.spin_once(timeout_sec=POLL_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # both are how a node is asked to end
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  (rosout may not exist yet)
        code = 2
    finally:
        signals.asked = True  # from here on signals are only noted
        if node is not None:
            if rclpy.ok():
                ended = node.close()
            if executor is not None:
                executor.shutdown()  # before what it listens to
            node.destroy_node()
        rclpy.try_shutdown()
        # What is left ends with the process. Letting the collector walk all of torch first takes a second and more on a
        # busy machine, and whoever stops a node waits for it.
        gc.freeze()
    if not ended:
        # The interpreter cannot be taken down under a thread that is inside torch without a crash now and then.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
