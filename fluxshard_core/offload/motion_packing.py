"""A motion field as a few bytes: neighbours mostly move alike."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import validation
from fluxshard_core.offload.inflate import deflate, inflate

UInt8 = npt.NDArray[np.uint8]
Int16 = npt.NDArray[np.int16]
Bool = npt.NDArray[np.bool_]

_COMPONENTS = 2


def pack(field: MotionField) -> UInt8:
    """Return the vectors of valid blocks and which those are, ``(bytes,)`` uint8.

    The vectors follow each other row by row; each is stored as its difference from the one before
    (modulo 2**16, signs folded into the lowest bit), low bytes apart from high ones.
    """
    vectors = field.vectors[field.valid]
    steps = np.diff(vectors, axis=0, prepend=np.zeros((1, _COMPONENTS), np.int16))
    folded = ((steps << 1) ^ (steps >> 15)).view(np.uint16).T
    low, high = (folded & 0xFF).astype(np.uint8), (folded >> 8).astype(np.uint8)
    planes = np.concatenate([np.packbits(field.valid), low.reshape(-1), high.reshape(-1)])
    return deflate(planes.data, zlib.Z_FILTERED)


def without(field: MotionField, sent: Bool) -> MotionField:
    """Return the field with blocks ``sent`` ``(rows, cols)`` moving like the last one not sent.

    What is sent is recomputed at every level, so its motion is never looked at: a third of the
    vectors need not travel.
    """
    kept = np.maximum.accumulate(np.where(sent.reshape(-1), 0, np.arange(sent.size)))
    vectors = field.vectors.reshape(-1, _COMPONENTS)[kept].reshape(field.vectors.shape)
    valid = field.valid.reshape(-1)[kept].reshape(field.valid.shape)
    return MotionField(vectors, valid, None, field.block_size)


def unpack(data: UInt8, letterbox: Letterbox, block_size: int) -> MotionField:
    """Return the field that :func:`pack` took; invalid blocks have zero vectors, costs are gone.

    :raises InputError: if ``data`` is not a field for such an input.
    """
    rows, cols = validation.motion_grid(letterbox, block_size)
    blocks = rows * cols
    map_bytes = (blocks + 7) // 8
    planes = inflate("motion field", data, map_bytes + 2 * _COMPONENTS * blocks)
    valid = np.unpackbits(planes[:map_bytes]).astype(np.bool_)[:blocks]
    size = _COMPONENTS * int(np.count_nonzero(valid))
    if len(valid) != blocks or len(planes) != map_bytes + 2 * size:
        raise InputError(f"motion field of {len(planes)} bytes does not fit {rows}x{cols} blocks")
    low, high = planes[map_bytes:].reshape(2, size).astype(np.uint16)
    folded = low | (high << 8)
    signs: Int16 = (folded & 1).view(np.int16)
    steps: Int16 = (folded >> 1).view(np.int16) ^ -signs
    vectors = np.zeros((blocks, _COMPONENTS), dtype=np.int16)
    vectors[valid] = np.cumsum(steps.reshape(_COMPONENTS, -1).T, axis=0, dtype=np.int16)
    grid = (rows, cols)
    return MotionField(vectors.reshape(*grid, _COMPONENTS), valid.reshape(grid), None, block_size)
