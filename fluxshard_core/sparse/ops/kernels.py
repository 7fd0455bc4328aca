"""The two ways to convolve a batch of gathered patches: as images, or as rows of a matrix."""

from __future__ import annotations

from typing import Protocol

import torch

from fluxshard_core.sparse.ops.primitive import Primitive

ROW_MULTIPLE = 8  # a matrix is handed to the library as an image this many cells wide


class PatchKernel(Protocol):
    """Maps patches ``(n, h, w, in)`` to outputs ``(n, h', w', out)``, each on its own."""

    @property
    def primitive(self) -> Primitive:
        """The library call underneath."""
        ...

    @property
    def reference_batch(self) -> int:
        """The batch whose summation order every other must equal."""
        ...

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Compute all outputs in one call."""
        ...


class ImageKernel:
    """Patches as small images: the input cells that neighbouring outputs share are read once."""

    reference_batch = 16

    def __init__(self, primitive: Primitive) -> None:
        self.primitive = primitive

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Convolve without padding."""
        return self.primitive.batch(patches)


class MatrixKernel:
    """Patches as rows of a matrix, multiplied by the weights: one output cell a patch.

    The price is a copy of every input cell per tap. With 64 channels or more it is small beside
    the multiplication, and no cell is computed only because its tile was active.
    """

    reference_batch = 128

    def __init__(self, primitive: Primitive) -> None:
        weight = primitive.weight
        out, channels, height, width = weight.shape
        if (height, width) != (1, 1):
            weight = weight.permute(0, 2, 3, 1).reshape(out, height * width * channels, 1, 1)
        self._taps = height, width
        self._depth = height * width * channels
        self._dilation = primitive.dilation
        self.primitive = Primitive(weight, primitive.bias, activation=primitive.activation)

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Multiply; with a 1x1 kernel every cell of a patch is a row."""
        n, height, width, _ = patches.shape
        if self._taps != (1, 1):
            if self._dilation != (1, 1):
                patches = patches[:, :: self._dilation[0], :: self._dilation[1]]
            height = width = 1
        rows, depth = n * height * width, self._depth
        missing = -rows % ROW_MULTIPLE
        if missing:
            matrix = patches.reshape(rows, depth)
            patches = torch.cat([matrix, matrix[:1].expand(missing, -1)])
        lines = (rows + missing) // ROW_MULTIPLE
        image = patches.contiguous().as_strided(
            (1, depth, lines, ROW_MULTIPLE),
            (lines * ROW_MULTIPLE * depth, 1, ROW_MULTIPLE * depth, depth),
        )
        out = self.primitive.images(image)
        channels = out.shape[1]
        cell = width * channels
        return out.as_strided((n, height, width, channels), (height * cell, cell, channels, 1))
