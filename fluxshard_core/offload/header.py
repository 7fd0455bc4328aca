"""The fixed header in front of every frame on the wire, and the caps on the lengths it names."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from fluxshard_core.offload import limits
from fluxshard_core.offload.wire_errors import KindError, LengthError, MagicError, VersionError

MAGIC: Final = b"FLXS"
VERSION: Final = 4

_LAYOUT: Final = struct.Struct("<4sBBHQHII")
HEADER_BYTES: Final = _LAYOUT.size


class Kind(IntEnum):
    """What a frame carries."""

    SHARD_FRAME = 1
    RESULT = 2
    REFUSAL = 3
    HELLO = 4
    """What a client begins with, its payload the proof of the token or nothing; the server's answer
    is an empty one. No message: it ends with the connection."""
    PROBE = 5
    """Padding by which a client measures the link; the server's answer is an empty one of the same
    number, at once. No message either."""


@dataclass(frozen=True)
class WireLimits:
    """The longest parts of a frame this end accepts, in bytes."""

    max_metadata_bytes: int = 64 * 1024
    max_payload_bytes: int = 64 * 1024 * 1024


@dataclass(frozen=True)
class Header:
    """Little-endian, unpadded: magic ``FLXS``, version u8, kind u8, flags u16 (0 in this version),
    frame number u64, then the lengths of the three parts that follow in the same order: session
    name u16, metadata u32, payload u32.
    """

    kind: Kind
    number: int
    session_bytes: int
    metadata_bytes: int
    payload_bytes: int

    @property
    def body_bytes(self) -> int:
        """Bytes of the frame after the header."""
        return self.session_bytes + self.metadata_bytes + self.payload_bytes

    def pack(self, wire_limits: WireLimits) -> bytes:
        """Return the ``HEADER_BYTES`` bytes; raise ``LengthError`` above a cap."""
        self._check_lengths(wire_limits)
        return _LAYOUT.pack(
            MAGIC,
            VERSION,
            self.kind,
            0,
            self.number,
            self.session_bytes,
            self.metadata_bytes,
            self.payload_bytes,
        )

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview, wire_limits: WireLimits) -> Header:
        """Read a header and hold every length against its cap, before anything is allocated.

        :raises WireError: the subclass that says which field is wrong.
        """
        if len(data) != HEADER_BYTES:
            raise LengthError("header length", expected=HEADER_BYTES, actual=len(data))
        magic, version, kind, flags, number, session, metadata, payload = _LAYOUT.unpack(data)
        if magic != MAGIC:
            raise MagicError("magic", expected=MAGIC, actual=magic)
        if version != VERSION:
            raise VersionError("protocol version", expected=VERSION, actual=version)
        if kind not in tuple(Kind):
            raise KindError("message kind", expected=[int(k) for k in Kind], actual=kind)
        if flags:
            raise KindError("flags", expected=0, actual=flags)
        header = cls(Kind(kind), number, session, metadata, payload)
        header._check_lengths(wire_limits)
        return header

    def _check_lengths(self, wire_limits: WireLimits) -> None:
        for name, length, cap in (
            ("session length", self.session_bytes, limits.MAX_NAME_BYTES),
            ("metadata length", self.metadata_bytes, wire_limits.max_metadata_bytes),
            ("payload length", self.payload_bytes, wire_limits.max_payload_bytes),
        ):
            if length > cap:
                raise LengthError(name, expected=f"at most {cap} bytes", actual=length)
