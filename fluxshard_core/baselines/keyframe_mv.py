"""`keyframe_mv`: dense every K-th frame, its results moved along the motion in between."""

from __future__ import annotations

import numpy as np

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.placement import Float64, place, translation
from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections, Float32
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.motion.field import MotionField


class KeyframeMotion:
    """The practical engineer's first try: everything on the robot, inference every ``interval``."""

    def __init__(self, context: MethodContext, interval: int = 2) -> None:
        if interval < 1:
            raise InputError(f"key frame interval is {interval}; use 1 or more frames")
        self._context = context
        self._interval = interval
        self._motion = EncoderMotion()
        self.reset()

    def reset(self) -> None:
        """Forget the results: the next frame is a key frame."""
        self._motion.reset()
        self._since_key = 0
        self._key = Detections()
        self._moved: Float64 = np.zeros((0, 2))

    def process(self, frame: Frame) -> MethodResult:
        """Infer a key frame, or move the last one's results by their median motion vectors."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        dense = self._context.cost.multiply_accumulates(*image.shape[:2])
        field = self._motion.next(image).field
        is_key = self._since_key == 0
        self._since_key = (self._since_key + 1) % self._interval
        if is_key:
            self._key = self._context.detect(image, letterbox)
            self._moved = np.zeros((len(self._key), 2))
            return MethodResult(self._key, dense, dense)
        boxes = self._key.boxes + np.tile(self._moved, 2).astype(np.float32)
        self._moved += median_motion(boxes, field, letterbox)
        transforms = np.array([translation(*shift) for shift in self._moved]).reshape(-1, 3, 3)
        found = place(self._key, transforms, *frame.image.shape[:2])
        return MethodResult(found, executed=0, dense=dense, reuse_ratio=1.0)


def median_motion(boxes: Float32, field: MotionField, letterbox: Letterbox) -> Float64:
    """Return how ``(N, 4)`` boxes of the last frame moved: ``(N, 2)`` ``(dx, dy)`` original pixels.

    The median vector of the valid blocks each box touches, or of the whole field where it touches
    none.
    """
    pixels = field.pixels()
    scale = letterbox.content_width / letterbox.original_width
    known = pixels[field.valid]
    overall = np.median(known, axis=0) if len(known) else np.zeros(2)
    moved = np.empty((len(boxes), 2))
    pad = np.array([letterbox.pad_x, letterbox.pad_y] * 2)
    for index, box in enumerate((boxes * scale + pad) / field.block_size):
        left, top = np.floor(box[:2]).clip(0).astype(int)
        right, bottom = np.ceil(box[2:]).clip(0).astype(int)
        inside = pixels[top:bottom, left:right][field.valid[top:bottom, left:right]]
        moved[index] = np.median(inside, axis=0) if len(inside) else overall
    moved /= scale
    return moved
