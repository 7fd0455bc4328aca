"""The compiled kernels that work on frames of bytes, as Python functions."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]
Int32 = npt.NDArray[np.int32]
Bool = npt.NDArray[np.bool_]


class PixelKernels:
    """Frames are ``(H, W, 3)`` uint8, contiguous, their sides whole blocks of ``side`` pixels; the
    compiled code trusts that."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """``library``: whose functions are declared (``signatures.py``)."""
        self._library = library

    def move_blocks(self, image: UInt8, shifts: Int32, side: int, threads: int) -> UInt8:
        """Return the frame whose blocks come from ``shifts`` ``(rows, cols, 2)``, ``(dx, dy)``
        pixels, before them; outside, the outermost pixels go on."""
        out = np.empty_like(image)
        self._on_blocks("move", image, side, (shifts, out), threads)
        return out

    def compare_blocks(self, image: UInt8, other: UInt8, side: int, threads: int) -> UInt32:
        """Return the sum of absolute differences of each block ``(rows, cols)``."""
        sums: UInt32 = np.empty((len(image) // side, image.shape[1] // side), dtype=np.uint32)
        self._on_blocks("compare", image, side, (other, sums), threads)
        return sums

    def compose_blocks(
        self, image: UInt8, other: UInt8, fresh: Bool, side: int, threads: int
    ) -> UInt8:
        """Return ``image`` in the blocks ``fresh`` ``(rows, cols)``, ``other`` elsewhere."""
        out = np.empty_like(image)
        self._on_blocks("compose", image, side, (other, fresh, out), threads)
        return out

    def scale_bytes(
        self, image: UInt8, out: int, pitch: int, threads: int, *, half: bool = False
    ) -> None:
        """Write ``image / 255`` to the address ``out``, rows ``pitch`` numbers apart; bfloat16
        where ``half``, else float32."""
        rows, width, channels = image.shape
        self._library.fluxshard_scale_bytes(
            image.ctypes.data, rows, width * channels, out, pitch, half, threads
        )

    def _on_blocks(
        self,
        what: str,
        image: UInt8,
        side: int,
        others: tuple[npt.NDArray[Any], ...],
        threads: int,
    ) -> None:
        frame = np.array([*image.shape[:2], side], dtype=np.int64)
        arrays: tuple[npt.NDArray[Any], ...] = (frame, image, *others)
        function = getattr(self._library, f"fluxshard_{what}_blocks")
        function(*(array.ctypes.data for array in arrays), threads)
