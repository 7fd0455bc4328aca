"""Operators of a program while it is put together: where they read and write, by name."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.nodes import Activation, Pair
from fluxshard_kernels.cpu.records import Kind


@dataclass(frozen=True)
class Rule:
    """Where the source of each output cell of ``level`` lies (``Rule`` in ``kernels/cpu/cells.h``).

    Cell ``(row, col)`` reads ``floor((row * scale + shift) / divisor)`` of a map of level
    ``source``; None is memory that holds just the output cells, in order. Only cells with
    ``(row + phase) % period == 0`` count. ``what`` is the position, or the row or column alone,
    or, whatever the cells, the position of every place of the source. ``tabled``: positions are
    those of the source's table, else they are the places themselves.
    """

    POSITION, ROW, COLUMN, INDEX, TABLE = range(5)

    level: Level
    source: Level | None
    scale: Pair = (1, 1)
    shift: Pair = (0, 0)
    divisor: Pair = (1, 1)
    period: Pair = (1, 1)
    phase: Pair = (0, 0)
    what: int = POSITION
    tabled: bool = False

    @property
    def is_identity(self) -> bool:
        """Whether the ``i``-th cell lies at ``i``."""
        return self.source is None and self.period == (1, 1)

    def moved(self, cells: Pair) -> Rule:
        """Return the rule of what lies so many cells ``(dy, dx)`` further in the source."""
        (sy, sx), (dy, dx) = self.shift, self.divisor
        return replace(self, shift=(sy + cells[0] * dy, sx + cells[1] * dx))


@dataclass(frozen=True)
class Strip:
    """Channels of a feature map in memory: ``offset`` floats into each cell of ``buffer``.

    ``source`` is the level of a map whose rows lie ``pitch`` cells apart, or ``tabled`` anywhere;
    None is memory that holds just the active cells. ``stride`` floats a cell.
    """

    buffer: int
    source: Level | None
    offset: int
    channels: int
    stride: int
    pitch: int = 0
    tabled: bool = False

    def part(self, start: int, stop: int) -> Strip:
        """Return channels ``start`` to ``stop``."""
        return replace(self, offset=self.offset + start, channels=stop - start)

    def rule(self, level: Level) -> Rule:
        """Return where the cells of ``level`` lie in it, each at its own place."""
        return Rule(level, self.source, tabled=self.tabled)


Strips = tuple[Strip, ...]
"""The channels of one tensor, one strip after the other."""


def take_channels(strips: Strips, start: int, stop: int) -> Strips:
    """Return channels ``start`` to ``stop`` of a tensor."""
    taken, first = [], 0
    for strip in strips:
        low, high = max(start - first, 0), min(stop - first, strip.channels)
        if low < high:
            taken.append(strip.part(low, high))
        first += strip.channels
    return tuple(taken)


@dataclass(frozen=True)
class SegmentDraft:
    """Floats that are read for each output cell: ``length`` from ``offset`` on in a buffer."""

    buffer: int
    rule: Rule
    offset: int
    length: int


@dataclass(frozen=True, eq=False)
class WindowDraft:
    """A pool's window: its kernel, dilation, the map's size, pitch and table, and where it
    begins."""

    kernel: Pair
    dilation: Pair
    size: Pair
    pitch: int
    rows: Rule
    cols: Rule
    table: Rule


@dataclass(frozen=True, eq=False)
class OperatorDraft:
    """One operator; weights and bias as the kernels want them (``weights.py``)."""

    kind: Kind
    segments: tuple[SegmentDraft, ...]
    out: Strip
    cells: Rule
    """Where the output cells lie in ``out``."""
    weights: torch.Tensor | None = None
    bias: torch.Tensor | None = None
    activation: Activation | None = None
    window: WindowDraft | None = None
