"""Convolution over tiles: gather the patches, one batched convolution, nothing per tile."""

from __future__ import annotations

from typing import Protocol

import torch

from fluxshard_core.sparse.layout import Halo, LevelLayout, Patch
from fluxshard_core.sparse.nodes import Conv, Window
from fluxshard_core.sparse.operators import TileSource
from fluxshard_core.sparse.ops.kernels import ImageKernel, MatrixKernel, PatchKernel
from fluxshard_core.sparse.ops.primitive import Primitive
from fluxshard_core.sparse.ops.stability import Stability, convolve_whole
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet

DENSE_CELLS = 4096  # cells in flight where a whole map must be computed tile by tile


class TileForm(Protocol):
    """The part of a window operator that works on tiles."""

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Compute the output over ``tiles``."""
        ...


def primitive_of(node: Conv) -> Primitive:
    """Return the convolution call of ``node``.

    It computes in float32 whatever the features: in bfloat16 the library adds up in an order that
    depends on the shape, and rounding hides that from a check of a few samples.
    """
    return Primitive(
        node.weight,
        node.bias,
        stride=node.stride,
        dilation=node.dilation,
        groups=node.groups,
        activation=node.activation,
    )


class ConvOperator:
    """A convolution with a neighbourhood or a stride."""

    pad_value = 0.0

    def __init__(self, node: Conv, window: Window, grid: TileGrid, stability: Stability) -> None:
        self._node, self._grid, self._stability = node, grid, stability
        self._primitive = primitive_of(node)
        single_cells = grid.tile_shape == (1, 1) and node.groups == 1
        kernel = MatrixKernel if single_cells else ImageKernel
        self._kernel: PatchKernel = kernel(self._primitive)
        self.patch = Patch.of(window, grid.tile_shape)

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Compute ``(n, h, w, out)``."""
        patches = store.gather(tiles, self.patch)
        return self._stability.convolve(self._kernel, patches.float()).to(patches.dtype)

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Compute ``(1, H, W, out)``, whole if that adds up as the tiles do."""
        padding = self._node.padding
        if self._stability.whole_is_stable(
            self._primitive, self._kernel, tuple(x.shape), padding, self._grid.tile_shape
        ):
            return convolve_whole(self._primitive, x.float(), padding).to(x.dtype)
        return dense_by_tiles(self, self._grid, store)

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``."""
        return tiles.cells * self._node.cell_cost


class PointConvOperator:
    """A 1x1 convolution: a matrix product over cells, whatever their place."""

    def __init__(self, node: Conv, stability: Stability) -> None:
        self._node = node
        self._stability = stability
        self._primitive = primitive_of(node)
        kernel = MatrixKernel if node.groups == 1 else ImageKernel
        self._kernel: PatchKernel = kernel(self._primitive)

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Map ``(n, h, w, in)`` to ``(n, h, w, out)``."""
        (x,) = values
        return self._apply(x.float()).to(x.dtype)

    def _apply(self, x: torch.Tensor) -> torch.Tensor:
        n, height, width, channels = x.shape
        if n == 1 and self._stability.whole_is_stable(
            self._primitive, self._kernel, tuple(x.shape), (0, 0, 0, 0), (1, 1)
        ):
            return self._primitive.whole(x)
        if height == width == 1 and n > 1:
            return self._stability.convolve(self._kernel, x)
        cells = x.reshape(n * height * width, 1, 1, channels)
        if n > 1:
            return self._stability.convolve(self._kernel, cells).view(n, height, width, -1)
        parts = [
            self._stability.convolve(self._kernel, cells[start : start + DENSE_CELLS])
            for start in range(0, len(cells), DENSE_CELLS)
        ]
        return torch.cat(parts).view(n, height, width, -1)

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``."""
        return tiles.cells * self._node.cell_cost


def dense_by_tiles(operator: TileForm, grid: TileGrid, store: FeatureStore) -> torch.Tensor:
    """Compute a whole map ``(1, H, W, C)`` through the tile form, a few tiles at a time."""
    height, width = grid.tile_shape
    first, *rest = grid.everything().batches(max(1, DENSE_CELLS // (height * width)))
    values = operator.tiles(store, first)
    out = FeatureStore(
        LevelLayout(grid.level, Halo()), values.shape[3], values.dtype, 0.0, Scratch()
    )
    out.scatter(first, values)
    for tiles in rest:
        out.scatter(tiles, operator.tiles(store, tiles))
    return out.frame().unsqueeze(0)
