"""Transposed convolution over tiles, as one plain convolution per phase of the output.

Output cell ``o`` receives ``sum_k W[k] x[i]`` over ``o = i * s - p + k``. With
``q, phase = divmod(o + p, s)`` the taps are ``k = phase + s * m`` and ``i = q - m``: every phase
is an ordinary convolution at ``q``. All phases are computed as extra output channels of one
convolution and then interleaved, so that the bits agree with the dense run wherever those of a
convolution do.
"""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import ConvTranspose, Pair
from fluxshard_core.sparse.operators import TileSource
from fluxshard_core.sparse.ops.conv import dense_by_tiles
from fluxshard_core.sparse.ops.kernels import ImageKernel
from fluxshard_core.sparse.ops.primitive import Primitive
from fluxshard_core.sparse.ops.stability import Stability, convolve_whole
from fluxshard_core.sparse.patches import patch_of, quotients_of, taps_of
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet


class ConvTransposeOperator:
    """A transposed convolution without dilation."""

    pad_value = 0.0

    def __init__(self, node: ConvTranspose, grid: TileGrid, stability: Stability) -> None:
        self._node, self._grid, self._stability = node, grid, stability
        sy, sx = node.stride
        self._taps = taps_of(node)
        self._quotients = quotients_of(node, grid.tile_shape)
        weight = _phase_weights(node, self._taps)
        bias = node.bias
        if bias is not None:
            bias = bias.view(node.groups, 1, -1).expand(-1, sy * sx, -1).reshape(-1)
        self._primitive = Primitive(weight, bias, groups=node.groups, activation=node.activation)
        self._kernel = ImageKernel(self._primitive)
        self.patch = patch_of(node, grid.tile_shape)

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Compute ``(n, h, w, out)``."""
        patches = store.gather(tiles, self.patch)
        out = self._stability.convolve(self._kernel, patches.float()).to(patches.dtype)
        phases = self._interleave(out)
        n, rows, cols, channels = phases.shape
        height, width = self._grid.tile_shape
        first = tiles.shared(("phase", self.patch), lambda: self._crop(tiles, rows, cols))
        segments = phases.as_strided((n * rows * cols - width + 1, width * channels), (channels, 1))
        return torch.index_select(segments, 0, first).view(n, height, width, channels)

    def _crop(self, tiles: TileSet, rows: int, cols: int) -> torch.Tensor:
        node = self._node
        row = torch.remainder(tiles.top + node.padding[0], node.stride[0])
        col = torch.remainder(tiles.left + node.padding[1], node.stride[1])
        first = torch.arange(tiles.n) * (rows * cols) + row * cols + col
        return (first[:, None] + torch.arange(self._grid.tile_shape[0]) * cols).reshape(-1)

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Compute ``(1, H, W, out)``, whole if that adds up as the tiles do."""
        (top, left), (height, width) = self._node.padding, self._grid.level.shape
        after = [
            max(0, (size - 1 + before) // step + 1 - cells)
            for size, before, step, cells in zip(
                (height, width), (top, left), self._node.stride, x.shape[1:3], strict=True
            )
        ]
        padding = (self._taps[0] - 1, self._taps[1] - 1, after[0], after[1])
        if not self._stability.whole_is_stable(
            self._primitive, self._kernel, tuple(x.shape), padding, self._quotients
        ):
            return dense_by_tiles(self, self._grid, store)
        out = convolve_whole(self._primitive, x.float(), padding).to(x.dtype)
        phases = self._interleave(out)
        return phases[:, top : top + height, left : left + width].contiguous()

    def _interleave(self, x: torch.Tensor) -> torch.Tensor:
        """Spread ``(n, h, w, groups * s * s * c)`` to ``(n, h * s, w * s, groups * c)``."""
        n, height, width, _ = x.shape
        sy, sx = self._node.stride
        split = x.view(n, height, width, self._node.groups, sy, sx, -1)
        phases = split.permute(0, 1, 4, 2, 5, 3, 6).reshape(n, height * sy, width * sx, -1)
        return phases.contiguous()  # the reshape may be a view; tiles are cut by position

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``, all phases and their zero taps included."""
        return tiles.n * self._quotients[0] * self._quotients[1] * self._primitive.weight.numel()


def _phase_weights(node: ConvTranspose, taps: Pair) -> torch.Tensor:
    """Rearrange ``(in, out / g, kh, kw)`` to convolution weights ``(g * s * s * out / g, ...)``."""
    (sy, sx), groups = node.stride, node.groups
    channels_in, channels_out, kh, kw = node.weight.shape
    full = node.weight.new_zeros(channels_in, channels_out, taps[0] * sy, taps[1] * sx)
    full[:, :, :kh, :kw] = node.weight
    split = full.view(groups, channels_in // groups, channels_out, taps[0], sy, taps[1], sx)
    # Tap m reads cell q - m, so the kernel is reversed.
    phases = split.flip((3, 5)).permute(0, 4, 6, 2, 1, 3, 5)
    return phases.reshape(groups * sy * sx * channels_out, channels_in // groups, *taps)
