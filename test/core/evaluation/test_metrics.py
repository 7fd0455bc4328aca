"""Every metric against figures worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fluxshard_core.evaluation.metrics import (
    box_iou,
    mask_iou,
    region_similarity,
    score_frame,
)
from fluxshard_core.models.detections import Detections, InstanceMask

Box = tuple[float, float, float, float]
SQUARE: Box = (10, 10, 20, 20)


def detections(
    *boxes: Box, scores: Sequence[float] = (), classes: Sequence[int] = (), masks: bool = False
) -> Detections:
    """Boxes of confidence 0.9 and class 0 unless said otherwise; masks fill their boxes."""
    count = len(boxes)
    return Detections(
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(scores or [0.9] * count, dtype=np.float32),
        np.array(classes or [0] * count, dtype=np.int32),
        masks=tuple(filled(box) for box in boxes) if masks else None,
    )


def filled(box: Box) -> InstanceMask:
    x1, y1, x2, y2 = (round(side) for side in box)
    return InstanceMask.pack(x1, y1, np.ones((y2 - y1, x2 - x1), dtype=np.bool_))


def test_identical_detections_keep_everything() -> None:
    found = detections(SQUARE, (40, 10, 70, 50), classes=(0, 7), masks=True)
    score = score_frame(found, found)
    assert score.box_ious == (1.0, 1.0)
    assert score.mask_ious == (1.0, 1.0)
    assert score.false_alarms == 0


def test_a_shifted_box_scores_its_iou() -> None:
    # 10 x 10 moved by (2, 1): 8 * 9 shared, 200 - 72 in the union.
    score = score_frame(detections((12, 11, 22, 21)), detections(SQUARE))
    assert score.box_ious == (pytest.approx(72 / 128),)


def test_a_shifted_mask_scores_its_iou() -> None:
    moved = detections((12, 11, 22, 21), masks=True)
    score = score_frame(moved, detections(SQUARE, masks=True))
    assert score.mask_ious == (pytest.approx(72 / 128),)


def test_no_prediction_scores_zero() -> None:
    score = score_frame(detections(), detections(SQUARE, (40, 10, 70, 50), masks=True))
    assert score.box_ious == (0.0, 0.0)
    assert score.mask_ious == (0.0, 0.0)
    assert score.false_alarms == 0


def test_another_class_in_the_same_place_scores_zero_and_is_a_false_alarm() -> None:
    found = detections(SQUARE, classes=(1,), masks=True)
    score = score_frame(found, detections(SQUARE, classes=(0,), masks=True))
    assert (score.box_ious, score.mask_ious, score.false_alarms) == ((0.0,), (0.0,), 1)


def test_the_best_of_several_predictions_counts() -> None:
    found = detections((12, 11, 22, 21), (11, 10, 21, 20), (90, 90, 95, 95))
    score = score_frame(found, detections(SQUARE))
    assert score.box_ious == (pytest.approx(90 / 110),)


@pytest.mark.parametrize(
    ("confidence", "expected"), [(0.16, (1.0,)), (0.14, (0.0,))], ids=["enough", "too low"]
)
def test_predictions_need_only_little_confidence(
    confidence: float, expected: tuple[float, ...]
) -> None:
    found = detections(SQUARE, scores=(confidence,))
    assert score_frame(found, detections(SQUARE)).box_ious == expected


def test_unsure_references_are_not_scored() -> None:
    reference = detections(SQUARE, (40, 10, 70, 50), scores=(0.45, 0.39))
    assert score_frame(detections(), reference).box_ious == (0.0,)


def test_false_alarms_are_the_sure_predictions_that_nothing_explains() -> None:
    reference = detections(SQUARE, (100, 0, 110, 10), scores=(0.2, 0.1))
    found = detections(
        (10, 10, 20, 15),  # IoU 0.5 with an unsure reference: explained
        (10, 10, 20, 14),  # IoU 0.4: not explained
        (100, 0, 110, 10),  # on a reference below 0.15: not explained
        (200, 0, 210, 10),  # on nothing: not explained
        (300, 0, 310, 10),  # on nothing, but unsure
        scores=(0.9, 0.9, 0.9, 0.5, 0.49),
    )
    assert score_frame(found, reference).false_alarms == 3


def test_masks_in_different_boxes_are_compared_where_they_overlap() -> None:
    # An L of 3 cells at (1, 1) and a full 2 x 2 square at (2, 2): one cell, (2, 2), is shared.
    ell = InstanceMask.pack(1, 1, np.array([[True, False], [True, True]]))
    square = InstanceMask.pack(2, 2, np.ones((2, 2), dtype=np.bool_))
    assert mask_iou(ell, square) == pytest.approx(1 / 6)
    assert mask_iou(square, ell) == pytest.approx(1 / 6)
    assert mask_iou(ell, InstanceMask.pack(3, 1, np.ones((1, 1), dtype=np.bool_))) == 0.0


def test_two_empty_masks_agree_and_one_agrees_with_nothing() -> None:
    empty = InstanceMask.pack(0, 0, np.zeros((3, 4), dtype=np.bool_))
    elsewhere = InstanceMask.pack(50, 50, np.zeros((2, 2), dtype=np.bool_))
    assert mask_iou(empty, elsewhere) == 1.0
    assert mask_iou(empty, filled((0, 0, 2, 2))) == 0.0


def test_touching_and_empty_boxes_share_nothing() -> None:
    boxes = np.array([SQUARE, (20, 10, 30, 20), (15, 15, 15, 15)], dtype=np.float32)
    assert box_iou(boxes, boxes) == pytest.approx(np.diag([1.0, 1.0, 0.0]))


def test_region_similarity_is_the_best_sure_instance_of_any_class() -> None:
    annotation = np.zeros((30, 40), dtype=np.bool_)
    annotation[10:20, 10:20] = True
    found = detections(SQUARE, (12, 11, 22, 21), scores=(0.1, 0.3), classes=(0, 5), masks=True)
    assert region_similarity(found, annotation) == pytest.approx(72 / 128)
    assert region_similarity(detections(masks=True), annotation) == 0.0
