"""A message that exists is valid: every field out of range is refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload.messages import BlockShards, InferenceResult, Refusal, ShardFrame

BYTES = np.zeros(4, dtype=np.uint8)


def _ids(*ids: int) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(ids, dtype=np.int32)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"codec": "bmp"}, "codec 'bmp'"),
        ({"ids": _ids(3, 3)}, "ascending and unique"),
        ({"ids": _ids(4, 3)}, "ascending and unique"),
        ({"ids": _ids(-1, 3)}, "negative"),
        ({"ids": np.array([1, 2])}, "int64"),
        ({"ids": _ids(1, 2).reshape(1, 2)}, r"shape \(1, 2\)"),
        ({"payload": BYTES.astype(np.int8)}, "payload must be uint8"),
        ({"block_size": 0}, "block_size"),
        ({"block_size": True}, "block_size"),
    ],
)
def test_shards_that_cannot_be_are_refused(change: dict[str, Any], named: str) -> None:
    fields = {"ids": _ids(1, 2), "codec": "raw", "payload": BYTES, "block_size": 16, **change}
    with pytest.raises(InputError, match=named):
        BlockShards(**fields)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"session": ""}, "session"),
        ({"session": "x" * 129}, "session"),
        ({"session": "\ud800"}, "not valid Unicode"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": 2**32}, "epoch"),
        ({"number": 2**63}, "number"),
        ({"number": 1.5}, "number"),
        ({"stamp_ns": -1}, "stamp_ns"),
        ({"model_hash": ""}, "model_hash"),
        ({"confidence": 1.1}, "confidence"),
        ({"iou": float("nan")}, "iou"),
    ],
)
def test_frames_out_of_range_are_refused(
    make_frame: Callable[..., ShardFrame], change: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        dataclasses.replace(make_frame(), **change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"input_height": 65}, "does not divide"),
        ({"input_height": 0}, "input_height"),
        ({"input_width": 10**6}, "input_width"),
        ({"original_width": -3}, "original_width"),
        ({"scale": 0.0}, "scale"),
        ({"scale": float("inf")}, "scale"),
        ({"scale": float("nan")}, "scale"),
        ({"scale": 7.0}, "overflows"),
        ({"pad_x": -1}, "pad_x"),
        ({"pad_y": 60}, "pad_y"),
    ],
)
def test_letterboxes_that_no_image_has_are_refused(
    make_frame: Callable[..., ShardFrame], change: dict[str, Any], named: str
) -> None:
    frame = make_frame()
    letterbox = dataclasses.replace(frame.letterbox, **change)
    with pytest.raises(InputError, match=named):
        dataclasses.replace(frame, letterbox=letterbox)


def test_a_whole_frame_is_no_background_work(make_frame: Callable[..., ShardFrame]) -> None:
    with pytest.raises(InputError, match="background"):
        make_frame(background=True)


def test_ids_beyond_the_grid_of_the_input_are_refused(
    make_frame: Callable[..., ShardFrame],
) -> None:
    frame = make_frame()
    shards = BlockShards(_ids(0, 24), "raw", BYTES)
    with pytest.raises(InputError, match="id 24 is outside the 4x6 grid"):
        dataclasses.replace(frame, shards=shards)


def test_motion_of_another_input_size_is_refused(make_frame: Callable[..., ShardFrame]) -> None:
    with pytest.raises(InputError, match="5x6 blocks"):
        make_frame(motion=MotionField.zero(80, 96))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"boxes": np.zeros((2, 3), np.float32)}, "boxes"),
        ({"boxes": np.full((2, 4), np.nan, np.float32)}, "boxes must be finite"),
        ({"boxes": np.zeros((2, 4))}, "float64"),
        ({"scores": np.array([0.5, 1.5], np.float32)}, "scores"),
        ({"scores": np.array([0.5, np.nan], np.float32)}, "scores"),
        ({"class_ids": np.zeros(1, np.int32)}, "class_ids"),
        ({"keypoints": np.zeros((2, 17, 2), np.float32)}, "keypoints"),
        ({"keypoints": np.full((2, 1, 3), np.inf, np.float32)}, "keypoints must be finite"),
        ({"masks": ()}, "0 masks for 2"),
        ({"masks": (InstanceMask(0, 0, 9, 1, BYTES[:1]),) * 2}, "mask bits"),
        ({"masks": (InstanceMask(0, 0, -1, 1, BYTES[:0]),) * 2}, "mask width"),
    ],
)
def test_detections_that_disagree_or_are_not_numbers_are_refused(
    random_detections: Callable[..., Detections], change: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named):
        InferenceResult("robot", 0, 0, 0, dataclasses.replace(random_detections(2), **change))


def test_stage_times_must_be_finite_and_few() -> None:
    with pytest.raises(InputError, match="stage 'model'"):
        InferenceResult("robot", 0, 0, 0, stage_ms={"model": float("inf")})
    with pytest.raises(InputError, match="65 stages"):
        InferenceResult("robot", 0, 0, 0, stage_ms={str(i): 1.0 for i in range(65)})


def test_a_failure_names_its_frame_and_shortens_an_endless_reason(
    make_frame: Callable[..., ShardFrame],
) -> None:
    frame = make_frame(9)
    failure = InferenceResult.failure(frame, "é" * 5000)
    assert (failure.session, failure.epoch, failure.number) == ("robot", 3, 9)
    assert failure.stamp_ns == frame.stamp_ns
    assert set(failure.error) == {"é"}
    assert len(failure.error.encode()) <= 2048
    assert InferenceResult.failure(frame, "").error == "unknown error"


def test_a_refusal_needs_a_reason() -> None:
    with pytest.raises(InputError, match="reason"):
        Refusal("")
