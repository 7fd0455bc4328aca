"""Whatever payload arrives, a codec makes an image of the right size or raises ``InputError``.

``FLUXSHARD_FUZZ_EXAMPLES`` sets the number of cases of each test (default 300).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.offload.messages import BlockShards
from fluxshard_core.offload.proxy import ProxyDecoder, ProxyEncoder

MANY = settings(
    max_examples=int(os.environ.get("FLUXSHARD_FUZZ_EXAMPLES", "300")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
LOSSY = pytest.mark.parametrize("codec", ["jpeg", "webp", "h264"])
PLACE = st.floats(0, 1, exclude_max=True)
EDITS = st.lists(st.tuples(PLACE, st.integers(0, 255)), max_size=8)

BLANK = np.zeros((96, 160, 3), dtype=np.uint8)
CRITICAL = np.indices((6, 10)).sum(axis=0) % 3 == 0
EVERYTHING = np.ones((6, 10), dtype=np.bool_)


def _stream(codec: str) -> list[BlockShards]:
    """A whole frame and one of some blocks."""
    encoder = ProxyEncoder(codec)
    y, x = np.mgrid[:96, :160]
    images = [np.stack([x + y, 2 * x - y, 3 * y + t], axis=-1).astype(np.uint8) for t in (0, 40)]
    first, proxy = encoder.encode(images[0], BLANK, EVERYTHING)
    second, _ = encoder.encode(images[1], proxy, CRITICAL)
    return [first, second]


STREAMS = {codec: _stream(codec) for codec in ("jpeg", "webp", "h264")}


def _decode_or_refuse(decoder: ProxyDecoder, shards: BlockShards, data: bytes) -> None:
    payload = np.frombuffer(data, dtype=np.uint8)
    try:
        image = decoder.decode(BlockShards(shards.ids, shards.codec, payload), BLANK)
    except InputError:
        return
    assert image.shape == BLANK.shape
    assert image.dtype == np.uint8


@LOSSY
@given(data=st.binary(max_size=400))
@MANY
def test_random_bytes(codec: str, data: bytes) -> None:
    _decode_or_refuse(ProxyDecoder(), STREAMS[codec][0], data)


@LOSSY
@given(later=st.booleans(), edits=EDITS, end=PLACE)
@MANY
def test_payloads_with_bytes_changed_and_cut_off(
    codec: str, later: bool, edits: list[tuple[float, int]], end: float
) -> None:
    first, second = STREAMS[codec]
    decoder = ProxyDecoder()
    shards = second if later else first
    if later:
        decoder.decode(first, BLANK)
    data = bytearray(shards.payload.tobytes())
    for place, value in edits:
        data[int(place * len(data))] = value
    kept = len(data) if end < 0.5 else int(len(data) * 2 * (end - 0.5))
    _decode_or_refuse(decoder, shards, bytes(data[:kept]))
    _decode_or_refuse(decoder, first, first.payload.tobytes())


@LOSSY
def test_payloads_cut_at_every_byte(codec: str) -> None:
    first, _ = STREAMS[codec]
    for end in range(len(first.payload)):
        _decode_or_refuse(ProxyDecoder(), first, first.payload[:end].tobytes())
