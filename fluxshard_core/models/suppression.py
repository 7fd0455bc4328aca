"""Non-maximum suppression through ultralytics' torch-only implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from fluxshard_core.models.quiet_import import import_ultralytics

MAX_CANDIDATES = 30_000  # ultralytics' max_nms
FIRST_CANDIDATES = 1_000
CLASS_OFFSET = 7680.0  # ultralytics' max_wh: keeps boxes of different classes apart


def suppress(boxes: Tensor, class_ids: Tensor, iou: float, max_detections: int) -> Tensor:
    """Return the indices of the boxes to keep, in order, at most ``max_detections``.

    ``boxes`` is ``(N, 4)`` ``x1, y1, x2, y2``, best first. A box falls when its IoU with a kept one
    of its class is above ``iou``.
    """
    nms = import_ultralytics("ultralytics.utils.nms").TorchNMS.nms
    shifted = boxes + class_ids[:, None] * CLASS_OFFSET
    kept = torch.empty(0, dtype=torch.int64)
    # Greedy suppression of a prefix is a prefix of the whole answer, so a few hundred results
    # seldom need the long tail of candidates that a low confidence lets in.
    for count in (FIRST_CANDIDATES, MAX_CANDIDATES):
        prefix = shifted[:count]
        # Ranks instead of scores: nms sorts unstably, and ranks have no ties.
        ranks = torch.arange(len(prefix), 0, -1, dtype=torch.float32)
        kept = nms(prefix, ranks, iou)
        if len(kept) >= max_detections or count >= len(boxes):
            break
    return kept[:max_detections]
