"""Scratch: one growing buffer that gathers share, so that a frame allocates nothing new."""

from __future__ import annotations

import threading

import torch

from fluxshard_core.sparse.memory import uninitialised


class Scratch(threading.local):
    """Memory for one short-lived tensor at a time, another one on every thread."""

    def __init__(self) -> None:
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._typed: dict[torch.dtype, torch.Tensor] = {}

    @property
    def bytes(self) -> int:
        """Memory held for this thread."""
        return self._bytes.numel()

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Return an uninitialised tensor; the next call may reuse its memory."""
        strides = [1] * len(shape)
        for axis in range(len(shape) - 1, 0, -1):
            strides[axis - 1] = strides[axis] * shape[axis]
        needed = strides[0] * shape[0] * dtype.itemsize
        if needed > self.bytes:
            self._typed.clear()
            with torch.inference_mode(False):  # else nobody outside that mode could write it
                self._bytes = torch.from_numpy(uninitialised(-(-needed // 16) * 16))
        typed = self._typed.get(dtype)
        if typed is None:
            with torch.inference_mode(False):
                typed = self._typed[dtype] = self._bytes.view(dtype)
        return typed.as_strided(shape, strides)
