"""Whatever bytes arrive, a decoder returns a valid message or raises a ``WireError``.

``FLUXSHARD_FUZZ_EXAMPLES`` sets the number of cases of each test (default 300).
"""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxshard_core.models.detections import Detections
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import wire
from fluxshard_core.offload.header import Header, Kind, WireLimits
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.wire_errors import WireError

MANY = settings(
    max_examples=int(os.environ.get("FLUXSHARD_FUZZ_EXAMPLES", "300")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.integers(0, 9)),
    min_size=1,
    max_size=6,
)
SIDES = st.one_of(st.integers(-1, 6), st.integers())
SECTION = st.tuples(
    st.sampled_from(["boxes", "scores", "class_ids", "keypoints", "mask_boxes", "mask_bits"]),
    st.sampled_from(["u1", "i2", "i4", "f4", "f8", "O"]),
    st.lists(SIDES, max_size=5),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def valid_frames(
    make_frame: Callable[..., ShardFrame],
    random_motion: MotionField,
    random_critical: dict[int, npt.NDArray[np.bool_]],
    random_detections: Callable[..., Detections],
) -> list[bytes]:
    """One frame of every kind, with every optional part."""
    found = random_detections(3, masks=True, keypoints=True)
    messages = [
        make_frame(motion=random_motion, critical=random_critical),
        make_frame(ids=()),
        InferenceResult("robot", 1, 2, 3, found, {"model": 1.0}),
        InferenceResult("robot", 1, 2, 3, error="gone"),
        Refusal("full"),
    ]
    return [bytes(wire.encode(message)) for message in messages]


def _decode_or_refuse(data: bytes | bytearray) -> None:
    """Anything but a ``WireError`` fails the test; a message must survive being sent again."""
    try:
        message = wire.decode(data)
    except WireError:
        return
    wire.decode(bytes(wire.encode(message)))


@given(st.binary(max_size=300))
@MANY
def test_random_bytes(data: bytes) -> None:
    _decode_or_refuse(data)


@given(choice=st.integers(0, 4), edits=EDITS)
@MANY
def test_valid_frames_with_bytes_changed_inserted_and_removed(
    valid_frames: list[bytes], choice: int, edits: list[tuple[float, int, int]]
) -> None:
    data = bytearray(valid_frames[choice])
    for place, value, action in edits:
        index = int(place * len(data))
        if action == 0:
            data.insert(index, value)
        elif action == 1 and len(data) > 1:
            del data[index]
        else:
            data[index] = value
    _decode_or_refuse(data)


@given(kind=st.sampled_from(Kind), metadata=JSON, payload=st.binary(max_size=64))
@MANY
def test_honest_lengths_around_arbitrary_metadata(
    kind: Kind, metadata: object, payload: bytes
) -> None:
    packed = msgspec.msgpack.encode(metadata)
    header = Header(kind, 1, 1, len(packed), len(payload))
    _decode_or_refuse(header.pack(WireLimits()) + b"s" + packed + payload)


@given(sections=st.lists(SECTION, max_size=7), payload=st.binary(max_size=64))
@MANY
def test_results_with_sections_of_arbitrary_shape(
    sections: list[tuple[str, str, list[int]]], payload: bytes
) -> None:
    in_range = [(n, d, [max(-(2**63), min(s, 2**63)) for s in shape]) for n, d, shape in sections]
    metadata = {
        "epoch": 0,
        "stamp_ns": 0,
        "stage_ms": {},
        "error": "",
        "checksum": 0,
        "dense": False,
        "compute_ratio": 0.5,
        "sections": in_range,
    }
    packed = msgspec.msgpack.encode(metadata)
    header = Header(Kind.RESULT, 1, 1, len(packed), len(payload))
    _decode_or_refuse(header.pack(WireLimits()) + b"s" + packed + payload)


def test_frames_cut_at_every_byte_are_refused(valid_frames: list[bytes]) -> None:
    for data in valid_frames:
        for end in range(len(data)):
            with pytest.raises(WireError):
                wire.decode(data[:end])


def test_frames_with_anything_after_them_are_refused(valid_frames: list[bytes]) -> None:
    for data in valid_frames:
        with pytest.raises(WireError):
            wire.decode(data + b"\0")
