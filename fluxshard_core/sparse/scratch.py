"""Scratch: one growing buffer that gathers share, so that a frame allocates nothing new."""

from __future__ import annotations

import math

import torch


class Scratch:
    """Memory for one short-lived tensor at a time."""

    def __init__(self) -> None:
        self._bytes = torch.empty(0, dtype=torch.uint8)

    @property
    def bytes(self) -> int:
        """Memory held."""
        return self._bytes.numel()

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return an uninitialised tensor; the next call may reuse its memory."""
        needed = math.prod(shape) * dtype.itemsize
        if needed > self.bytes:
            self._bytes = torch.empty(needed, dtype=torch.uint8)
        return self._bytes[:needed].view(dtype).view(shape)
