"""Nearest-neighbour enlargement over tiles."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import Upsample
from fluxshard_core.sparse.operators import TileSource
from fluxshard_core.sparse.patches import patch_of
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet


class UpsampleOperator:
    """Every output cell copies one input cell: gathers cells instead of patches."""

    pad_value = 0.0

    def __init__(self, node: Upsample, grid: TileGrid) -> None:
        self._factor = node.factor
        self.patch = patch_of(node, grid.tile_shape)

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Copy each output cell's source: ``(n, h, w, C)``."""
        return store.enlarge(tiles, self._factor)

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Enlarge ``(1, H, W, C)``."""
        _, height, width, channels = x.shape
        factor = self._factor
        spread = x[:, :, None, :, None].expand(-1, -1, factor, -1, factor, -1)
        return spread.reshape(1, height * factor, width * factor, channels)

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """A copy multiplies nothing."""
        return 0
