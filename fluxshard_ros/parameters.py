"""Parameters declared from one table: description, range, choices, and a validating callback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from fluxshard_core.errors import InputError


@dataclass(frozen=True)
class ParameterSpec:
    """One ROS parameter; only ``dynamic`` ones may change once the node is configured."""

    name: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    dynamic: bool = False

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows."""
        descriptor = ParameterDescriptor(description=self.description)
        if self.choices:
            descriptor.additional_constraints = "one of: " + ", ".join(self.choices)
        if self.minimum is None or self.maximum is None:
            return descriptor
        if isinstance(self.default, float):
            limits = FloatingPointRange(from_value=self.minimum, to_value=self.maximum)
            descriptor.floating_point_range = [limits]
        else:
            whole = IntegerRange(from_value=int(self.minimum), to_value=int(self.maximum), step=1)
            descriptor.integer_range = [whole]
        return descriptor

    def problem(self, value: Any) -> str:
        """Say why ``value`` is not allowed; empty when it is."""
        if self.choices and value not in self.choices:
            return f"{self.name} is {value!r}; choose one of: {', '.join(self.choices)}"
        return ""


class ParameterTable:
    """The declared parameters of one node.

    ``apply`` gets the changed dynamic values of a running node and says why it cannot take them
    (empty when it can). While ``configured`` is false any parameter may change.
    """

    def __init__(
        self,
        node: Node,
        specs: Sequence[ParameterSpec],
        apply: Callable[[Mapping[str, Any]], str] = lambda changed: "",
    ) -> None:
        self.configured = False
        self._node = node
        self._specs = {spec.name: spec for spec in specs}
        self._apply = apply
        for spec in specs:
            self._declare(spec)
        node.add_on_set_parameters_callback(self._validate)

    def _declare(self, spec: ParameterSpec) -> None:
        try:
            value = self._node.declare_parameter(spec.name, spec.default, spec.descriptor()).value
        except (ParameterException, ValueError, TypeError) as error:
            raise InputError(f"parameter {spec.name}: {error}") from error
        if problem := spec.problem(value):
            raise InputError(f"parameter {problem}")

    def values(self) -> dict[str, Any]:
        """Return every value in force, by name."""
        return {name: self._node.get_parameter(name).value for name in self._specs}

    def _validate(self, changed: list[Parameter[Any]]) -> SetParametersResult:
        values = {p.name: p.value for p in changed if p.name in self._specs}
        for name, value in values.items():
            spec = self._specs[name]
            problem = spec.problem(value)
            if not problem and self.configured and not spec.dynamic:
                problem = f"{name} cannot change while the node is configured: clean it up first"
            if problem:
                return SetParametersResult(successful=False, reason=problem)
        problem = self._apply(values) if self.configured and values else ""
        return SetParametersResult(successful=not problem, reason=problem)
