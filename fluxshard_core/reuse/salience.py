"""Where the objects of past results are now, and how sure one may be that they matter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE, MotionField
from fluxshard_core.reuse.config import ReuseConfig

Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True, eq=False)
class SalientBlocks:
    """What objects ask of each block, both ``(rows, cols)`` float32.

    ``confidence`` is the highest of the objects near it that are due, 0 if none; ``size`` the
    shorter side in pixels of the smallest of them, infinite if none.
    """

    confidence: Float32
    size: Float32


class Salience:
    """Boxes of past results that follow the motion and outlive a few frames without a result.

    ``boxes`` ``(N, 4)`` float32 ``x1, y1, x2, y2`` in pixels of the network's input, ``scores``
    ``(N,)`` float32, ``unseen`` ``(N,)`` int32 frames since each was last found, ``stale``
    ``(N,)`` int32 frames since its surroundings were last due.
    """

    def __init__(self, config: ReuseConfig) -> None:
        self._config = config
        self.reset()

    def reset(self) -> None:
        """Forget all objects."""
        self.boxes: Float32 = np.zeros((0, 4), dtype=np.float32)
        self.scores: Float32 = np.zeros(0, dtype=np.float32)
        self.unseen: Int32 = np.zeros(0, dtype=np.int32)
        self.stale: Int32 = np.zeros(0, dtype=np.int32)

    def follow(self, motion: MotionField) -> None:
        """Move the boxes by one frame's motion."""
        self.boxes = moved_boxes(self.boxes, motion)
        self.stale = self.stale + 1

    def blocks(self, rows: int, cols: int) -> SalientBlocks:
        """Return what the objects that are due ask of each block."""
        config = self._config
        due = (self.scores >= config.sure) | (self.stale >= config.weak_interval)
        self.stale[due] = 0
        boxes, scores = self.boxes[due], self.scores[due]
        sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
        surroundings = grown(boxes, config)
        return SalientBlocks(
            painted(surroundings, scores, rows, cols, 0.0),
            -painted(surroundings, -sides, rows, cols, -np.inf),
        )

    def update(self, boxes: Float32, scores: Float32) -> None:
        """Take a frame's results; what they do not explain is kept for ``persistence`` frames.

        ``boxes`` ``(N, 4)`` and ``scores`` ``(N,)`` as the attributes. Results below
        ``salience_threshold`` are ignored.

        :raises InputError: if their shapes do not fit.
        """
        if boxes.shape != (len(scores), 4):
            raise InputError(f"{len(scores)} scores for boxes of shape {boxes.shape}")
        found = scores >= self._config.salience_threshold
        boxes, scores = boxes[found], scores[found]
        overlap = _iou(self.boxes, boxes)
        kept = overlap.max(axis=1, initial=0.0) < SAME_OBJECT_IOU
        kept &= self.unseen < self._config.persistence
        same = np.where(overlap >= SAME_OBJECT_IOU, self.stale[:, None], 0)
        stale = same.max(axis=0, initial=0).astype(np.int32)
        self.boxes = np.concatenate([boxes, self.boxes[kept]])
        self.scores = np.concatenate([scores, self.scores[kept]])
        self.unseen = np.concatenate([np.zeros(len(boxes), np.int32), self.unseen[kept] + 1])
        self.stale = np.concatenate([stale, self.stale[kept]])


def moved_boxes(boxes: Float32, motion: MotionField) -> Float32:
    """Move each box ``(N, 4)`` by the median vector of the valid blocks it touches.

    A box without one moves by the median of the whole frame, if that has any.
    """
    pixels = motion.pixels()
    everywhere = pixels[motion.valid]
    overall = np.median(everywhere, axis=0) if len(everywhere) else np.zeros(2, np.float32)
    moved = boxes.copy()
    for box in moved:
        top, left, bottom, right = _touched(box, motion.rows, motion.cols)
        inside = pixels[top:bottom, left:right][motion.valid[top:bottom, left:right]]
        step = np.median(inside, axis=0) if len(inside) else overall
        box += np.tile(step, 2)
    return moved


def grown(boxes: Float32, config: ReuseConfig) -> Float32:
    """Grow each box ``(N, 4)`` on all sides by the margin of its size, in pixels."""
    shorter = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    margin = np.clip(config.margin * shorter, config.min_margin, config.max_margin)[:, None]
    larger: Float32 = boxes + np.concatenate([-margin, -margin, margin, margin], axis=1)
    return larger


def painted(boxes: Float32, values: Float32, rows: int, cols: int, background: float) -> Float32:
    """Return per block the highest value of the boxes that touch it, ``(rows, cols)`` float32."""
    canvas = np.full((rows, cols), background, dtype=np.float32)
    for index in np.argsort(values, kind="stable"):
        top, left, bottom, right = _touched(boxes[index], rows, cols)
        canvas[top:bottom, left:right] = values[index]
    return canvas


def _touched(box: Float32, rows: int, cols: int) -> tuple[int, int, int, int]:
    """Rows and columns of blocks that a box touches, ``top, left, bottom, right``, in the grid."""
    low = np.floor(box[:2] / BLOCK_SIZE).clip(0, (cols, rows)).astype(int)
    high = np.ceil(box[2:] / BLOCK_SIZE).clip(0, (cols, rows)).astype(int)
    return int(low[1]), int(low[0]), int(high[1]), int(high[0])


def _iou(left: Float32, right: Float32) -> Float32:
    """``(N, M)`` intersection over union of ``(N, 4)`` and ``(M, 4)`` boxes."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1) for boxes in (left, right)
    ]
    union = areas[0][:, None] + areas[1][None, :] - shared
    iou: Float32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou
