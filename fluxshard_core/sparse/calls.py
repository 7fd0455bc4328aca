"""A traced ATen call as the recognisers see it: arguments by name, feature maps by shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from fluxshard_core.sparse.nodes import Node, Pair

aten = torch.ops.aten


@dataclass(frozen=True)
class Operand:
    """A computed tensor as an operator sees it: a ``(1, C, H, W)`` map if ``stride`` is not 0."""

    name: str
    shape: tuple[int, ...]
    stride: int


@dataclass(frozen=True)
class Call:
    """One ATen call with its arguments by name.

    Computed tensors are :class:`Operand`, constant ones are tensors, a tuple of tensors is
    ``None``, all else is as traced. ``shape`` is the result's. ``producer`` is the plan node that
    wrote the first argument if nothing else reads it, so that it may be replaced.
    """

    target: Callable[..., Any]
    arguments: dict[str, Any]
    output: str
    shape: tuple[int, ...]
    producer: Node | None = None

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]


@dataclass(frozen=True)
class Match:
    """A call's plan node and output stride; ``absorbed`` if it replaces ``Call.producer``."""

    node: Node
    stride: int
    absorbed: bool = False


Recogniser = Callable[[Call], Match | None]
"""Returns the call's tiled form, or ``None`` if there is none."""


def bind(node: fx.Node) -> dict[str, Any]:
    """Name a traced call's arguments after its schema, defaults included."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return {str(index): value for index, value in enumerate(node.args)} | dict(node.kwargs)
    bound = {}
    for index, argument in enumerate(schema.arguments):
        given = node.args[index] if index < len(node.args) else argument.default_value
        bound[argument.name] = node.kwargs.get(argument.name, given)
    return bound


def as_map(value: Any) -> Operand | None:
    """Return ``value`` if it is a feature map with a level."""
    return value if isinstance(value, Operand) and value.stride > 0 else None


def as_pair(value: Any) -> Pair:
    """Read ``2``, ``[2]`` or ``[2, 3]`` as rows and columns."""
    items = [int(value)] * 2 if isinstance(value, int) else [int(item) for item in value]
    return (items[0], items[-1])
