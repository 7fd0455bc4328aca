"""Blocks of an image laid side by side as one smaller image, for codecs that take whole images."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fluxshard_core.offload.raw_codec import CHANNELS

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]


def mosaic_grid(count: int) -> tuple[int, int]:
    """Return the ``(rows, cols)`` of blocks that hold ``count`` of them, about twice as wide as
    high: blocks that follow each other in a row of the image mostly do so here too."""
    cols = max(1, math.ceil(math.sqrt(2 * count)))
    return -(-count // cols), cols


def to_mosaic(image: UInt8, ids: Int32, block_size: int) -> UInt8:
    """Return blocks ``ids`` ``(N,)`` of an ``(H, W, 3)`` image as a mosaic.

    Places left over at its end repeat the last block, which costs hardly a byte. At least one
    block.
    """
    rows, cols = mosaic_grid(len(ids))
    padded = np.concatenate([ids, np.full(rows * cols - len(ids), ids[-1], dtype=np.int32)])
    across = image.shape[1] // block_size
    blocks = image.reshape(-1, block_size, across, block_size, CHANNELS)
    chosen = blocks[padded // across, :, padded % across]
    laid = chosen.reshape(rows, cols, block_size, block_size, CHANNELS).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(laid).reshape(rows * block_size, cols * block_size, CHANNELS)


def from_mosaic(image: UInt8, ids: Int32, mosaic: UInt8, block_size: int) -> None:
    """Write the blocks of a mosaic to their places ``ids`` in a contiguous image."""
    rows, cols = mosaic_grid(len(ids))
    laid = mosaic.reshape(rows, block_size, cols, block_size, CHANNELS).transpose(0, 2, 1, 3, 4)
    blocks = laid.reshape(rows * cols, block_size, block_size, CHANNELS)[: len(ids)]
    across = image.shape[1] // block_size
    places = image.reshape(-1, block_size, across, block_size, CHANNELS)
    places[ids // across, :, ids % across] = blocks
