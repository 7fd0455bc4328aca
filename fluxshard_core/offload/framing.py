"""A TCP stream cut into frames: each body is received straight into the buffer it is read from."""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from fluxshard_core.offload.header import HEADER_BYTES, Header, WireLimits
from fluxshard_core.offload.wire import EncodedFrame
from fluxshard_core.offload.wire_errors import WireError

_DROP_BYTES: Final = 64 * 1024

# A peer that is gone without a word (power, cable) is noticed within half a minute.
_KEEPALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000),
)


@dataclass
class Traffic:
    """Bytes that crossed a link, over all the connections it has had."""

    tx_bytes: int = 0
    rx_bytes: int = 0


class FrameProtocol(asyncio.BufferedProtocol, ABC):
    """One end of a connection; subclasses say what a frame, a bad frame and a loss mean.

    Memory is allocated only for a body whose header passed every cap. After a ``WireError`` the
    stream has no known frame boundary any more, so what follows is read and dropped.
    """

    transport: asyncio.Transport

    def __init__(self, wire_limits: WireLimits, traffic: Traffic) -> None:
        self._traffic = traffic
        self._wire_limits = wire_limits
        self._header: Header | None = None
        self._buffer = _room(HEADER_BYTES)
        self._filled = 0
        self._broken = False

    @abstractmethod
    def frame_received(self, header: Header, body: memoryview) -> None:
        """Take over one frame: a ``WireError`` raised here is reported like a bad header."""

    @abstractmethod
    def stream_broken(self, error: WireError) -> None:
        """Handle a peer that sent something that is not a frame; called once."""

    @property
    def mid_frame(self) -> bool:
        """Whether a frame has begun to arrive and is not complete."""
        return self._filled > 0 or self._header is not None

    def allow(self, wire_limits: WireLimits) -> None:
        """Accept frames up to other limits, from the next header on."""
        self._wire_limits = wire_limits

    def ignore_input(self) -> None:
        """Read and drop whatever else arrives, so that a last word to the peer is not lost."""
        self._broken = True
        self._expect(_room(_DROP_BYTES), None)

    def send(self, frame: EncodedFrame) -> None:
        """Queue one frame; the caller keeps its arrays unchanged until the answer."""
        self.transport.write(frame.prefix)
        if len(frame.tail):
            self.transport.write(frame.tail)
        self._traffic.tx_bytes += len(frame)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send small frames at once: latency matters more than the number of packets."""
        self.transport = cast(asyncio.Transport, transport)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for level, option, value in _KEEPALIVE:
            connection.setsockopt(level, option, value)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes go: the rest of the header or of the body."""
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """Advance; hand over whatever became complete."""
        self._traffic.rx_bytes += nbytes
        if self._broken:
            return
        self._filled += nbytes
        try:
            if self._filled == len(self._buffer):
                self._part_complete()
        except WireError as error:
            self.ignore_input()
            self.stream_broken(error)

    def _part_complete(self) -> None:
        header = self._header
        if header is None:
            header = Header.unpack(self._buffer, self._wire_limits)
            if header.body_bytes:
                self._expect(_room(header.body_bytes), header)
                return
        body = self._buffer if self._header else _room(0)
        self._expect(_room(HEADER_BYTES), None)
        self.frame_received(header, body)

    def _expect(self, buffer: memoryview, header: Header | None) -> None:
        self._buffer, self._header, self._filled = buffer, header, 0


def _room(nbytes: int) -> memoryview:
    """Return memory that is really used only as bytes arrive, unlike a zeroed ``bytearray``."""
    return np.empty(nbytes, dtype=np.uint8).data
