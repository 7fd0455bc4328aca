"""What a frame's detections tell the reuse policy, in pixels of the network's input."""

from __future__ import annotations

import numpy as np

from fluxshard_core.models.detections import Detections, Float32
from fluxshard_core.models.letterbox import Letterbox


def boxes_in_input(found: Detections, letterbox: Letterbox) -> Float32:
    """Return the boxes ``(N, 4)`` in pixels of the network's input."""
    scale = (
        letterbox.content_width / letterbox.original_width,
        letterbox.content_height / letterbox.original_height,
    )
    pads = np.array([letterbox.pad_x, letterbox.pad_y] * 2, dtype=np.float32)
    placed: Float32 = found.boxes * np.array(scale * 2, dtype=np.float32) + pads
    return placed
