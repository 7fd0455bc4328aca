"""Non-maximum suppression, to the bit what ultralytics' torch-only implementation keeps.

That one makes a dozen PyTorch calls for each box it keeps, which takes longer than the arithmetic
of a few hundred boxes; numpy's calls cost a quarter.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fluxshard_core.models.detections import Float32

MAX_CANDIDATES = 30_000  # ultralytics' max_nms
FIRST_CANDIDATES = 1_000
CLASS_OFFSET = 7680.0  # ultralytics' max_wh: keeps boxes of different classes apart


def suppress(boxes: Tensor, class_ids: Tensor, iou: float, max_detections: int) -> Tensor:
    """Return the indices of the boxes to keep, in order, at most ``max_detections``.

    ``boxes`` is ``(N, 4)`` ``x1, y1, x2, y2``, best first. A box falls when its IoU with a kept one
    of its class is above ``iou``.
    """
    shifted: Float32 = (boxes + class_ids[:, None] * CLASS_OFFSET).numpy()
    kept: list[int] = []
    # Greedy suppression of a prefix is a prefix of the whole answer, so a few hundred results
    # seldom need the long tail of candidates that a low confidence lets in.
    for count in (FIRST_CANDIDATES, MAX_CANDIDATES):
        kept = _greedy(shifted[:count], iou, max_detections)
        if len(kept) >= max_detections or count >= len(boxes):
            break
    return torch.tensor(kept, dtype=torch.int64)


def _greedy(boxes: Float32, iou: float, most: int) -> list[int]:
    """Keep the first box, drop those that overlap it, and so on, until ``most`` are kept."""
    left, top, right, bottom = np.ascontiguousarray(boxes.T)
    area = (right - left) * (bottom - top)
    order = np.arange(len(boxes))
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        width = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order])
        height = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        if shared.any():  # else not even empty boxes, whose share is no number, are dropped
            with np.errstate(invalid="ignore"):
                order = order[shared / (area[best] + area[order] - shared) <= iou]
    return kept
