"""What a frame's detections tell the reuse policy, in pixels of the network's input."""

from __future__ import annotations

import numpy as np

from fluxshard_core.models.detections import Detections, Float32
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.reuse.salience import SPACING


def boxes_in_input(found: Detections, letterbox: Letterbox) -> Float32:
    """Return the boxes ``(N, 4)`` in pixels of the network's input."""
    scale = (
        letterbox.content_width / letterbox.original_width,
        letterbox.content_height / letterbox.original_height,
    )
    pads = np.array([letterbox.pad_x, letterbox.pad_y] * 2, dtype=np.float32)
    placed: Float32 = found.boxes * np.array(scale * 2, dtype=np.float32) + pads
    return placed


def mask_points(found: Detections, letterbox: Letterbox) -> list[Float32] | None:
    """Return for each mask its pixels on a grid of ``SPACING``, ``(M, 2)`` ``x, y`` in the
    network's input, or None without masks. A mask that the grid misses is its box's corner."""
    if found.masks is None:
        return None
    scale = letterbox.content_width / letterbox.original_width
    step = max(1, round(SPACING / scale))
    pads = np.array([letterbox.pad_x, letterbox.pad_y], dtype=np.float32)
    shapes = []
    for mask in found.masks:
        rows, cols = np.nonzero(mask.unpack()[::step, ::step])
        if len(rows) == 0:
            rows = cols = np.zeros(1, dtype=np.intp)
        corner = np.array([mask.x, mask.y], dtype=np.float32)
        original = np.stack([cols, rows], axis=1).astype(np.float32) * step + corner
        shapes.append(original * np.float32(scale) + pads)
    return shapes
