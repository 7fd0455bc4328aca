"""Zlib streams from a peer, decompressed only as far as they may be long."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError

UInt8 = npt.NDArray[np.uint8]

_LEVEL = 9
_NO_HEADER = -15


def deflate(data: bytes | memoryview, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> UInt8:
    """Return ``data`` compressed, ``(bytes,)`` uint8, without zlib's header and checksum."""
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, _NO_HEADER, strategy=strategy)
    return np.frombuffer(stream.compress(data) + stream.flush(), dtype=np.uint8)


def inflate(name: str, data: UInt8, most: int) -> UInt8:
    """Return what ``deflate`` took, ``(bytes,)`` uint8.

    :raises InputError: if ``data`` is not one whole stream of at most ``most`` bytes; nothing
        beyond them is ever decompressed.
    """
    if data.dtype != np.uint8 or data.ndim != 1:
        raise InputError(f"{name} must be plain bytes, got {data.dtype} of shape {data.shape}")
    stream = zlib.decompressobj(_NO_HEADER)
    try:
        # One byte more than allowed tells a stream that is too long from one that just ends.
        plain = stream.decompress(np.ascontiguousarray(data).data, most + 1)
    except zlib.error as error:
        raise InputError(f"{name} cannot be decompressed: {error}") from error
    if len(plain) > most:
        raise InputError(f"{name} decompresses to more than {most} bytes")
    if not stream.eof or stream.unused_data:
        raise InputError(f"{name} is not one whole compressed stream")
    return np.frombuffer(plain, dtype=np.uint8)
