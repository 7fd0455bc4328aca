"""Convolution weights in the order in which the kernels read them."""

from __future__ import annotations

import torch
import torch.nn.functional as functional


def pack_panels(matrix: torch.Tensor, width: int, panel: int) -> torch.Tensor:
    """Pack ``(depth, channels)`` float32 as ``[panel][depth][channels of it]``, flat.

    A panel is ``panel`` vectors of ``width`` channels; the last has as few vectors as it needs,
    filled up with zeros.
    """
    depth, channels = matrix.shape
    step = width * panel
    parts = []
    for start in range(0, channels, step):
        part = matrix[:, start : start + step]
        parts.append(functional.pad(part, (0, -part.shape[1] % width)).reshape(-1))
    return torch.cat(parts) if depth else matrix.new_zeros(0)


def pack_depthwise(weight: torch.Tensor, width: int) -> torch.Tensor:
    """Pack ``(channels, 1, kh, kw)`` as ``[tap][channels]``, channels filled up to vectors."""
    channels = weight.shape[0]
    taps = weight.reshape(channels, -1).t()
    return functional.pad(taps, (0, -channels % width)).reshape(-1)


def pad_channels(bias: torch.Tensor, width: int) -> torch.Tensor:
    """Fill a bias up with zeros to whole vectors."""
    return functional.pad(bias, (0, -len(bias) % width))
