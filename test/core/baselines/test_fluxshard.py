"""`fluxshard`: what it recomputes and sends."""

from __future__ import annotations

import numpy as np

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.fluxshard import FluxShard
from fluxshard_core.frame import Frame


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
    method = FluxShard(context, "raw", None, 0.0, 0.0)
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
