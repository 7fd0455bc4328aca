"""Frames of bytes as networks read them: a byte stands for ``value / 255``."""

from __future__ import annotations

import numpy as np
import torch

from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import load_if_possible


def as_numbers(frame: torch.Tensor) -> torch.Tensor:
    """Return a uint8 ``frame`` as float32 in [0, 1], any other as it is."""
    return frame.to(torch.float32).div_(255.0) if frame.dtype is torch.uint8 else frame


def write_bytes(target: torch.Tensor, frame: torch.Tensor) -> None:
    """Write a uint8 ``frame`` into ``target``, both ``(H, W, C)``, as numbers in [0, 1].

    ``target`` is float32 or bfloat16, its cells one after the other in each row.
    """
    library = load_if_possible()
    channels = target.shape[2]
    packed = target.stride(2) == 1 and target.stride(1) == channels
    if library is None or not packed:
        target.copy_(as_numbers(frame))
        return
    image = np.ascontiguousarray(frame.numpy())
    half = target.dtype is torch.bfloat16
    library.pixels.scale_bytes(
        image, target.data_ptr(), target.stride(0), compute_threads(), half=half
    )
