"""Exhaustive SAD block matching, block by block: the plain meaning of the fast searches."""

from __future__ import annotations

import torch


def sad_search(
    current: torch.Tensor, previous: torch.Tensor, block_size: int, radius: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Find each block of ``current`` in ``previous`` within ``radius`` whole pixels per axis.

    ``current`` and ``previous`` are ``(height, width)`` uint8. A displacement ``(dx, dy)`` is
    backward, ``current(p)`` against ``previous(p - d)``, and admissible when every pixel of the
    block has its source inside the frame; blocks at the right and bottom border may be partial.
    Of equal sums the shortest displacement wins, then the smaller ``dy``, then the smaller ``dx``.

    Returns ``(rows, cols, 2)`` int16 displacements and ``(rows, cols)`` int32 sums of absolute
    differences.
    """
    height, width = current.shape
    rows, cols = -(-height // block_size), -(-width // block_size)
    vectors = torch.zeros(rows, cols, 2, dtype=torch.int16)
    sads = torch.zeros(rows, cols, dtype=torch.int32)
    span = range(-radius, radius + 1)
    shortest_first = sorted(
        ((dx, dy) for dy in span for dx in span), key=lambda d: (d[0] ** 2 + d[1] ** 2, d[1], d[0])
    )
    for row in range(rows):
        for col in range(cols):
            top, left = row * block_size, col * block_size
            block = current[top : top + block_size, left : left + block_size].int()
            best = None
            for dx, dy in shortest_first:
                y, x = top - dy, left - dx
                if y < 0 or x < 0 or y + block.shape[0] > height or x + block.shape[1] > width:
                    continue
                source = previous[y : y + block.shape[0], x : x + block.shape[1]].int()
                sad = int((block - source).abs().sum())
                if best is None or sad < best:
                    best = sad
                    vectors[row, col] = torch.tensor([dx, dy])
                    sads[row, col] = sad
    return vectors, sads
