"""Which forms of a convolution add up in the same order.

A library may split the sum over the channels differently for another image size or batch, and
then the last bits differ. oneDNN does so for wide 3x3 convolutions. Nothing announces it, so each
form is tried once, on random data, against the form every other must equal: a small batch of
patches of one fixed size.
"""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import Padding, Pair
from fluxshard_core.sparse.ops.kernels import PatchKernel
from fluxshard_core.sparse.ops.primitive import Primitive

_SAMPLES_A_SIDE = 8


class Stability:
    """Remembers, per geometry, which forms equal the reference batch bit for bit."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], bool] = {}

    def convolve(self, kernel: PatchKernel, patches: torch.Tensor) -> torch.Tensor:
        """Convolve ``(n, h, w, C)`` as the reference batch would: in one call where that is
        equal, else in calls of that size."""
        if self._batch_is_stable(kernel, tuple(patches.shape)):
            return kernel(patches)
        size, parts = kernel.reference_batch, []
        for start in range(0, len(patches), size):
            part = patches[start : start + size]
            missing = size - len(part)
            full = torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part
            parts.append(kernel(full)[: len(part)])
        return torch.cat(parts)

    def _batch_is_stable(self, kernel: PatchKernel, shape: tuple[int, ...]) -> bool:
        size = kernel.reference_batch
        if shape[0] == size:
            return True
        key = (type(kernel), kernel.primitive.geometry, shape)
        if key not in self._known:
            patches = _random(shape, kernel.primitive.dtype)
            sample = torch.linspace(0, shape[0] - 1, size).long()
            expected = kernel(patches[sample])
            self._known[key] = torch.equal(kernel(patches)[sample], expected)
        return self._known[key]

    def whole_is_stable(
        self,
        primitive: Primitive,
        kernel: PatchKernel,
        shape: tuple[int, ...],
        padding: Padding,
        tile: Pair,
    ) -> bool:
        """Whether a whole map ``(1, H, W, C)`` computes what its ``tile``-sized parts do."""
        key = (type(kernel), primitive.geometry, shape, padding, tile)
        if key not in self._known:
            image = _random(shape, primitive.dtype)
            self._known[key] = self._compare(primitive, kernel, image, padding, tile)
        return self._known[key]

    def _compare(
        self,
        primitive: Primitive,
        kernel: PatchKernel,
        image: torch.Tensor,
        padding: Padding,
        tile: Pair,
    ) -> bool:
        whole = convolve_whole(primitive, image, padding)
        padded = pad(image, padding)
        extent = [
            (size - 1) * step + (taps - 1) * dilation + 1
            for size, step, taps, dilation in zip(
                tile,
                primitive.stride,
                primitive.weight.shape[2:],
                primitive.dilation,
                strict=True,
            )
        ]
        (sy, sx), (height, width) = primitive.stride, extent
        rows = torch.linspace(0, whole.shape[1] - tile[0], _SAMPLES_A_SIDE).long().tolist()
        cols = torch.linspace(0, whole.shape[2] - tile[1], _SAMPLES_A_SIDE).long().tolist()
        corners = [(row, col) for row in rows for col in cols]
        patches = torch.cat(
            [padded[:, r * sy : r * sy + height, c * sx : c * sx + width] for r, c in corners]
        )
        parts = self.convolve(kernel, patches)
        expected = torch.cat([whole[:, r : r + tile[0], c : c + tile[1]] for r, c in corners])
        return torch.equal(parts, expected)


def convolve_whole(primitive: Primitive, x: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Convolve a whole map ``(1, H, W, C)`` with any padding."""
    top, left, bottom, right = padding
    if (top, left) == (bottom, right):
        return primitive.whole(x, (top, left))
    return primitive.whole(pad(x, padding))


def pad(x: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Surround ``(1, H, W, C)`` with zeros."""
    top, left, bottom, right = padding
    return torch.nn.functional.pad(x, (0, 0, left, right, top, bottom))


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(dtype)
