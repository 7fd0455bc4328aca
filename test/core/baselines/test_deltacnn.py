"""`deltacnn`: what it recomputes, sends and never loses."""

from __future__ import annotations

import math

import numpy as np

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.deltacnn import DeltaCnn
from fluxshard_core.baselines.edge_only import EdgeOnly
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.frame import Frame
from fluxshard_core.models.letterbox import Letterbox

LETTERBOX = Letterbox.fit(96, 128)
MASK_BYTES = 96 * 128 // 4 // 8


def brighter(frame: Frame, levels: int, size: int) -> Frame:
    """``frame`` with the square at (33, 17) some grey levels brighter."""
    image = frame.image.copy()
    image[33 : 33 + size, 17 : 17 + size] += np.uint8(levels)
    return Frame(image)


def dark(frame: Frame) -> Frame:
    return Frame(frame.image // 2)


def test_a_frame_that_repeats_costs_a_bit_mask(context: MethodContext, still: Frame) -> None:
    method = DeltaCnn(context)
    first, repeated = method.process(still), method.process(still)
    assert first.compute_ratio == 1.0
    assert first.tx_bytes == wire_bytes(MASK_BYTES + 96 * 128 * 3, LETTERBOX)
    assert repeated.executed == 0
    assert repeated.reuse_ratio == 1.0
    assert repeated.tx_bytes == wire_bytes(MASK_BYTES, LETTERBOX)
    assert np.array_equal(repeated.detections.boxes, first.detections.boxes)


def test_changed_pixels_travel_in_cells_of_two_by_two(context: MethodContext, still: Frame) -> None:
    method = DeltaCnn(context, 0.1)
    method.process(dark(still))
    result = method.process(brighter(dark(still), 60, size=4))
    # From the odd corner (33, 17) on, 4 pixels touch 3 cells each way.
    assert result.tx_bytes == wire_bytes(MASK_BYTES + 9 * 4 * 3, LETTERBOX)
    assert math.isclose(1 - result.reuse_ratio, 16 / (96 * 128))
    assert 0 < result.compute_ratio < 1


def test_without_thresholds_nothing_is_lost(context: MethodContext, pan: list[Frame]) -> None:
    images = [np.pad(frame.image, ((16, 16), (16, 16), (0, 0))) for frame in pan[:3]]
    method, dense = DeltaCnn(context, 0.0, 0.0), EdgeOnly(context)
    for image in images:
        found = method.process(Frame(image)).detections
        expected = dense.process(Frame(image)).detections
        assert np.allclose(found.boxes, expected.boxes, atol=1e-2)
        assert np.allclose(found.scores, expected.scores, atol=1e-4)


def test_small_differences_add_up_until_they_are_propagated(
    context: MethodContext, still: Frame
) -> None:
    method = DeltaCnn(context, input_threshold=12 / 255)
    method.process(dark(still))
    reused = [
        method.process(brighter(dark(still), levels, size=16)).reuse_ratio
        for levels in (5, 10, 15, 20)
    ]
    assert reused[:2] == [1.0, 1.0]
    assert reused[2] < 1.0, "15 levels since the value last propagated"
    assert reused[3] == 1.0, "5 levels since then"
