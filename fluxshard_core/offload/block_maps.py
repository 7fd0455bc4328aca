"""Which blocks of a frame are sent, and which are critical at which level, as a few bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import validation
from fluxshard_core.offload.inflate import deflate, inflate
from fluxshard_core.offload.messages import ShardFrame

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
UInt8 = npt.NDArray[np.uint8]


def pack(frame: ShardFrame) -> UInt8:
    """Return the blocks sent and those critical at every level, ``(bytes,)`` uint8.

    Each level is stored as its difference from the next coarser one and the blocks sent as that
    from the finest, one bit a block, then deflated: levels mostly agree, and what is sent mostly is
    what the finest level needs. Levels that are all critical take next to nothing.
    """
    rows, cols = validation.shard_grid(frame.letterbox, frame.shards.block_size)
    maps = np.zeros((1 + len(frame.critical), rows * cols), dtype=np.bool_)
    for level, stride in enumerate(sorted(frame.critical, reverse=True)):
        maps[level] = frame.critical[stride].reshape(-1)
    maps[-1, frame.shards.ids] = True
    maps[1:] ^= maps[:-1].copy()
    return deflate(np.packbits(maps).data)


def unpack(
    data: UInt8, letterbox: Letterbox, block_size: int, strides: Sequence[int]
) -> tuple[Int32, dict[int, Bool]]:
    """Return the ids ``(N,)`` and the levels ``(rows, cols)`` by stride that :func:`pack` took.

    :raises InputError: if ``data`` is not the maps of so many levels of such an input, or the
        strides are not those of a network, ascending.
    """
    rows, cols = validation.shard_grid(letterbox, block_size)
    validation.check_strides(strides)
    if any(finer >= coarser for finer, coarser in pairwise(strides)):
        raise InputError(f"strides must be ascending and unique, not {list(strides)}")
    count = (1 + len(strides)) * rows * cols
    packed = inflate("block maps", data, (count + 7) // 8)
    if len(packed) != (count + 7) // 8:
        raise InputError(f"block maps of {len(packed)} bytes do not hold {count} bits")
    bits = np.unpackbits(packed, count=count).reshape(1 + len(strides), rows, cols)
    maps = np.bitwise_xor.accumulate(bits, axis=0).astype(np.bool_)
    *levels, sent = maps
    return np.flatnonzero(sent).astype(np.int32), dict(zip(strides, reversed(levels), strict=True))
