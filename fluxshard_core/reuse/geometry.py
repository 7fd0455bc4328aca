"""Which input cells an operator reads for each output cell, alone and accumulated over many."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pair = tuple[int, int]


@dataclass(frozen=True)
class Taps:
    """Input indices read along one axis: tap ``t`` of output ``o`` is ``first(o) + t * step``.

    ``first(o) = (o * stride + offset) // repeat`` and ``0 <= t < count``.
    """

    stride: int
    repeat: int
    offset: int
    count: int
    step: int

    def first(self, outputs: int) -> npt.NDArray[np.int64]:
        """First tap of each of ``outputs`` cells, negative in the padding before the map."""
        return (np.arange(outputs, dtype=np.int64) * self.stride + self.offset) // self.repeat

    def outside(self, inputs: int, outputs: int) -> npt.NDArray[np.int32]:
        """Return one number per output that tells which of its taps miss ``0 <= index < inputs``.

        Taps rise with ``t``, so how many are too low and how many too high says which.
        """
        first = self.first(outputs)
        low = np.clip(-(first // self.step), 0, self.count)
        high = np.clip(self.count + (first - inputs) // self.step, 0, self.count)
        missing: npt.NDArray[np.int32] = (low * (self.count + 1) + high).astype(np.int32)
        return missing


@dataclass(frozen=True)
class Window:
    """Convolution or pool: output ``o`` reads ``o*stride - padding + t*dilation``, ``t < kernel``.

    Every field is ``(rows, cols)``; ``padding`` is the top and left one (the rest follows from
    the sizes).
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def axes(self) -> tuple[Taps, Taps]:
        """Taps along rows and columns."""
        rows, cols = (
            Taps(self.stride[a], 1, -self.padding[a], self.kernel[a], self.dilation[a])
            for a in (0, 1)
        )
        return rows, cols


@dataclass(frozen=True)
class Enlargement:
    """Transposed convolution or nearest upsampling by ``factor``.

    Input ``i`` reaches the outputs ``i*factor - padding + t*dilation``, ``t < kernel``; an
    upsampling is a kernel of ``factor`` without padding. Every field is ``(rows, cols)``.
    """

    factor: Pair
    kernel: Pair
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def axes(self) -> tuple[Taps, Taps]:
        """Taps along rows and columns: all inputs between the first and last that may reach."""
        rows, cols = (self._axis(axis) for axis in (0, 1))
        return rows, cols

    def _axis(self, axis: int) -> Taps:
        factor = self.factor[axis]
        count = (self.kernel[axis] - 1) * self.dilation[axis] // factor + 1
        return Taps(1, factor, self.padding[axis] - (count - 1) * factor, count, 1)


Geometry = Window | Enlargement


@dataclass(frozen=True)
class AccumulatedField:
    """Input pixels that may reach a map: ``[stride*i + low, stride*i + high]`` for cell ``i``.

    ``low`` and ``high`` are ``(rows, cols)``; ``divisor`` is the least common multiple of all
    strides passed. A cell's own pixels are always included.
    """

    stride: int = 1
    low: Pair = (0, 0)
    high: Pair = (0, 0)
    divisor: int = 1

    @property
    def size(self) -> Pair:
        """Rows and columns of input pixels."""
        return self.high[0] - self.low[0] + 1, self.high[1] - self.low[1] + 1

    @property
    def window(self) -> Window:
        """The whole way from the input as a single operator."""
        return Window(self.size, (self.stride, self.stride), (-self.low[0], -self.low[1]))

    def through(self, geometry: Geometry, stride: int) -> AccumulatedField:
        """Return the field after one more operator whose output has cumulative ``stride``."""
        low, high = [], []
        for axis, taps in enumerate(geometry.axes):
            # floor((o + offset) / repeat) lies at most (repeat - 1) / repeat below the quotient.
            below = self.stride * (taps.offset - (taps.repeat - 1)) // taps.repeat
            above = self.stride * taps.offset // taps.repeat
            reach = self.stride * (taps.count - 1) * taps.step
            low.append(min(0, below + self.low[axis]))
            high.append(max(stride - 1, above + reach + self.high[axis]))
        divisor = math.lcm(self.divisor, stride)
        return AccumulatedField(stride, (low[0], low[1]), (high[0], high[1]), divisor)

    def merge(self, other: AccumulatedField) -> AccumulatedField:
        """Return the field of a map that reads both (concatenation, sum)."""
        return AccumulatedField(
            self.stride,
            (min(self.low[0], other.low[0]), min(self.low[1], other.low[1])),
            (max(self.high[0], other.high[0]), max(self.high[1], other.high[1])),
            math.lcm(self.divisor, other.divisor),
        )
