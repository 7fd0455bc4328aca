"""Convolution and its transpose, straight from the sums that define them."""

from __future__ import annotations

import torch

Pair = tuple[int, int]


def convolve_cell(
    feature: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    cell: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return output ``(out,)`` of one cell; ``weight`` is ``(out, in / groups, kh, kw)``.

    ``padding`` is the top and left one; cells outside ``feature`` ``(H, W, in)`` are zero.
    """
    out_channels, group_in, kh, kw = weight.shape
    total = torch.zeros(out_channels, dtype=torch.float64)
    for group in range(groups):
        outputs = slice(group * out_channels // groups, (group + 1) * out_channels // groups)
        inputs = slice(group * group_in, (group + 1) * group_in)
        for i in range(kh):
            for j in range(kw):
                row = cell[0] * stride[0] - padding[0] + i * dilation[0]
                col = cell[1] * stride[1] - padding[1] + j * dilation[1]
                if 0 <= row < feature.shape[0] and 0 <= col < feature.shape[1]:
                    taps = weight[outputs, :, i, j].double()
                    total[outputs] += taps @ feature[row, col, inputs].double()
    return total if bias is None else total + bias.double()


def convolve_transposed(
    feature: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    size: Pair,
    stride: Pair,
    padding: Pair,
    groups: int,
) -> torch.Tensor:
    """Return ``(*size, out)`` float64; ``weight`` is ``(in, out / groups, kh, kw)``.

    Every input cell ``i`` adds ``W[k] x[i]`` to output cell ``i * stride - padding + k``.
    """
    height, width, channels = feature.shape
    _, group_out, kh, kw = weight.shape
    out = torch.zeros(*size, group_out * groups, dtype=torch.float64)
    for group in range(groups):
        inputs = slice(group * channels // groups, (group + 1) * channels // groups)
        outputs = slice(group * group_out, (group + 1) * group_out)
        for row in range(height):
            for col in range(width):
                for i in range(kh):
                    for j in range(kw):
                        y = row * stride[0] - padding[0] + i
                        x = col * stride[1] - padding[1] + j
                        if 0 <= y < size[0] and 0 <= x < size[1]:
                            value = feature[row, col, inputs].double()
                            out[y, x, outputs] += value @ weight[inputs, :, i, j].double()
    return out if bias is None else out + bias.double()
