"""`roi`: which crops leave the robot, and how their results come together."""

from __future__ import annotations

import numpy as np

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.cost import DenseCost
from fluxshard_core.baselines.roi import RegionsOfInterest, crops, joined
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.letterbox import Letterbox


def boxes(*corners: tuple[float, float, float, float]) -> np.typing.NDArray[np.float32]:
    return np.array(corners, dtype=np.float32).reshape(-1, 4)


def test_a_crop_is_the_box_with_a_margin_in_whole_cells() -> None:
    assert crops(boxes((100, 140, 120, 150)), 480, 864).tolist() == [[64, 96, 160, 192]]


def test_crops_stay_inside_the_frame() -> None:
    assert crops(boxes((0, 0, 10, 10)), 480, 864).tolist() == [[0, 0, 64, 64]]
    assert crops(boxes((850, 470, 864, 480)), 480, 864).tolist() == [[800, 416, 864, 480]]


def test_overlapping_crops_merge_until_none_overlap() -> None:
    # The hull of the first two, (0, 0, 192, 160), reaches the third; the last stays apart.
    found = crops(
        boxes((40, 40, 60, 60), (100, 80, 150, 120), (130, 10, 180, 20), (700, 300, 710, 310)),
        480,
        864,
    )
    assert sorted(found.tolist()) == [[0, 0, 224, 160], [640, 256, 768, 352]]


def test_nothing_seen_sends_and_finds_nothing() -> None:
    assert crops(boxes(), 480, 864).shape == (0, 4)
    assert len(joined([])) == 0


def test_joined_results_come_best_score_first() -> None:
    def found(*scores: float) -> Detections:
        return Detections(
            np.array([[score, 0, 1, 1] for score in scores], dtype=np.float32),
            np.array(scores, dtype=np.float32),
            np.zeros(len(scores), dtype=np.int32),
        )

    together = joined([found(0.75, 0.25), found(0.5)])
    assert together.scores.tolist() == [0.75, 0.5, 0.25]
    assert together.boxes[:, 0].tolist() == [0.75, 0.5, 0.25]


def test_both_networks_and_only_the_crops_are_paid_for(
    context: MethodContext, pan: list[Frame]
) -> None:
    small = Detector.load("yolo11n", random_seed=context.random_seed)
    result = RegionsOfInterest(context).process(pan[0])
    sent = crops(small.detect(pan[0].image, confidence=0.15).boxes, 64, 96)
    pixels = sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in sent.tolist())
    cost = DenseCost.of(small.network).multiply_accumulates(64, 96)
    for x1, y1, x2, y2 in sent.tolist():
        cost += context.cost.multiply_accumulates(y2 - y1, x2 - x1)
    assert result.executed == cost
    assert result.tx_bytes == wire_bytes(3 * pixels + 8 * len(sent), Letterbox.fit(64, 96))
    assert result.reuse_ratio == 1 - pixels / (64 * 96)
