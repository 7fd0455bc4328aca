"""Instance masks from prototypes, only inside each kept box."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fluxshard_core.models.detections import Float32, InstanceMask
from fluxshard_core.models.letterbox import Letterbox


def decode_masks(
    coefficients: Tensor, prototypes: Tensor, boxes: Float32, letterbox: Letterbox
) -> tuple[InstanceMask, ...]:
    """Combine ``(N, C)`` coefficients with ``(C, h, w)`` prototypes into one mask per box.

    ``boxes`` is ``(N, 4)`` in original pixels. The mask logits are sampled bilinearly at the
    centres of the original pixels inside the box (upsampling to the input size when the image was
    not resized) and the mask is where they exceed 0.
    """
    channels, height, width = prototypes.shape
    logits = (coefficients @ prototypes.reshape(channels, -1)).view(-1, height, width)
    rows = _BilinearAxis(
        letterbox.original_height,
        letterbox.pad_y,
        letterbox.content_height,
        letterbox.input_height,
        height,
    )
    columns = _BilinearAxis(
        letterbox.original_width,
        letterbox.pad_x,
        letterbox.content_width,
        letterbox.input_width,
        width,
    )
    return tuple(
        _mask_in_box(plane, box, rows, columns) for plane, box in zip(logits, boxes, strict=True)
    )


class _BilinearAxis:
    """Bilinear sampling of one prototype axis at the original pixels (half-pixel centres)."""

    def __init__(self, original: int, pad: int, content: int, input_side: int, cells: int) -> None:
        centres = (np.arange(original) + 0.5) * (content / original) + pad
        position = centres * (cells / input_side) - 0.5
        position = position.clip(0, cells - 1)
        self.size = original
        self.low: npt.NDArray[np.int64] = np.minimum(position.astype(np.int64), cells - 2)
        self.fraction = (position - self.low).astype(np.float32)

    def weights(self, begin: int, end: int) -> tuple[slice, Tensor]:
        """The prototype cells that pixels ``begin..end`` read, and ``(pixels, cells)`` weights."""
        low, fraction = self.low[begin:end], self.fraction[begin:end]
        cells = slice(int(low[0]), int(low[-1]) + 2)
        matrix = np.zeros((end - begin, cells.stop - cells.start), dtype=np.float32)
        pixel, cell = np.arange(end - begin), low - cells.start
        matrix[pixel, cell] = 1.0 - fraction
        matrix[pixel, cell + 1] = fraction
        return cells, torch.from_numpy(matrix)

    def pixels(self, low: float, high: float) -> tuple[int, int]:
        """The whole pixels in ``[low, high)``, at least one, inside the image."""
        begin = min(math.ceil(low), self.size - 1)
        return begin, max(math.ceil(high), begin + 1)


def _mask_in_box(
    logits: Tensor, box: Float32, rows: _BilinearAxis, columns: _BilinearAxis
) -> InstanceMask:
    left, right = columns.pixels(box[0], box[2])
    top, bottom = rows.pixels(box[1], box[3])
    row_cells, row_weights = rows.weights(top, bottom)
    column_cells, column_weights = columns.weights(left, right)
    sampled = row_weights @ logits[row_cells, column_cells] @ column_weights.T
    return InstanceMask.pack(left, top, (sampled > 0.0).numpy())
