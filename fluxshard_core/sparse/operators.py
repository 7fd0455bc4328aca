"""What a backend offers the executor: operators over tiles and over whole maps.

Tensors are channels-last: tiles ``(n, h, w, C)``, a whole map ``(1, H, W, C)``. For one backend
and dtype both forms of an operator must agree bit for bit on every cell they share.
"""

from __future__ import annotations

from typing import Protocol

import torch

from fluxshard_core.sparse.layout import LevelLayout, Patch
from fluxshard_core.sparse.nodes import DenseIsland, Node
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet


class TileSource(Protocol):
    """The features an operator over tiles reads: one store, or those of several endpoints."""

    def gather(self, tiles: TileSet, patch: Patch, pad_value: float = 0.0) -> torch.Tensor:
        """Return each tile's patch ``(n, *extent, C)``, valid until the next gather."""
        ...

    def enlarge(self, tiles: TileSet, factor: int) -> torch.Tensor:
        """Return finer tiles ``(n, h, w, C)`` whose cells copy the ones they lie in."""
        ...


class WindowOperator(Protocol):
    """Reads a neighbourhood, or another level, and so needs its input in a store."""

    @property
    def patch(self) -> Patch:
        """The rectangle of input that one tile of output reads."""
        ...

    @property
    def pad_value(self) -> float:
        """What it sees outside the frame."""
        ...

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Compute the output over ``tiles`` of the output level."""
        ...

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Compute the whole output from the whole input, which ``store`` holds too."""
        ...

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates that ``tiles`` really executes."""
        ...


class PointOperator(Protocol):
    """Reads only the same cell of its inputs: one form serves tiles and whole maps."""

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Compute the output of any batch of cells."""
        ...

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates that ``tiles`` really executes."""
        ...


class IslandOperator(Protocol):
    """Reads and writes whole maps."""

    def dense(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the subgraph."""
        ...


class Backend(Protocol):
    """Builds operators and the stores they read."""

    def window_operator(self, plan: Plan, node: Node, grid: TileGrid) -> WindowOperator:
        """Return the operator of ``node``, whose output is cut by ``grid``."""
        ...

    def point_operator(self, plan: Plan, node: Node) -> PointOperator:
        """Return the operator of ``node``."""
        ...

    def island_operator(self, node: DenseIsland) -> IslandOperator:
        """Return the operator of ``node``."""
        ...

    def store(self, layout: LevelLayout, channels: int, pad_value: float) -> FeatureStore:
        """Allocate the cache of one feature map."""
        ...

    def store_bytes(self, layout: LevelLayout, channels: int) -> int:
        """Return the memory that :meth:`store` would take."""
        ...

    def image(self, frame: torch.Tensor) -> torch.Tensor:
        """Bring ``(1, C, H, W)`` to the backend's layout and dtype ``(1, H, W, C)``."""
        ...
