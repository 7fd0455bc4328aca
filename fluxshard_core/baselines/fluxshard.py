"""`fluxshard`: cached features moved along the motion, critical blocks recomputed per level."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections, Float32
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.network import network_input
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.motion.field import BLOCK_SIZE
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.policy import ReusePolicy
from fluxshard_core.reuse.salience import SPACING
from fluxshard_core.sparse.executor import Executor

_VECTOR_BYTES = 4
_CHANNELS = 3


class FluxShard:
    """The reuse policy over the block mode of the executor.

    The cloud would get, raw, the blocks recomputed at the finest level, a bit for each block and
    the motion field.
    """

    def __init__(
        self,
        context: MethodContext,
        background_threshold: float | None = None,
        fine_threshold: float | None = None,
        config: ReuseConfig | None = None,
    ) -> None:
        """Prepare; the two thresholds, where given, replace those of ``config``."""
        self._context = context
        config = config or ReuseConfig()
        if background_threshold is not None:
            config = replace(config, background_threshold=background_threshold)
        if fine_threshold is not None:
            config = replace(config, fine_threshold=fine_threshold)
        self._config = config
        self._motion = EncoderMotion()
        self._shape: tuple[int, ...] = ()

    def reset(self) -> None:
        """Forget all frames: the next one is computed whole."""
        self._motion.reset()
        self._shape = ()

    def process(self, frame: Frame) -> MethodResult:
        """Bring the features up to date where the policy says so, and decode them."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        if image.shape != self._shape:
            self._start(image.shape)
        motion, blocks = self._policy.decide(image, self._motion.next(image).field)
        run = self._executor.run(network_input(image), motion, blocks)
        confidence = min(self._context.confidence, self._config.salience_threshold)
        found = self._context.detector.decode(
            run.outputs, letterbox, confidence=confidence, iou=self._context.iou
        )
        boxes = to_input(found.boxes, letterbox)
        points = mask_points(found, letterbox)
        self._policy.settle(image, run.recomputed, boxes, found.scores, points)
        return MethodResult(
            above(found, self._context.confidence),
            executed=run.executed,
            dense=run.dense,
            reuse_ratio=run.reuse_ratio,
            tx_bytes=wire_bytes(shard_bytes(blocks[min(blocks)]), letterbox),
        )

    def _start(self, shape: tuple[int, ...]) -> None:
        plan = self._context.plan(shape[0], shape[1])
        self._executor = Executor(plan, self._context.backend)
        self._policy = ReusePolicy(plan.strides, self._config)
        self._shape = shape


def to_input(boxes: Float32, letterbox: Letterbox) -> Float32:
    """Map ``(N, 4)`` boxes in original pixels to those of the network's input."""
    scale = (
        letterbox.content_width / letterbox.original_width,
        letterbox.content_height / letterbox.original_height,
    )
    pads = np.array([letterbox.pad_x, letterbox.pad_y] * 2, dtype=np.float32)
    placed: Float32 = boxes * np.array(scale * 2, dtype=np.float32) + pads
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


def above(found: Detections, confidence: float) -> Detections:
    """Return the detections whose score is above ``confidence``; they come best first."""
    count = int(np.count_nonzero(found.scores > confidence))
    return Detections(
        found.boxes[:count],
        found.scores[:count],
        found.class_ids[:count],
        None if found.masks is None else found.masks[:count],
        None if found.keypoints is None else found.keypoints[:count],
    )


def shard_bytes(critical: npt.NDArray[np.bool_]) -> int:
    """Return the payload of a frame whose ``critical`` blocks ``(rows, cols)`` are sent."""
    pixels = int(np.count_nonzero(critical)) * BLOCK_SIZE * BLOCK_SIZE * _CHANNELS
    return pixels + critical.size * _VECTOR_BYTES + math.ceil(critical.size / 8)
