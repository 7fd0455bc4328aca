"""Memory for feature maps and what a frame computes, in huge pages where the system has them.

A frame reads cells all over hundreds of megabytes. In pages of 4 KiB most of them are not among
those whose address the processor has at hand, and finding it takes longer than reading.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import torch

Allocate = Callable[[tuple[int, ...], torch.dtype], torch.Tensor]
"""Returns an uninitialised contiguous tensor of a shape and dtype."""

_HUGE_PAGE = 2 << 20
_LINE = 64


def uninitialised(size: int) -> npt.NDArray[np.uint8]:
    """Return ``size`` bytes; from two megabytes on the system is asked for huge pages."""
    if size < _HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, dtype=np.uint8)
    pages = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        pages.madvise(mmap.MADV_HUGEPAGE)
    memory: npt.NDArray[np.uint8] = np.frombuffer(pages, dtype=np.uint8)
    start = -memory.ctypes.data % _HUGE_PAGE
    return memory[start : start + size]


class Arena:
    """Room for ``size`` bytes of tensors side by side, freed when the last of them is.

    Every tensor begins with a line of the processor's cache; ``room`` says how much one takes.
    """

    def __init__(self, size: int) -> None:
        memory = uninitialised(size + _LINE)
        start = -memory.ctypes.data % _LINE
        self._memory = memory[start : start + size]
        self._used = 0

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """See :data:`Allocate`.

        :raises MemoryError: if there is not so much left.
        """
        size = int(np.prod(shape)) * dtype.itemsize
        start, self._used = self._used, self._used + room(size)
        if self._used > len(self._memory):
            raise MemoryError(f"the arena has no {size} bytes left for a tensor {shape}")
        # From an array of its own, so that the tensor's storage begins where the tensor does.
        return torch.from_numpy(self._memory[start : start + size]).view(dtype).view(shape)


def room(size: int) -> int:
    """Return the bytes that a tensor of ``size`` bytes takes in an arena."""
    return -(-size // _LINE) * _LINE


def empty(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """See :data:`Allocate`: memory of PyTorch's own."""
    return torch.empty(shape, dtype=dtype)
