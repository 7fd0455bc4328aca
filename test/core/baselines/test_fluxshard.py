"""`fluxshard`: what it recomputes and sends, and in whose pixels it remembers objects."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.fluxshard import FluxShard, above, mask_points, shard_bytes, to_input
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox


def test_the_first_frame_is_dense_and_a_still_one_after_it_almost_free(
    context: MethodContext, still: Frame
) -> None:
    method = FluxShard(context)
    first, second = method.process(still), method.process(still)
    assert first.compute_ratio == 1
    assert second.compute_ratio < 0.1
    assert second.reuse_ratio == 1
    assert second.tx_bytes < first.tx_bytes / 10
    np.testing.assert_array_equal(second.detections.boxes, first.detections.boxes)


def test_without_any_tolerance_a_pan_is_as_good_as_dense(
    context: MethodContext, pan: list[Frame]
) -> None:
    method = FluxShard(context, 0.0, 0.0)
    for frame in pan:
        result = method.process(frame)
        image, letterbox = context.detector.preprocess(frame.image)
        dense = context.detect(image, letterbox)
        assert result.compute_ratio == 1
        np.testing.assert_allclose(result.detections.boxes, dense.boxes, atol=0.01)


def test_after_a_reset_the_next_frame_is_dense(context: MethodContext, still: Frame) -> None:
    method = FluxShard(context)
    method.process(still)
    method.reset()
    assert method.process(still).compute_ratio == 1


def test_another_size_starts_anew(context: MethodContext, still: Frame, pan: list[Frame]) -> None:
    method = FluxShard(context)
    method.process(still)
    assert method.process(pan[0]).compute_ratio == 1


def test_boxes_go_back_to_where_the_network_saw_them() -> None:
    letterbox = Letterbox.fit(100, 200, (96, 128))
    seen = np.array([[10, 40, 60, 70]], dtype=np.float32)
    original = letterbox.boxes_to_original(seen)
    np.testing.assert_allclose(to_input(original, letterbox), seen, rtol=1e-5)


@pytest.mark.parametrize("side", [(64, 128), (32, 64)], ids=["same size", "half size"])
def test_points_of_a_mask_lie_on_it_every_eight_pixels_of_the_input(side: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(64, 128, side)
    mask = np.zeros((32, 48), dtype=np.bool_)
    mask[:, 16:] = True
    found = Detections(masks=(InstanceMask.pack(24, 8, mask),))
    (points,) = mask_points(found, letterbox) or []
    scale = side[0] / 64
    assert points.min(axis=0).tolist() == [40 * scale, 8 * scale]
    assert sorted(set(np.diff(np.unique(points[:, 0])).tolist())) == [8]
    assert points.max(axis=0)[0] >= 72 * scale - 8


def test_a_mask_the_grid_misses_still_has_a_point() -> None:
    mask = np.zeros((5, 5), dtype=np.bool_)
    mask[3, 3] = True
    found = Detections(masks=(InstanceMask.pack(20, 30, mask),))
    assert mask_points(found, Letterbox.fit(64, 64))[0].tolist() == [[20, 30]]
    assert mask_points(Detections(), Letterbox.fit(64, 64)) is None


def test_weak_results_are_remembered_but_not_published() -> None:
    found = Detections(
        np.zeros((3, 4), np.float32),
        np.array([0.9, 0.3, 0.05], np.float32),
        np.zeros(3, np.int32),
        keypoints=np.zeros((3, 17, 3), np.float32),
    )
    kept = above(found, 0.1)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.3])
    assert len(kept.boxes) == len(kept.class_ids) == len(kept.keypoints) == 2


def test_a_block_costs_its_raw_pixels_and_every_block_a_bit_and_a_vector() -> None:
    critical = np.zeros((4, 6), dtype=bool)
    critical[1, 2:4] = True
    assert shard_bytes(critical) == 2 * 768 + 24 * 4 + 3
