"""What the kernel knows of a TCP connection: round trip and delivery rate."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final, Protocol

# struct tcp_info of linux/tcp.h: offsets of the fields read, which no kernel ever moved.
_FLAGS: Final = 7  # bit 0: delivery_rate_app_limited
_RTT: Final = 68  # u32, microseconds, smoothed
_MIN_RTT: Final = 148  # u32, microseconds
_DELIVERY_RATE: Final = 160  # u64, bytes per second
_SIZE: Final = _DELIVERY_RATE + 8
_NO_MIN_RTT: Final = 2**32 - 1


class Socket(Protocol):
    """A socket, or what asyncio shows of one."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """As ``socket.socket.getsockopt``."""
        ...


@dataclass(frozen=True)
class TcpInfo:
    """``rtt_s`` smoothed and ``min_rtt_s`` the smallest seen, in seconds. ``delivery_rate`` in
    bytes per second is a lower bound of what the path carries where ``app_limited``: there was
    not enough to send to fill it."""

    rtt_s: float
    min_rtt_s: float
    delivery_rate: float
    app_limited: bool


def read_tcp_info(connection: Socket) -> TcpInfo | None:
    """Ask the kernel about a connected socket; ``None`` where it cannot tell (no Linux, no TCP)."""
    option = getattr(socket, "TCP_INFO", None)
    if option is None:
        return None
    try:
        return parse_tcp_info(connection.getsockopt(socket.IPPROTO_TCP, option, 256))
    except OSError:
        return None


def parse_tcp_info(data: bytes) -> TcpInfo | None:
    """Read a ``struct tcp_info``; ``None`` for one too short to hold what is needed, or one of a
    connection that measured nothing yet."""
    if len(data) < _SIZE:
        return None
    (rtt,) = struct.unpack_from("=I", data, _RTT)
    (min_rtt,) = struct.unpack_from("=I", data, _MIN_RTT)
    (rate,) = struct.unpack_from("=Q", data, _DELIVERY_RATE)
    if not rtt or min_rtt == _NO_MIN_RTT:
        return None
    return TcpInfo(rtt * 1e-6, min_rtt * 1e-6, float(rate), bool(data[_FLAGS] & 1))
