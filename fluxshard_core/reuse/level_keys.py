"""Names of the parts of a network that can be recomputed apart, as small integers.

The trunk's part of one cumulative stride is named by that stride. A part that leads to the outputs
of one stride alone has a name of its own: a *head*, or, where it enlarges its input, a *shape*
branch such as mask prototypes. All names fit a byte.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_STRIDE = 64


def head_key(stride: int) -> int:
    """Return the name of the head whose outputs have ``stride`` (at most ``MAX_STRIDE``)."""
    return MAX_STRIDE + stride


def shape_key(stride: int) -> int:
    """Return the name of the shape branch whose outputs have ``stride``."""
    return 2 * MAX_STRIDE + stride


def stride_of(key: int) -> int:
    """Return the stride in a name."""
    return (key - 1) % MAX_STRIDE + 1


def source_of(key: int, keys: Iterable[int]) -> int:
    """Return the trunk's part that a branch starts from, given the names of all parts.

    A head starts from its own stride, a shape branch from the next coarser one.
    """
    if is_head(key):
        return stride_of(key)
    return min(other for other in keys if is_trunk(other) and other > stride_of(key))


def is_trunk(key: int) -> bool:
    """Whether a name is one of the trunk's."""
    return key <= MAX_STRIDE


def is_head(key: int) -> bool:
    """Whether a name is a head's."""
    return MAX_STRIDE < key <= 2 * MAX_STRIDE
