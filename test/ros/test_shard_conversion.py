"""Offload messages survive DDS's own serialisation bit for bit; broken ones are refused."""

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_msgs.msg import InferenceResult as InferenceResultMsg
from fluxshard_msgs.msg import ShardFrame as ShardFrameMsg
from fluxshard_ros.shard_conversion import (
    inference_result_message,
    inference_result_of,
    shard_frame_message,
    shard_frame_of,
)

RNG = np.random.default_rng(7)


def shard_frame(*, with_motion: bool, whole: bool = False) -> ShardFrame:
    image = RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    ids = np.array([0, 3, 7, 23], dtype=np.int32)
    valid = RNG.random((4, 6)) < 0.7
    vectors = RNG.integers(-200, 200, (4, 6, 2), dtype=np.int16)
    motion = MotionField(np.where(valid[..., None], vectors, 0).astype(np.int16), valid)
    critical = {8: RNG.random((4, 6)) < 0.3, 32: RNG.random((4, 6)) < 0.6}
    if whole:
        critical = {stride: np.ones_like(blocks) for stride, blocks in critical.items()}
    return ShardFrame(
        session="robot",
        epoch=3,
        number=2**40,
        stamp_ns=1_700_000_000_123_456_789,
        model_hash="0123abcd",
        letterbox=Letterbox.fit(61, 90),
        confidence=0.3,
        iou=0.7,
        shards=shard_codec.encode(image, ids),
        motion=motion if with_motion else None,
        critical=critical if with_motion else {},
        background=with_motion,
    )


def inference_result(count: int, *, masks: bool, keypoints: bool) -> InferenceResult:
    sizes = RNG.integers(1, 40, (count, 2))
    detections = Detections(
        boxes=RNG.random((count, 4), dtype=np.float32) * 100,
        scores=np.sort(RNG.random(count, dtype=np.float32))[::-1].copy(),
        class_ids=RNG.integers(0, 80, count, dtype=np.int32),
        masks=tuple(InstanceMask.pack(1, 2, RNG.random((h, w)) < 0.5) for h, w in sizes)
        if masks
        else None,
        keypoints=RNG.random((count, 17, 3), dtype=np.float32) if keypoints else None,
    )
    return InferenceResult(
        "robot",
        1,
        5,
        17,
        detections,
        {"infer": 12.5, "decode": 0.25},
        checksum=2**32 - 1,
        dense=False,
        compute_ratio=0.3,
    )


@pytest.mark.parametrize(("with_motion", "whole"), [(False, False), (True, False), (True, True)])
def test_a_shard_frame_comes_back_as_it_was(with_motion: bool, whole: bool) -> None:
    frame = shard_frame(with_motion=with_motion, whole=whole)
    raw = serialize_message(shard_frame_message(frame))
    back = shard_frame_of(deserialize_message(raw, ShardFrameMsg))
    names = (
        "session",
        "epoch",
        "number",
        "stamp_ns",
        "model_hash",
        "letterbox",
        "confidence",
        "iou",
        "background",
    )
    assert all(getattr(back, name) == getattr(frame, name) for name in names)
    assert np.array_equal(back.shards.ids, frame.shards.ids)
    assert np.array_equal(back.shards.payload, frame.shards.payload)
    assert list(back.critical) == list(frame.critical)
    for stride, blocks in frame.critical.items():
        assert np.array_equal(back.critical[stride], blocks)
    if with_motion:
        assert back.motion is not None
        assert np.array_equal(back.motion.vectors, frame.motion.vectors)
        assert np.array_equal(back.motion.valid, frame.motion.valid)
    else:
        assert back.motion is None


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("keypoints", [False, True])
def test_an_inference_result_comes_back_as_it_was(count: int, masks: bool, keypoints: bool) -> None:
    result = inference_result(count, masks=masks, keypoints=keypoints)
    raw = serialize_message(inference_result_message(result))
    back = inference_result_of(deserialize_message(raw, InferenceResultMsg))
    found, expected = back.detections, result.detections
    assert (back.session, back.epoch, back.number) == ("robot", 1, 5)
    assert back.stage_ms == result.stage_ms
    assert (back.checksum, back.dense, back.compute_ratio) == (2**32 - 1, False, 0.3)
    for name in ("boxes", "scores", "class_ids"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    if masks:
        pairs = zip(found.masks, expected.masks, strict=True)
        assert all(np.array_equal(one.unpack(), two.unpack()) for one, two in pairs)
    else:
        assert found.masks is None
    if keypoints:
        assert np.array_equal(found.keypoints, expected.keypoints)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("blocks", []),
        ("blocks", [5, 4]),
        ("strides", [8]),
        ("strides", [0] * 9),
        ("codec", "none such"),
        ("block_size", 0),
    ],
)
def test_broken_shards_are_refused(field: str, value: object) -> None:
    message = shard_frame_message(shard_frame(with_motion=False))
    setattr(message.shards, field, value)
    with pytest.raises(InputError):
        shard_frame_of(message)


def test_a_motion_field_of_the_wrong_size_is_refused() -> None:
    message = shard_frame_message(shard_frame(with_motion=True))
    message.motion_block_size = 8
    with pytest.raises(InputError, match="motion field"):
        shard_frame_of(message)


@pytest.mark.parametrize("field", ["boxes", "mask_boxes", "mask_bits", "keypoints"])
def test_an_answer_whose_arrays_do_not_fit_is_refused(field: str) -> None:
    message = inference_result_message(inference_result(3, masks=True, keypoints=True))
    values = getattr(message, field)
    setattr(message, field, values[:-1])
    with pytest.raises(InputError):
        inference_result_of(message)
