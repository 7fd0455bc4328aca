"""Every message returns from the wire bit for bit; every broken frame has its own error."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from fluxshard_core.models.detections import Detections
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import wire
from fluxshard_core.offload.header import HEADER_BYTES, Header, Kind, WireLimits
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.wire_errors import (
    ContentError,
    KindError,
    LengthError,
    MagicError,
    MetadataError,
    SectionError,
    VersionError,
    WireError,
)


def _assert_same(actual: Any, expected: Any) -> None:
    """Compare field by field, arrays by dtype, shape and bytes."""
    assert type(actual) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
        assert actual.tobytes() == expected.tobytes()
    elif dataclasses.is_dataclass(expected):
        for field in dataclasses.fields(expected):
            _assert_same(getattr(actual, field.name), getattr(expected, field.name))
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for name, value in expected.items():
            _assert_same(actual[name], value)
    elif isinstance(expected, tuple):
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            _assert_same(one, other)
    else:
        assert actual == expected


def _frame_of(kind: Kind, metadata: Any, payload: bytes = b"", session: bytes = b"s") -> bytes:
    """A frame with honest lengths around whatever metadata and payload a peer may invent."""
    packed = msgspec.msgpack.encode(metadata)
    header = Header(kind, 1, len(session), len(packed), len(payload))
    return header.pack(WireLimits()) + session + packed + payload


def _result_metadata(*sections: tuple[str, str, list[int]]) -> dict[str, Any]:
    return {
        "epoch": 0,
        "stamp_ns": 0,
        "stage_ms": {},
        "error": "",
        "checksum": 0,
        "dense": True,
        "compute_ratio": 1.0,
        "sections": sections,
    }


@pytest.mark.parametrize("ids", [(), (0,), (0, 5, 23), tuple(range(24))], ids=len)
@pytest.mark.parametrize("with_motion", [False, True])
@pytest.mark.parametrize("dense", [False, True])
def test_shard_frames_return_bit_for_bit(
    make_frame: Callable[..., ShardFrame],
    random_motion: MotionField,
    random_critical: dict[int, npt.NDArray[np.bool_]],
    ids: tuple[int, ...],
    with_motion: bool,
    dense: bool,
) -> None:
    frame = make_frame(
        2**40,
        ids=ids,
        motion=random_motion if with_motion else None,
        critical={} if dense else random_critical,
        background=with_motion and not dense,
    )
    _assert_same(wire.decode(bytes(wire.encode(frame))), frame)


@pytest.mark.parametrize("count", [0, 1, 7])
@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("keypoints", [False, True])
def test_results_return_bit_for_bit(
    random_detections: Callable[..., Detections], count: int, masks: bool, keypoints: bool
) -> None:
    found = random_detections(count, masks=masks, keypoints=keypoints)
    result = InferenceResult(
        "röbot",
        2**32 - 1,
        0,
        5,
        found,
        {"model": 12.25, "decode": 0.5},
        checksum=2**32 - 1,
        dense=False,
        compute_ratio=0.25,
    )
    _assert_same(wire.decode(bytes(wire.encode(result))), result)


def test_failures_and_refusals_return(make_frame: Callable[..., ShardFrame]) -> None:
    failure = InferenceResult.failure(make_frame(), "no GPU left")
    _assert_same(wire.decode(bytes(wire.encode(failure))), failure)
    refusal = Refusal("full", "robot", 4)
    _assert_same(wire.decode(bytes(wire.encode(refusal))), refusal)


def test_strided_arrays_are_sent_by_value(random_detections: Callable[..., Detections]) -> None:
    found = random_detections(6)
    every_other = Detections(found.boxes[::2], found.scores[::2], found.class_ids[::-2])
    result = InferenceResult("robot", 0, 0, 0, every_other)
    _assert_same(wire.decode(bytes(wire.encode(result))), result)


def test_decoders_accept_any_buffer(make_frame: Callable[..., ShardFrame]) -> None:
    frame = make_frame()
    data = bytes(wire.encode(frame))
    for buffer in (data, bytearray(data), memoryview(data)):
        _assert_same(wire.decode(buffer), frame)


def test_the_largest_array_is_not_copied_to_be_sent(
    make_frame: Callable[..., ShardFrame],
) -> None:
    frame = make_frame()
    assert np.shares_memory(np.frombuffer(wire.encode(frame).tail, np.uint8), frame.shards.payload)


@pytest.mark.parametrize(
    ("offset", "value", "error", "named"),
    [
        (0, b"HTTP", MagicError, "magic"),
        (4, b"\x01", VersionError, "expected 4, got 1"),
        (5, b"\x09", KindError, "message kind"),
        (6, b"\x01\x00", KindError, "flags"),
        (16, struct.pack("<H", 129), LengthError, "session length"),
        (18, struct.pack("<I", 2**31), LengthError, "metadata length"),
        (22, struct.pack("<I", 2**32 - 1), LengthError, "payload length"),
        (18, struct.pack("<I", 3), LengthError, "body length"),
    ],
)
def test_each_header_field_is_checked(
    make_frame: Callable[..., ShardFrame],
    offset: int,
    value: bytes,
    error: type[WireError],
    named: str,
) -> None:
    data = bytearray(bytes(wire.encode(make_frame())))
    data[offset : offset + len(value)] = value
    with pytest.raises(error, match=named) as raised:
        wire.decode(data)
    assert raised.value.expected != raised.value.actual


def test_the_header_has_the_documented_size() -> None:
    assert HEADER_BYTES == 26


@pytest.mark.parametrize(
    ("metadata", "payload", "error", "named"),
    [
        (_result_metadata(("boxes", "O", [1])), bytes(8), SectionError, "dtype of 'boxes'"),
        (_result_metadata(("boxes", "f8", [1])), bytes(8), SectionError, "dtype of 'boxes'"),
        (_result_metadata(("boxes", "f4", [-1])), b"", SectionError, "shape of 'boxes'"),
        (_result_metadata(("boxes", "f4", [1] * 5)), bytes(4), SectionError, "shape"),
        (_result_metadata(("boxes", "f4", [0, 2**40])), b"", SectionError, "shape"),
        (_result_metadata(("boxes", "f4", [2**20, 4])), bytes(16), LengthError, "'boxes'"),
        (_result_metadata(("boxes", "f4", [1, 4])), bytes(17), LengthError, "payload length"),
        (_result_metadata(*[("a", "u1", [0])] * 2), b"", SectionError, "unique"),
        (_result_metadata(*[(str(i), "u1", [0]) for i in range(17)]), b"", SectionError, "16"),
        (_result_metadata(), b"", SectionError, "section names"),
        ({**_result_metadata(), "extra": 1}, b"", MetadataError, "extra"),
        ({**_result_metadata(), "epoch": "1"}, b"", MetadataError, "epoch"),
        ([1, 2], b"", MetadataError, "array"),
    ],
)
def test_metadata_a_peer_invents_is_refused_by_the_first_rule_it_breaks(
    metadata: Any, payload: bytes, error: type[WireError], named: str
) -> None:
    with pytest.raises(error, match=named):
        wire.decode(_frame_of(Kind.RESULT, metadata, payload))


def test_contents_out_of_range_are_refused_by_the_decoder() -> None:
    sections = (
        ("boxes", "f4", [1, 4]),
        ("scores", "f4", [1]),
        ("class_ids", "i4", [1]),
    )
    boxes_are_nan = np.full(5, np.nan, np.float32).tobytes() + bytes(4)
    with pytest.raises(ContentError, match="boxes must be finite"):
        wire.decode(_frame_of(Kind.RESULT, _result_metadata(*sections), boxes_are_nan))


@pytest.mark.parametrize("length", [0, 3])
def test_mask_bits_must_be_as_many_as_the_boxes_say(length: int) -> None:
    sections = (
        ("boxes", "f4", [1, 4]),
        ("scores", "f4", [1]),
        ("class_ids", "i4", [1]),
        ("mask_boxes", "i4", [1, 4]),
        ("mask_bits", "u1", [length]),
    )
    payload = bytes(24) + np.array([0, 0, 4, 4], "<i4").tobytes() + bytes(length)
    with pytest.raises(WireError, match="mask b"):
        wire.decode(_frame_of(Kind.RESULT, _result_metadata(*sections), payload))


def test_a_session_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(MetadataError, match="UTF-8"):
        wire.decode(_frame_of(Kind.REFUSAL, {"reason": "x"}, session=b"\xff\xfe"))


def test_a_message_above_the_cap_is_not_sent(make_frame: Callable[..., ShardFrame]) -> None:
    with pytest.raises(LengthError, match="payload length"):
        wire.encode(make_frame(), WireLimits(max_payload_bytes=100))
