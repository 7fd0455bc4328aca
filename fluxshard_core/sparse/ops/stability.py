"""Which forms of a convolution add up in the same order.

A library may split the sum over the channels differently for another image size or batch, and
then the last bits differ. oneDNN does so for wide 3x3 convolutions. Nothing announces it, so each
form is tried once against the form every other must equal: a small batch of patches of one fixed
size.
"""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import Padding, Pair
from fluxshard_core.sparse.ops.kernels import PatchKernel
from fluxshard_core.sparse.ops.primitive import Primitive

_SAMPLES_A_SIDE = 8


class Stability:
    """Remembers, per geometry, which forms equal the reference batch bit for bit.

    Unless ``checked``, all forms are taken to.
    """

    def __init__(self, *, checked: bool = True) -> None:
        self._checked = checked
        self._known: dict[tuple[object, ...], bool] = {}

    def convolve(self, kernel: PatchKernel, patches: torch.Tensor) -> torch.Tensor:
        """Convolve ``(n, h, w, C)`` as the reference batch would: in one call where that is
        equal, else in calls of that size.

        A shape is checked the first time it is met, on some of its own patches.
        """
        if not self._checked:
            return kernel(patches)
        key = (type(kernel), kernel.primitive.geometry, patches.shape)
        stable = self._known.get(key)
        if stable:
            return kernel(patches)
        if stable is False:
            return _in_reference_batches(kernel, patches)
        out = kernel(patches)
        sample = torch.linspace(0, patches.shape[0] - 1, kernel.reference_batch).long()
        chosen = patches[sample]
        stable = torch.equal(out[sample], kernel(chosen))
        # Sums of zeros agree in any order: such patches prove nothing.
        if not stable or bool(chosen.any()):
            self._known[key] = stable
        return out if stable else _in_reference_batches(kernel, patches)

    def whole_is_stable(
        self,
        primitive: Primitive,
        kernel: PatchKernel,
        shape: tuple[int, ...],
        padding: Padding,
        tile: Pair,
    ) -> bool:
        """Whether a whole map ``(1, H, W, C)`` computes what its ``tile``-sized parts do."""
        if not self._checked:
            return True
        key = (type(kernel), primitive.geometry, shape, padding, tile)
        if key not in self._known:
            image = _random(shape)
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


def _in_reference_batches(kernel: PatchKernel, patches: torch.Tensor) -> torch.Tensor:
    size, parts = kernel.reference_batch, []
    for start in range(0, len(patches), size):
        part = patches[start : start + size]
        missing = size - len(part)
        full = torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part
        parts.append(kernel(full)[: len(part)])
    return torch.cat(parts)


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


def _random(shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator)
