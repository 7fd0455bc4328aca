"""Detections put where a projective transform takes them."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.models.detections import Detections, Float32, InstanceMask
from fluxshard_core.models.letterbox import Letterbox

Float64 = npt.NDArray[np.float64]


def translation(dx: float, dy: float) -> Float64:
    """Return the ``(3, 3)`` transform that moves points by ``(dx, dy)`` pixels."""
    return np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1]], dtype=np.float64)


def to_original(letterbox: Letterbox) -> Float64:
    """Return the ``(3, 3)`` transform from the network input's pixels to the original ones."""
    scale = (
        letterbox.original_width / letterbox.content_width,
        letterbox.original_height / letterbox.content_height,
        1.0,
    )
    return np.diag(scale) @ translation(-letterbox.pad_x, -letterbox.pad_y)


def place(found: Detections, transforms: Float64, height: int, width: int) -> Detections:
    """Move every instance by its own transform, clipped to a ``height x width`` image.

    ``transforms`` is ``(N, 3, 3)``: old homogeneous pixels to new ones, with positive scale. A box
    keeps upright sides at the mean of its corners' new places; masks are resampled to the nearest.
    """
    corners = map_points(transforms, _corners(found.boxes))
    x, y = corners[..., 0].clip(0, width), corners[..., 1].clip(0, height)
    boxes = np.stack(
        [x[:, [0, 2]].mean(1), y[:, :2].mean(1), x[:, [1, 3]].mean(1), y[:, 2:].mean(1)], axis=1
    )
    masks = keypoints = None
    if found.masks is not None:
        masks = tuple(
            _place_mask(mask, transform, height, width)
            for mask, transform in zip(found.masks, transforms, strict=True)
        )
    if found.keypoints is not None:
        keypoints = found.keypoints.copy()
        points = map_points(transforms, keypoints[..., :2].astype(np.float64))
        keypoints[..., :2] = points.clip(0, (width, height))
    return Detections(boxes.astype(np.float32), found.scores, found.class_ids, masks, keypoints)


def map_points(transforms: Float64, points: Float64) -> Float64:
    """Map ``(N, P, 2)`` points, each row by its own transform of ``(N, 3, 3)``."""
    mapped = np.einsum("nij,npj->npi", transforms[:, :, :2], points) + transforms[:, None, :, 2]
    placed: Float64 = mapped[..., :2] / mapped[..., 2:]
    return placed


def _corners(boxes: Float32) -> Float64:
    """``(N, 4, 2)``: top left, top right, bottom left, bottom right."""
    return boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2).astype(np.float64)


def _place_mask(mask: InstanceMask, transform: Float64, height: int, width: int) -> InstanceMask:
    outline = _corners(
        np.array([[mask.x, mask.y, mask.x + mask.width, mask.y + mask.height]], dtype=np.float32)
    )
    placed = map_points(transform[None], outline)[0]
    limits = np.array([width, height])
    low = np.floor(placed.min(axis=0)).clip(0, limits).astype(int)
    high = np.ceil(placed.max(axis=0)).clip(0, limits).astype(int)
    x, y, across, down = int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])
    if not (across and down and mask.width and mask.height):
        return InstanceMask.pack(x, y, np.zeros((0, 0), dtype=np.bool_))
    # Transforms speak of pixel corners, OpenCV of pixel centres.
    local = translation(-x - 0.5, -y - 0.5) @ transform @ translation(mask.x + 0.5, mask.y + 0.5)
    cells = cv2.warpPerspective(
        mask.unpack().astype(np.uint8), local, (across, down), flags=cv2.INTER_NEAREST
    )
    return InstanceMask.pack(x, y, np.asarray(cells, dtype=np.bool_))
