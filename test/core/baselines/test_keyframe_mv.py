"""`keyframe_mv`: its rhythm, and how results move in between."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.keyframe_mv import KeyframeMotion, median_motion
from fluxshard_core.frame import Frame
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField


def test_every_kth_frame_is_dense(context: MethodContext, pan: list[Frame]) -> None:
    method = KeyframeMotion(context, 3)
    assert [method.process(frame).compute_ratio for frame in pan] == [1, 0, 0, 1, 0]


def test_results_follow_a_pan(context: MethodContext, pan: list[Frame]) -> None:
    method = KeyframeMotion(context, 3)
    key = method.process(pan[0]).detections
    method.process(pan[1])
    moved = method.process(pan[2]).detections
    # Content moves against the camera: two frames of (-4, -2) pixels.
    shift = np.array([-8, -4, -8, -4])
    expected = (key.boxes + shift).clip(0, [96, 64, 96, 64])
    assert np.abs(key.boxes - expected).max(axis=1).min() >= 4
    assert np.abs(moved.boxes - expected).max(axis=1).mean() < 1


def field(vectors: list[list[tuple[int, int]]], valid: list[list[bool]]) -> MotionField:
    """Vectors in pixels, one per 16-pixel block."""
    return MotionField(np.array(vectors, dtype=np.int16) * np.int16(4), np.array(valid))


@pytest.mark.parametrize(
    ("box", "expected"),
    [((1, 1, 15, 15), (2, 0)), ((1, 1, 47, 15), (4, 0)), ((33, 17, 47, 31), (4, 0))],
    ids=["one block", "median of three", "no valid block: the whole field"],
)
def test_a_box_moves_by_the_median_of_its_blocks(
    box: tuple[int, ...], expected: tuple[int, int]
) -> None:
    motion = field(
        [[(2, 0), (4, 0), (9, 0)], [(3, 6), (5, 6), (77, 77)]],
        [[True, True, True], [True, True, False]],
    )
    boxes = np.array([box], dtype=np.float32)
    moved = median_motion(boxes, motion, Letterbox.fit(32, 64))
    assert moved.tolist() == [list(expected)]


def test_motion_is_told_in_pixels_of_the_original_image() -> None:
    letterbox = Letterbox.fit(64, 128, (32, 64))  # half the size
    motion = field([[(2, 1)] * 4] * 2, [[True] * 4] * 2)
    boxes = np.array([[10, 10, 50, 50]], dtype=np.float32)
    assert median_motion(boxes, motion, letterbox).tolist() == [[4, 2]]


def test_nothing_known_moves_nothing() -> None:
    motion = MotionField.invalid(32, 64)
    boxes = np.array([[1, 1, 9, 9]], dtype=np.float32)
    assert median_motion(boxes, motion, Letterbox.fit(32, 64)).tolist() == [[0, 0]]
