"""`roi`: a small detector on the robot finds boxes; only those crops go to the cloud."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.cost import DenseCost
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.placement import place, to_original, translation
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections, Float32, UInt8
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.letterbox import INPUT_MULTIPLE, Letterbox

SMALL_MODEL = "yolo11n"
SMALL_CONFIDENCE = 0.15
MARGIN = 32
"""Pixels of surroundings the evaluated network sees around a box."""
_RECTANGLE_BYTES = 8

Int = npt.NDArray[np.int64]


class RegionsOfInterest:
    """Crops of the network input: boxes grown by a margin, to whole cells, merged on overlap.

    The evaluated network runs dense on every crop. ``small_model`` names the detector on the
    robot; what it executes counts.
    """

    def __init__(self, context: MethodContext, small_model: str = SMALL_MODEL) -> None:
        self._context = context
        self._small = Detector.load(small_model, random_seed=context.random_seed)
        self._small_cost = DenseCost.of(self._small.network)

    def reset(self) -> None:
        """Nothing to forget: every frame stands alone."""

    def process(self, frame: Frame) -> MethodResult:
        """Find regions in one frame and infer each."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        height, width = image.shape[:2]
        seen = self._small.detect(image, confidence=SMALL_CONFIDENCE)
        executed = self._small_cost.multiply_accumulates(height, width)
        results, pixels = [], 0
        for left, top, right, bottom in crops(seen.boxes, height, width).tolist():
            found = self._infer(image[top:bottom, left:right])
            transform = to_original(letterbox) @ translation(left, top)
            transforms = np.broadcast_to(transform, (len(found), 3, 3))
            results.append(place(found, transforms, *frame.image.shape[:2]))
            executed += self._context.cost.multiply_accumulates(bottom - top, right - left)
            pixels += (bottom - top) * (right - left)
        payload = 3 * pixels + _RECTANGLE_BYTES * len(results)
        return MethodResult(
            joined(results),
            executed=executed,
            dense=self._context.cost.multiply_accumulates(height, width),
            reuse_ratio=1.0 - pixels / (height * width),
            tx_bytes=wire_bytes(payload, letterbox),
        )

    def _infer(self, crop: UInt8) -> Detections:
        return self._context.detect(np.ascontiguousarray(crop), Letterbox.fit(*crop.shape[:2]))


def crops(boxes: Float32, height: int, width: int) -> Int:
    """Return disjoint rectangles ``(M, 4)`` ``x1, y1, x2, y2`` that hold all ``(N, 4)`` boxes.

    Sides are multiples of 32 pixels inside a ``height x width`` input, whose sides are too.
    """
    cell = INPUT_MULTIPLE
    low = np.floor((boxes[:, :2] - MARGIN) / cell).astype(np.int64)
    high = np.ceil((boxes[:, 2:] + MARGIN) / cell).astype(np.int64)
    limits = np.array([width // cell, height // cell])
    rectangles = np.concatenate([low.clip(0, limits), high.clip(0, limits)], axis=1)
    return _disjoint(rectangles) * cell


def joined(parts: Sequence[Detections]) -> Detections:
    """Return the instances of all parts as one, best score first."""
    if not parts:
        return Detections()
    scores = np.concatenate([part.scores for part in parts])
    order = np.argsort(-scores, kind="stable")
    masks = [mask for part in parts for mask in part.masks or ()]
    keypoints = [part.keypoints for part in parts if part.keypoints is not None]
    return Detections(
        np.concatenate([part.boxes for part in parts])[order],
        scores[order],
        np.concatenate([part.class_ids for part in parts])[order],
        tuple(masks[index] for index in order) if len(masks) == len(order) else None,
        np.concatenate(keypoints)[order] if keypoints else None,
    )


def _disjoint(rectangles: Int) -> Int:
    """Merge rectangles that share area into their hull until none do."""
    left: list[Int] = list(rectangles)
    done: list[Int] = []
    while left:
        one = left.pop()
        others = np.array([*left, *done]).reshape(-1, 4)
        shares = (np.minimum(one[2:], others[:, 2:]) > np.maximum(one[:2], others[:, :2])).all(1)
        if not shares.any():
            done.append(one)
            continue
        together = np.vstack([one, others[shares]])
        hull = np.concatenate([together[:, :2].min(axis=0), together[:, 2:].max(axis=0)])
        left, done = [*others[~shares], hull], []
    return np.array(done, dtype=np.int64).reshape(-1, 4)
