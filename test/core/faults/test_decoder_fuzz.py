"""Every decoder of what a peer sends: a valid result or one of our errors, whatever the bytes.

``FLUXSHARD_FUZZ_EXAMPLES`` sets the number of cases of each (default 100). Whole frames and the
codecs' payloads are in ``test/core/offload``: ``test_wire_fuzz.py`` and ``test_proxy_fuzz.py``.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import block_maps, motion_packing, wire
from fluxshard_core.offload.framing import FrameProtocol, Traffic
from fluxshard_core.offload.header import HEADER_BYTES, Header, WireLimits
from fluxshard_core.offload.inflate import inflate
from fluxshard_core.offload.messages import ShardFrame
from fluxshard_core.offload.metadata import (
    RefusalMetadata,
    ResultMetadata,
    ShardFrameMetadata,
    decode_metadata,
)
from fluxshard_core.offload.sections import Section, unpack
from fluxshard_core.offload.wire_errors import WireError

EXAMPLES = int(os.environ.get("FLUXSHARD_FUZZ_EXAMPLES", "100"))
HEIGHT, WIDTH = 64, 96
LETTERBOX = Letterbox.fit(HEIGHT, WIDTH, (HEIGHT, WIDTH))
UInt8 = npt.NDArray[np.uint8]

MANY = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255), st.integers(0, 9)),
    max_size=8,
)


def _edited(valid: bytes, edits: list[tuple[float, int, int]]) -> bytes:
    """Change, insert and remove bytes, and cut off what is left behind a place."""
    data = bytearray(valid)
    for place, value, action in edits:
        index = int(place * len(data))
        if action == 0:
            data.insert(index, value)
        elif action == 1 and data:
            del data[index]
        elif action == 2:
            del data[index:]
        elif data:
            data[index] = value
    return bytes(data)


def _array(data: bytes) -> UInt8:
    return np.frombuffer(data, dtype=np.uint8)


@given(edits=EDITS, strides=st.lists(st.sampled_from([1, 2, 4, 8, 16, 32]), max_size=4))
@MANY
def test_block_maps(
    frames_of_every_kind: dict[str, bytes], edits: list[tuple[float, int, int]], strides: list[int]
) -> None:
    frame = wire.decode(frames_of_every_kind["SHARD_FRAME"])
    assert isinstance(frame, ShardFrame)
    data = _array(_edited(bytes(block_maps.pack(frame)), edits))
    try:
        ids, critical = block_maps.unpack(data, frame.letterbox, 16, tuple(strides))
    except InputError:
        return
    assert ids.dtype == np.int32
    assert len(ids) <= 8
    assert all(level.shape == (2, 4) for level in critical.values())


@given(edits=EDITS, seed=st.integers(0, 20))
@MANY
def test_motion_fields(edits: list[tuple[float, int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    valid = rng.random((HEIGHT // 16, WIDTH // 16)) > 0.3
    vectors = rng.integers(-100, 100, (*valid.shape, 2)).astype(np.int16)
    vectors[~valid] = 0
    packed = bytes(motion_packing.pack(MotionField(vectors, valid)))
    try:
        field = motion_packing.unpack(_array(_edited(packed, edits)), LETTERBOX, 16)
    except InputError:
        return
    assert field.vectors.shape == vectors.shape


@given(data=st.binary(max_size=200), most=st.integers(0, 5000))
@MANY
def test_inflated_bytes_never_exceed_what_was_allowed(data: bytes, most: int) -> None:
    try:
        assert len(inflate("data", _array(data), most)) <= most
    except InputError:
        return


@given(data=st.binary(min_size=HEADER_BYTES, max_size=HEADER_BYTES), honest=st.integers(0, 8))
@MANY
def test_headers(data: bytes, honest: int) -> None:
    good = Header.unpack(Header(1, 1, 1, 1, 1).pack(WireLimits()), WireLimits())  # type: ignore[arg-type]
    try:
        header = Header.unpack(good.pack(WireLimits())[:honest] + data[honest:], WireLimits())
    except WireError:
        return
    assert header.body_bytes <= 128 + 64 * 1024 + 64 * 2**20


@given(data=st.binary(max_size=200), edits=EDITS)
@MANY
@pytest.mark.parametrize("kind", [ShardFrameMetadata, ResultMetadata, RefusalMetadata])
def test_metadata(
    frames_of_every_kind: dict[str, bytes],
    kind: type[ShardFrameMetadata],
    data: bytes,
    edits: list[tuple[float, int, int]],
) -> None:
    frame = frames_of_every_kind[
        {"ShardFrameMetadata": "SHARD_FRAME", "ResultMetadata": "RESULT"}.get(
            kind.__name__, "REFUSAL"
        )
    ]
    header = Header.unpack(frame[:HEADER_BYTES], WireLimits())
    start = HEADER_BYTES + header.session_bytes
    valid = frame[start : start + header.metadata_bytes]
    for candidate in (data, _edited(valid, edits)):
        try:
            assert isinstance(decode_metadata(memoryview(candidate), kind), kind)
        except WireError:
            continue


@given(
    sections=st.lists(
        st.tuples(
            st.text(max_size=3),
            st.sampled_from(["u1", "i2", "i4", "f4", "f8", "O", ""]),
            st.lists(st.integers(-1, 8) | st.integers(), max_size=5),
        ),
        max_size=20,
    ),
    payload=st.binary(max_size=100),
)
@MANY
def test_sections(sections: list[tuple[str, str, list[int]]], payload: bytes) -> None:
    declared = [Section(name, dtype, tuple(shape)) for name, dtype, shape in sections]
    try:
        arrays = unpack(declared, memoryview(payload))
    except WireError:
        return
    assert sum(array.nbytes for array in arrays.values()) == len(payload)


class _Reader(FrameProtocol):
    """Counts what a stream is made of."""

    def __init__(self) -> None:
        super().__init__(WireLimits(), Traffic())
        self.kinds: list[str] = []
        self.broken = 0

    def frame_received(self, header: Header, body: memoryview) -> None:
        assert len(body) == header.body_bytes
        self.kinds.append(header.kind.name)

    def stream_broken(self, error: WireError) -> None:
        self.broken += 1

    def feed(self, data: bytes, sizes: list[int]) -> None:
        """Hand the bytes over as a socket would, in pieces of about ``sizes``."""
        at, turn = 0, 0
        while at < len(data):
            buffer = self.get_buffer(-1)
            assert len(buffer) > 0
            count = min(len(buffer), len(data) - at, sizes[turn % len(sizes)])
            buffer[:count] = data[at : at + count]
            self.buffer_updated(count)
            at, turn = at + count, turn + 1


@given(
    order=st.lists(st.sampled_from(["SHARD_FRAME", "RESULT", "REFUSAL", "HELLO"]), max_size=6),
    sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5),
    garbage=st.binary(max_size=100),
)
@MANY
def test_streams_in_pieces_of_any_size_with_garbage_behind(
    frames_of_every_kind: dict[str, bytes], order: list[str], sizes: list[int], garbage: bytes
) -> None:
    reader = _Reader()
    reader.feed(b"".join(frames_of_every_kind[kind] for kind in order) + garbage, sizes)
    assert reader.kinds == order
    assert reader.broken == (len(garbage) >= HEADER_BYTES)
