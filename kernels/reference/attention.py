"""Attention of a map to itself, straight from the sums that define it."""

from __future__ import annotations

import torch


def attend(
    feature: torch.Tensor, heads: int, key: int, value: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the attention and the values ``(cells, heads * value)`` float64 of ``feature``
    ``(cells, heads * (2 * key + value))``: per head its query, its key and its value.

    A. Vaswani et al., "Attention Is All You Need", 2017, equation 1.
    """
    attended, values = [], []
    for head in feature.double().chunk(heads, dim=1):
        query, keys, seen = torch.split(head, [key, key, value], dim=1)
        attended.append((scale * query @ keys.T).softmax(dim=1) @ seen)
        values.append(seen)
    return torch.cat(attended, dim=1), torch.cat(values, dim=1)
