"""Decode the keypoints of pose models."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from fluxshard_core.models.candidates import Candidates
from fluxshard_core.models.detections import Float32
from fluxshard_core.models.letterbox import Letterbox


def decode_keypoints(
    raw: Tensor, candidates: Candidates, keypoint_shape: tuple[int, int], letterbox: Letterbox
) -> Float32:
    """Decode ``(N, K * D)`` raw keypoints to ``(N, K, 3)`` ``x, y, confidence``, original pixels.

    ``x = (2 raw_x - 0.5) stride + anchor_x``, as ultralytics' ``Pose``; models without a
    confidence (``D = 2``) get 1.
    """
    count, dimensions = keypoint_shape
    values = raw.view(-1, count, dimensions)
    stride = candidates.strides[:, None, None]
    points = (values[..., :2] * 2.0 - 0.5) * stride + candidates.anchors[:, None, :]
    decoded = np.ones((len(values), count, 3), dtype=np.float32)
    decoded[..., :2] = letterbox.points_to_original(points.numpy())
    if dimensions == 3:
        decoded[..., 2] = values[..., 2].sigmoid().numpy()
    return decoded
