"""Frames come out of a stream whole, whatever pieces the network cuts it into."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from fluxshard_core.offload.framing import FrameProtocol, Traffic
from fluxshard_core.offload.header import HEADER_BYTES, Header, WireLimits
from fluxshard_core.offload.messages import ShardFrame
from fluxshard_core.offload.wire import decode_body, encode
from fluxshard_core.offload.wire_errors import LengthError, WireError


class Recorder(FrameProtocol):
    """Keeps what it received."""

    def __init__(self) -> None:
        super().__init__(WireLimits(max_payload_bytes=4096), Traffic())
        self.numbers: list[int] = []
        self.errors: list[WireError] = []

    def frame_received(self, header: Header, body: memoryview) -> None:
        message = decode_body(header, body)
        self.numbers.append(message.number)

    def stream_broken(self, error: WireError) -> None:
        self.errors.append(error)

    def feed(self, data: bytes, piece: int) -> None:
        """Deliver ``data`` as a socket would, at most ``piece`` bytes a time."""
        while data:
            room = self.get_buffer(-1)
            taken = min(len(room), piece, len(data))
            room[:taken] = data[:taken]
            self.buffer_updated(taken)
            data = data[taken:]


@pytest.mark.parametrize("piece", [1, 7, HEADER_BYTES, 1000, 100_000])
def test_frames_survive_any_cut(make_frame: Callable[..., ShardFrame], piece: int) -> None:
    stream = b"".join(bytes(encode(make_frame(number))) for number in (4, 5, 6))
    recorder = Recorder()
    recorder.feed(stream, piece)
    assert recorder.numbers == [4, 5, 6]
    assert not recorder.mid_frame
    assert recorder._traffic.rx_bytes == len(stream)


def test_a_frame_that_has_begun_is_known_to_be_incomplete(
    make_frame: Callable[..., ShardFrame],
) -> None:
    data = bytes(encode(make_frame()))
    for cut in (1, HEADER_BYTES, len(data) - 1):
        recorder = Recorder()
        recorder.feed(data[:cut], cut)
        assert recorder.mid_frame


def test_nothing_is_allocated_for_an_oversized_announcement(
    make_frame: Callable[..., ShardFrame],
) -> None:
    data = bytearray(bytes(encode(make_frame())))[:HEADER_BYTES]
    data[22:26] = (2**31).to_bytes(4, "little")
    recorder = Recorder()
    recorder.feed(bytes(data), HEADER_BYTES)
    assert [type(error) for error in recorder.errors] == [LengthError]
    assert len(recorder.get_buffer(-1)) <= 65536


def test_after_a_broken_frame_nothing_more_is_believed(
    make_frame: Callable[..., ShardFrame],
) -> None:
    good = bytes(encode(make_frame()))
    recorder = Recorder()
    recorder.feed(b"x" * HEADER_BYTES + good, 10)
    assert recorder.numbers == []
    assert len(recorder.errors) == 1


def test_it_is_a_protocol_asyncio_reads_into_directly() -> None:
    assert issubclass(FrameProtocol, asyncio.BufferedProtocol)
