"""ROS parameters made from the configuration dataclasses: one place for default, range, unit and description."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from sgp_core.config import Config
from sgp_core.errors import InputError

ConfigT = TypeVar("ConfigT", bound=Config)
# Declared by rclpy itself; an override of these is not a slip of the pen.
_OF_RCLPY = {"use_sim_time", "start_type_description_service"}


class Settings:
    """The parameters of a node, seen as configuration objects.

    A change is checked at once, as a whole and against the rules that span fields, and refused with the reason. It
    never acts from within the callback: the node asks `changed()` at its next cycle and takes a snapshot with `get()`.

    Args:
        node: made with `automatically_declare_parameters_from_overrides=True`: that is the public way to learn which
            overrides the user gave, and so to find the misspelt ones, which ROS ignores in silence.
        configs: defaults, one object per configuration class; their field names must not meet.

    Raises:
        InputError: an override breaks a rule, or has the wrong type or range.
    """

    def __init__(self, node: Node, configs: Sequence[Config]) -> None:
        self._node = node
        self._defaults = tuple(configs)
        self._changed: set[str] = set()
        self._putting = False
        self.check: Callable[[Sequence[Config], set[str]], None] | None = None  # what only the node can judge
        names = [field.name for config in configs for field in fields(config)]
        if len(names) != len(set(names)):
            raise InputError(f"two configuration classes of one node share a parameter name: {sorted(names)}")
        given = set(node.list_parameters([], 0).names)
        for config in configs:
            for field in fields(config):
                self._declare(field, getattr(config, field.name), field.name in given)
        unknown = sorted(n for n in given - set(names) - _OF_RCLPY if not n.startswith("qos_overrides."))
        for name in unknown:
            node.undeclare_parameter(name)
            node.get_logger().warning(f"parameter '{name}' is not known to this node and has no effect; known: {names}")
        for config in configs:
            self.get(type(config))  # raises where the overrides together break a rule
        node.add_on_set_parameters_callback(self._on_set)

    def get(self, wanted: type[ConfigT]) -> ConfigT:
        """A snapshot of one configuration class as it stands now."""
        default = next(config for config in self._defaults if type(config) is wanted)
        values = {field.name: self._node.get_parameter(field.name).value for field in fields(default)}
        return default.replaced(**values)

    def changed(self) -> set[str]:
        """Names of the parameters that were set and accepted since the last call, even to the value they had."""
        changed, self._changed = self._changed, set()
        return changed

    def put(self, name: str, value: Any) -> None:
        """Set a parameter back to what is really used; it does not count as changed."""
        self._putting = True
        try:
            self._node.set_parameters([Parameter(name, value=value)])
        finally:
            self._putting = False

    def _declare(self, field: Field[Any], default: Any, given: bool) -> None:
        name, node = field.name, self._node
        descriptor = describe(field)
        value = list(default) if isinstance(default, tuple) else default
        if given:
            node.undeclare_parameter(name)
        try:
            node.declare_parameter(name, value, descriptor)
        except Exception as error:  # rclpy: one class per cause, renamed between distributions
            typed = isinstance(field.default, float) and "type" in str(error)
            hint = "; a number needs its decimal point, as in 1.0" if typed else ""
            raise InputError(f"parameter {name}: {error}{hint}") from error

    def _on_set(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        wishes = {parameter.name: parameter.value for parameter in parameters}
        if self._putting:
            return SetParametersResult(successful=True)
        try:
            candidates: list[Config] = []
            for default in self._defaults:
                own = {field.name for field in fields(default)}
                changes = {name: value for name, value in wishes.items() if name in own}
                candidates.append(self.get(type(default)).replaced(**changes))
            if self.check is not None:
                self.check(candidates, set(wishes))
        except InputError as error:
            return SetParametersResult(successful=False, reason=str(error))
        # Another callback may still refuse; then the next cycle takes the same values again, which is harmless.
        self._changed |= set(wishes)
        return SetParametersResult(successful=True)


def describe(field: Field[Any]) -> ParameterDescriptor:
    """What `ros2 param describe` shows: words, unit and range."""
    meta = field.metadata
    low, high = meta["low"], meta["high"]
    bounded = math.isfinite(low) and math.isfinite(high)
    words = meta["doc"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    descriptor = ParameterDescriptor(name=field.name, description=words, read_only=not meta["live"])
    if isinstance(field.default, float) and bounded:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    elif isinstance(field.default, int) and not isinstance(field.default, bool) and bounded:
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    elif isinstance(field.default, tuple) and bounded:
        # ROS has no ranges for arrays; the configuration object checks each number.
        descriptor.additional_constraints = f"each number between {low:g} and {high:g}"
    return descriptor
