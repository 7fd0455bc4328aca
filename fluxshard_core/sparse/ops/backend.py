"""CpuBackend: builds the operators and stores of this package."""

from __future__ import annotations

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.layout import Halo, LevelLayout
from fluxshard_core.sparse.memory import Allocate
from fluxshard_core.sparse.movers import CopyingMover, copy_cells
from fluxshard_core.sparse.nodes import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    DenseIsland,
    Node,
    Pointwise,
    Pool,
    Slice,
    Upsample,
)
from fluxshard_core.sparse.operators import IslandOperator, PointOperator, WindowOperator
from fluxshard_core.sparse.ops.activation import PointwiseOperator
from fluxshard_core.sparse.ops.conv import ConvOperator, PointConvOperator
from fluxshard_core.sparse.ops.conv_transpose import ConvTransposeOperator
from fluxshard_core.sparse.ops.island import TorchIsland
from fluxshard_core.sparse.ops.merge import BinaryOperator, ConcatOperator, SliceOperator
from fluxshard_core.sparse.ops.pool import PoolOperator
from fluxshard_core.sparse.ops.runner import TorchRunner
from fluxshard_core.sparse.ops.stability import Stability
from fluxshard_core.sparse.ops.upsample import UpsampleOperator
from fluxshard_core.sparse.pixels import as_numbers
from fluxshard_core.sparse.plan import Plan, PlanError
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid


class CpuBackend:
    """Plain PyTorch on the CPU, features in float32 or bfloat16; convolutions are in float32.

    One backend may serve several executors: what it learns about which forms of a convolution
    agree bit for bit is shared, and so is the gather memory of those that run on one thread.

    Without ``exact`` that is not looked into: tiles and whole maps may then differ in the last
    bits, and a shape met for the first time costs no second convolution.

    :raises PlanError: another dtype.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, *, exact: bool = True) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise PlanError(f"the CPU backend computes in float32 or bfloat16, not {dtype}")
        self.dtype = dtype
        self._stability = Stability(checked=exact)
        self._scratch = Scratch()

    def window_operator(self, plan: Plan, node: Node, grid: TileGrid) -> WindowOperator:
        """Return the operator of a node that reads a neighbourhood or changes level."""
        if isinstance(node, Conv) and node.window:
            return ConvOperator(node, node.window, grid, self._stability)
        if isinstance(node, ConvTranspose):
            return ConvTransposeOperator(node, grid, self._stability)
        if isinstance(node, Pool):
            return PoolOperator(node, grid)
        if isinstance(node, Upsample):
            return UpsampleOperator(node, grid)
        raise PlanError(f"the CPU backend has no window operator for {node.describe()}")

    def point_operator(self, plan: Plan, node: Node) -> PointOperator:
        """Return the operator of a node that reads only its own cell."""
        if isinstance(node, Conv):
            return PointConvOperator(node, self._stability)
        if isinstance(node, Pointwise):
            channels = plan.tensors[node.output].channels
            return PointwiseOperator(node.activation, channels)
        if isinstance(node, Concat):
            return ConcatOperator()
        if isinstance(node, Slice):
            return SliceOperator(node)
        if isinstance(node, Binary):
            return BinaryOperator(node)
        raise PlanError(f"the CPU backend has no pointwise operator for {node.describe()}")

    def island_operator(self, plan: Plan, node: DenseIsland) -> IslandOperator:
        """Return the operator of a dense subgraph."""
        return TorchIsland(node)

    def runner(self, binding: Binding, *, filtered: bool) -> TorchRunner:
        """Return what runs whole frames."""
        return TorchRunner()

    def store(
        self, layout: LevelLayout, channels: int, pad_value: float, allocate: Allocate
    ) -> FeatureStore:
        """Make the cache of one feature map."""
        return FeatureStore(layout, channels, self.dtype, pad_value, self._scratch, allocate)

    def layout(self, level: Level, halo: Halo, *, filtered: bool) -> LevelLayout:
        """Return where the cells of a level's cached maps lie."""
        return LevelLayout(level, halo)

    def mover(self, layout: LevelLayout, *, filtered: bool) -> CopyingMover:
        """Return what moves the cached maps of a level."""
        return CopyingMover(layout, copy_cells)

    def mover_bytes(self, layout: LevelLayout, *, filtered: bool) -> int:
        """Return the memory that :meth:`mover` would take."""
        return 0

    def store_bytes(self, layout: LevelLayout, channels: int) -> int:
        """Return the memory that :meth:`store` would take."""
        return layout.size * channels * self.dtype.itemsize

    def image(self, frame: torch.Tensor) -> torch.Tensor:
        """Bring ``(1, C, H, W)`` to ``(1, H, W, C)`` in the backend's dtype."""
        # A batch of one may carry any batch stride, and by it oneDNN picks another algorithm.
        image = as_numbers(frame)[0].permute(1, 2, 0)
        return image.to(self.dtype).contiguous().unsqueeze(0)
