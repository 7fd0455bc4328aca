"""Methods by name, and what all of them promise."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.registry import METHODS, build
from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame

SPECIFICATIONS = (
    "edge_only",
    "full_offload:raw",
    "full_offload:jpeg:80",
    "full_offload:h264",
    "full_offload:h264_420:18",
    "coach:0.9",
    "deltacnn:0.02:0.1",
    "fluxshard:h264:22:0.05:0.02",
    "fluxshard_critical:h264:22",
    "fluxshard_whole:raw",
    "bounded:0.05:0.2",
    "motion_deltacnn",
    "roi",
    "keyframe_mv:2",
)


def test_every_method_is_tried_here() -> None:
    assert {name.split(":")[0] for name in SPECIFICATIONS} == set(METHODS)


@pytest.mark.parametrize("specification", SPECIFICATIONS)
def test_a_method_repeats_itself_after_a_reset(
    specification: str, context: MethodContext, pan: list[Frame]
) -> None:
    method = build(specification, context)
    first = [method.process(frame) for frame in pan[:2]]
    method.reset()
    again = [method.process(frame) for frame in pan[:2]]
    for one, two in zip(first, again, strict=True):
        assert np.array_equal(one.detections.boxes, two.detections.boxes)
        assert (one.executed, one.tx_bytes) == (two.executed, two.tx_bytes)
        assert one.dense == context.cost.multiply_accumulates(64, 96)
        assert 0.0 <= one.reuse_ratio <= 1.0
    assert first[0].executed > 0, "the first frame has nothing to reuse"


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        ("keyframes:2", "did you mean keyframe_mv"),
        ("nonsense", "Known: .*edge_only"),
        ("edge_only:2", "too many arguments; write edge_only"),
        ("keyframe_mv:two", r"keyframe_mv\[:K\]"),
        ("keyframe_mv:0", "use 1 or more"),
        ("full_offload:gif", "raw, jpeg, h264, h264_420"),
        ("full_offload:raw:3", "no quality"),
        ("full_offload:jpeg:0", "use 1 to 100"),
        ("full_offload:h264:99", "use 0 to 51"),
        ("coach:2", r"\(0, 1\]"),
        ("deltacnn:-1", "difference threshold"),
        ("motion_deltacnn:nan", "difference threshold"),
    ],
)
def test_a_bad_specification_says_what_to_write(
    specification: str, message: str, context: MethodContext
) -> None:
    with pytest.raises(InputError, match=message):
        build(specification, context)
