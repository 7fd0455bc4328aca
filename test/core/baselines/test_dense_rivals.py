"""`edge_only`, `full_offload` and `coach`: dense runs, and what travels."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.baselines.coach import Coach, structural_similarity
from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.edge_only import EdgeOnly
from fluxshard_core.baselines.full_offload import FullOffload
from fluxshard_core.frame import Frame

RAW_BYTES = 64 * 96 * 3
ENVELOPE = range(100, 500)  # header and metadata of one message


def test_the_edge_and_a_raw_upload_see_the_same(context: MethodContext, pan: list[Frame]) -> None:
    here = EdgeOnly(context).process(pan[0])
    there = FullOffload(context, "raw").process(pan[0])
    expected = context.detector.detect(pan[0].image, confidence=context.confidence)
    assert len(expected) > 0
    for result in (here, there):
        assert np.array_equal(result.detections.boxes, expected.boxes)
        assert (result.compute_ratio, result.reuse_ratio) == (1.0, 0.0)
    assert here.tx_bytes == 0
    assert there.tx_bytes - RAW_BYTES in ENVELOPE


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_a_lossy_upload_is_inferred_from_what_arrives(
    codec: str, context: MethodContext, pan: list[Frame]
) -> None:
    dense = EdgeOnly(context).process(pan[0])
    lossy = FullOffload(context, codec).process(pan[0])
    assert lossy.tx_bytes < RAW_BYTES / 2
    assert not np.array_equal(lossy.detections.scores, dense.detections.scores)


def test_coach_repeats_its_result_while_nothing_changes(
    context: MethodContext, pan: list[Frame]
) -> None:
    coach = Coach(context)
    first, repeated = coach.process(pan[0]), coach.process(pan[0])
    assert first.tx_bytes - RAW_BYTES // 4 - 192 in ENVELOPE
    assert repeated.detections is first.detections
    assert (repeated.executed, repeated.tx_bytes, repeated.reuse_ratio) == (0, 0, 1.0)
    changed = coach.process(pan[3])
    assert changed.executed == changed.dense
    assert changed.tx_bytes > 0


def test_structural_similarity_follows_its_formula() -> None:
    dark, bright = (np.full((32, 40), level, dtype=np.uint8) for level in (100, 150))
    c1 = (0.01 * 255) ** 2
    expected = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    assert structural_similarity(dark, bright) == pytest.approx(expected, abs=1e-3)
    assert structural_similarity(dark, dark) == pytest.approx(1.0)
    assert structural_similarity(dark, bright[:, :20]) == 0.0
