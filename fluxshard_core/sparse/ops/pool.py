"""Maximum and average over a window of tiles."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from fluxshard_core.sparse.layout import Patch
from fluxshard_core.sparse.nodes import Pool
from fluxshard_core.sparse.operators import TileSource
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet


class PoolOperator:
    """A pool; comparisons are exact and a window is always summed in one order."""

    def __init__(self, node: Pool, grid: TileGrid) -> None:
        self._node = node
        self.patch = Patch.of(node.window, grid.tile_shape)
        self.pad_value = node.window.pad_value

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Pool ``(n, h, w, C)``."""
        return self._pool(store.gather(tiles, self.patch, self.pad_value))

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Pool ``(1, H, W, C)``."""
        top, left, bottom, right = self._node.padding
        if any(self._node.padding):
            x = functional.pad(x, (0, 0, left, right, top, bottom), value=self.pad_value)
        return self._pool(x)

    def _pool(self, x: torch.Tensor) -> torch.Tensor:
        node, images = self._node, x.permute(0, 3, 1, 2)
        if node.kind == "max":
            out = functional.max_pool2d(images, node.kernel, node.stride, 0, node.dilation)
        else:
            out = functional.avg_pool2d(images, node.kernel, node.stride)
        return out.permute(0, 2, 3, 1).contiguous()

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """A pool multiplies nothing."""
        return 0
