"""Convolution over tiles: gather the patches, one batched convolution, nothing per tile."""

from __future__ import annotations

from typing import Protocol

import torch

from fluxshard_core.sparse.layout import Halo, LevelLayout, Patch
from fluxshard_core.sparse.nodes import Conv, Pair, Window
from fluxshard_core.sparse.ops.primitive import Primitive
from fluxshard_core.sparse.ops.stability import REFERENCE_BATCH, Stability, convolve_whole
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet

DENSE_TILES = 64  # tiles in flight where the whole map must be computed tile by tile


class TileForm(Protocol):
    """The part of a window operator that works on tiles."""

    def tiles(self, store: FeatureStore, tiles: TileSet) -> torch.Tensor:
        """Compute the output over ``tiles``."""
        ...


def primitive_of(node: Conv, dtype: torch.dtype) -> Primitive:
    """Return the convolution call of ``node``."""
    return Primitive(
        node.weight,
        node.bias,
        stride=node.stride,
        dilation=node.dilation,
        groups=node.groups,
        activation=node.activation,
        dtype=dtype,
    )


class ConvOperator:
    """A convolution with a neighbourhood or a stride."""

    pad_value = 0.0

    def __init__(
        self, node: Conv, window: Window, grid: TileGrid, dtype: torch.dtype, stability: Stability
    ) -> None:
        self._node = node
        self._grid = grid
        self._stability = stability
        self._primitive = primitive_of(node, dtype)
        self.patch = Patch.of(window, grid.tile_shape)

    def tiles(self, store: FeatureStore, tiles: TileSet) -> torch.Tensor:
        """Compute ``(n, h, w, out)``."""
        return convolve_tiles(self._primitive, store.gather(tiles, self.patch), self._stability)

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Compute ``(1, H, W, out)``, whole if that adds up as the tiles do."""
        padding = self._node.padding
        tile = self._grid.tile_shape
        if self._stability.whole_is_stable(self._primitive, tuple(x.shape), padding, tile):
            return convolve_whole(self._primitive, x, padding)
        return dense_by_tiles(self, self._grid, store)

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``."""
        return tiles.cells * self._node.cell_cost


class PointConvOperator:
    """A 1x1 convolution: a matrix product over cells, whatever their place."""

    def __init__(
        self, node: Conv, tile_shape: Pair, dtype: torch.dtype, stability: Stability
    ) -> None:
        self._node = node
        self._tile_shape = tile_shape
        self._stability = stability
        self._primitive = primitive_of(node, dtype)

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Map ``(n, h, w, in)`` to ``(n, h, w, out)``."""
        (x,) = values
        if x.shape[0] > 1:
            return convolve_tiles(self._primitive, x, self._stability)
        padding = (0, 0, 0, 0)
        if self._stability.whole_is_stable(
            self._primitive, tuple(x.shape), padding, self._tile_shape
        ):
            return self._primitive(x)
        return self._whole_as_tiles(x)

    def _whole_as_tiles(self, x: torch.Tensor) -> torch.Tensor:
        (height, width), channels = self._tile_shape, x.shape[3]
        cells = x.reshape(-1, channels)
        missing = -len(cells) % (height * width)
        full = torch.cat([cells, cells[:1].expand(missing, -1)]) if missing else cells
        tiles = full.view(-1, height, width, channels)
        out = [
            convolve_tiles(self._primitive, part, self._stability)
            for part in tiles.split(DENSE_TILES)
        ]
        return torch.cat(out).view(len(full), -1)[: len(cells)].view(*x.shape[:3], -1)

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``."""
        return tiles.cells * self._node.cell_cost


def convolve_tiles(
    primitive: Primitive, patches: torch.Tensor, stability: Stability
) -> torch.Tensor:
    """Convolve ``(n, h, w, C)`` as the reference batch would, in one call where that is equal."""
    if stability.batch_is_stable(primitive, tuple(patches.shape)):
        return primitive.tiles(patches)
    parts = []
    for part in patches.split(REFERENCE_BATCH):
        missing = REFERENCE_BATCH - part.shape[0]
        full = torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part
        parts.append(primitive.tiles(full)[: part.shape[0]])
    return torch.cat(parts)


def dense_by_tiles(operator: TileForm, grid: TileGrid, store: FeatureStore) -> torch.Tensor:
    """Compute a whole map ``(1, H, W, C)`` through the tile form, a few tiles at a time."""
    first, *rest = grid.everything().batches(DENSE_TILES)
    values = operator.tiles(store, first)
    out = FeatureStore(
        LevelLayout(grid.level, Halo()), values.shape[3], values.dtype, 0.0, Scratch()
    )
    out.scatter(first, values)
    for tiles in rest:
        out.scatter(tiles, operator.tiles(store, tiles))
    return out.frame().unsqueeze(0)
