"""Activations that stand alone: after a sum, or where a branch begins."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import Activation
from fluxshard_core.sparse.ops.elementwise import activate
from fluxshard_core.sparse.ops.primitive import Primitive, is_available
from fluxshard_core.sparse.tiles import TileSet

# PyTorch computes the last few elements of a thread's share with another exponential than the
# rest, so the same value may differ in its last bit by where it stands. oneDNN does not.
_POSITION_DEPENDENT = {"silu", "sigmoid", "tanh", "gelu"}


class PointwiseOperator:
    """An activation on its own; the result at a cell does not depend on where the cell lies."""

    def __init__(self, activation: Activation, channels: int) -> None:
        self._activation = activation
        self._identity: Primitive | None = None
        if activation.kind in _POSITION_DEPENDENT and is_available():
            ones = torch.ones(channels, 1, 1, 1)
            self._identity = Primitive(ones, None, groups=channels, activation=activation)

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Map ``(n, h, w, C)`` to the same shape."""
        (x,) = values
        if self._identity is None:
            return activate(self._activation, x)
        return self._identity.whole(x.float()).to(x.dtype)

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """An activation is not counted, as in the dense count."""
        return 0
