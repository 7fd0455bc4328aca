"""How well a method's detections stand in for those of the dense run of the same weights.

A reference is scored only when the dense run is sure of it, and found again by a prediction far
less sure: any perturbation flips results near one threshold, and such flips would drown what a
method really loses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.detections import Detections, Float32, InstanceMask

REFERENCE_CONFIDENCE = 0.4
PREDICTION_CONFIDENCE = 0.15
ALARM_CONFIDENCE = 0.5
ALARM_IOU = 0.5

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FrameScore:
    """One frame: the best IoU each scored reference found, and the false alarms.

    ``mask_ious`` is empty when the reference has no masks.
    """

    box_ious: tuple[float, ...]
    mask_ious: tuple[float, ...]
    false_alarms: int


def score_frame(predicted: Detections, reference: Detections) -> FrameScore:
    """Score one frame's detections against the dense run's.

    References of confidence >= 0.4 take the best IoU, of boxes and of masks, with a prediction of
    the same class and confidence >= 0.15, or 0. A prediction of confidence >= 0.5 is a false alarm
    when no reference of its class and confidence >= 0.15 has a box IoU >= 0.5 with it. Both must
    have been decoded with a confidence threshold below 0.15.
    """
    ious = box_iou(reference.boxes, predicted.boxes)
    ious *= reference.class_ids[:, None] == predicted.class_ids
    scored = np.flatnonzero(reference.scores >= REFERENCE_CONFIDENCE)
    usable = predicted.scores >= PREDICTION_CONFIDENCE
    best = ious[:, usable].max(axis=1, initial=0.0)
    mask_ious = tuple(_best_mask_iou(int(index), predicted, reference) for index in scored)
    return FrameScore(
        box_ious=tuple(float(best[index]) for index in scored),
        mask_ious=mask_ious if reference.masks is not None else (),
        false_alarms=_false_alarms(ious, predicted, reference),
    )


def box_iou(left: Float32, right: Float32) -> Float32:
    """Return the ``(N, M)`` IoU of ``(N, 4)`` and ``(M, 4)`` boxes ``x1, y1, x2, y2``.

    Boxes without area have IoU 0 with everything.
    """
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    union = _area(left)[:, None] + _area(right)[None, :] - shared
    ious: Float32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ious


def mask_iou(left: InstanceMask, right: InstanceMask) -> float:
    """Return the IoU of two masks wherever their boxes are; 1 if both are empty."""
    x1, y1 = max(left.x, right.x), max(left.y, right.y)
    x2 = min(left.x + left.width, right.x + right.width)
    y2 = min(left.y + left.height, right.y + right.height)
    one, two = left.unpack(), right.unpack()
    overlap = (
        one[y1 - left.y : y2 - left.y, x1 - left.x : x2 - left.x]
        & two[y1 - right.y : y2 - right.y, x1 - right.x : x2 - right.x]
        if x2 > x1 and y2 > y1
        else np.zeros(0, dtype=np.bool_)
    )
    shared = int(np.count_nonzero(overlap))
    union = int(np.count_nonzero(one)) + int(np.count_nonzero(two)) - shared
    return shared / union if union else 1.0


def region_similarity(found: Detections, annotation: Bool) -> float:
    """Return DAVIS' J: the best IoU of an instance's mask with the annotated object.

    ``annotation`` is the object's ``(H, W)`` mask in original pixels. Instances of any class count
    if their confidence is >= 0.15 (Perazzi et al., A Benchmark Dataset and Evaluation Methodology
    for Video Object Segmentation, 2016).
    """
    target = InstanceMask.pack(0, 0, annotation)
    masks = found.masks or ()
    sure = found.scores >= PREDICTION_CONFIDENCE
    ious = [mask_iou(mask, target) for mask, usable in zip(masks, sure, strict=False) if usable]
    return max(ious, default=0.0)


def _area(boxes: Float32) -> Float32:
    area: Float32 = np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1)
    return area


def _best_mask_iou(index: int, predicted: Detections, reference: Detections) -> float:
    if reference.masks is None or predicted.masks is None:
        return 0.0
    usable = predicted.scores >= PREDICTION_CONFIDENCE
    usable &= predicted.class_ids == reference.class_ids[index]
    target = reference.masks[index]
    ious = (mask_iou(target, predicted.masks[other]) for other in np.flatnonzero(usable))
    return max(ious, default=0.0)


def _false_alarms(ious: Float32, predicted: Detections, reference: Detections) -> int:
    known = reference.scores >= PREDICTION_CONFIDENCE
    explained = ious[known].max(axis=0, initial=0.0) >= ALARM_IOU
    return int(np.count_nonzero((predicted.scores >= ALARM_CONFIDENCE) & ~explained))
