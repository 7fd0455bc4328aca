"""Instance masks from prototypes, only inside each kept box."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
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
    _, height, width = prototypes.shape
    cells = prototypes.permute(1, 2, 0).flatten(0, 1).to(coefficients.dtype)
    logits: Float32 = (coefficients @ cells.T).view(-1, height, width).numpy()
    rows = _BilinearAxis(
        original=letterbox.original_height,
        pad=letterbox.pad_y,
        content=letterbox.content_height,
        input_side=letterbox.input_height,
        cells=height,
    )
    columns = _BilinearAxis(
        original=letterbox.original_width,
        pad=letterbox.pad_x,
        content=letterbox.content_width,
        input_side=letterbox.input_width,
        cells=width,
    )
    return tuple(
        _mask_in_box(plane, box, rows, columns) for plane, box in zip(logits, boxes, strict=True)
    )


class _BilinearAxis:
    """Bilinear sampling of one prototype axis at the original pixels (half-pixel centres).

    Pixel ``i`` reads cells ``low[i]`` and ``low[i] + 1``, the second with weight ``fraction[i]``.
    """

    def __init__(
        self, *, original: int, pad: int, content: int, input_side: int, cells: int
    ) -> None:
        centres = (np.arange(original) + 0.5) * (content / original) + pad
        position = (centres * (cells / input_side) - 0.5).clip(0, cells - 1)
        self.low: npt.NDArray[np.intp] = np.minimum(position.astype(np.intp), cells - 2)
        self.fraction: Float32 = (position - self.low).astype(np.float32)

    def pixels(self, low: float, high: float) -> slice:
        """The whole pixels in ``[low, high)``: at least one, inside the image."""
        begin = min(math.ceil(low), len(self.low) - 1)
        return slice(begin, max(math.ceil(high), begin + 1))


def _mask_in_box(
    logits: Float32, box: Float32, rows: _BilinearAxis, columns: _BilinearAxis
) -> InstanceMask:
    across, down = columns.pixels(box[0], box[2]), rows.pixels(box[1], box[3])
    low, fraction = rows.low[down], rows.fraction[down, None]
    first = low[0]
    # Columns first: they are interpolated on the few prototype rows that the box reads.
    stretched = _interpolate(
        logits[first : low[-1] + 2].T, columns.low[across], columns.fraction[across, None]
    )
    sampled = _interpolate(np.ascontiguousarray(stretched.T), low - first, fraction)
    return InstanceMask.pack(across.start, down.start, sampled > 0.0)


def _interpolate(values: Float32, low: npt.NDArray[np.intp], fraction: Float32) -> Float32:
    """Sample the first axis of ``values`` between ``low`` and ``low + 1``."""
    sampled = values.take(low + 1, axis=0)
    sampled *= fraction
    sampled += values.take(low, axis=0) * (1.0 - fraction)
    return sampled
