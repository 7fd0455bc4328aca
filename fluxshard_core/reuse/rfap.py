"""Receptive-field alignment (RFAP): which outputs moved whole, so that a cached one is the value.

Let cell ``c`` of a level hold what the cache has at ``c - k(c)``. An operator's output at ``o`` is
*inherited* if every input it reads is, and they are the inputs the cached output at ``o - k(o)``
read, tap by tap. With stride ``s`` that is, for every tap ``p`` inside the frame,
``k(p) = s k(o)`` (one displacement across the field, divisible by the stride), and the same taps
falling outside the frame at ``o`` and at ``o - k(o)`` (the border rule). Derived in
``docs/correctness.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fluxshard_core.reuse.geometry import AccumulatedField, Geometry, Pair, Taps
from fluxshard_core.reuse.remap import Bool, Int32, Level, LevelMotion

_Scalar = TypeVar("_Scalar", bound=np.generic)


class ReceptiveFieldCheck:
    """Propagates the cells that must be recomputed through one frame's operators.

    Flags are ``(H, W)`` bool, True where a value is *not* inherited. Propagation never looks at
    values, so it holds whatever they are; an executor may clear flags of cells it computed and
    found equal to the moved cache, because the next operator checks displacements anew.
    """

    def __init__(self, moved: Mapping[Level, LevelMotion]) -> None:
        self._moved = moved
        self._breaks: dict[tuple[Level, Level, Geometry], Bool | None] = {}

    def propagate(self, active: Bool, source: Level, target: Level, geometry: Geometry) -> Bool:
        """Return the flags of an operator's output, given those of its input.

        ``active`` has the shape of level ``source``, the result that of ``target``. Operators
        that read only their own cell (pointwise, concatenation, sums) need no propagation: their
        flags are the union of their inputs'.
        """
        reached = self.reached(active, target, geometry)
        breaks = self.breaks(source, target, geometry)
        return reached if breaks is None else reached | breaks

    def reached(self, active: Bool, target: Level, geometry: Geometry) -> Bool:
        """Return the outputs that read a flagged input, wherever anything moved."""
        if not active.any():
            return np.zeros(target.shape, dtype=np.bool_)
        return _reduce(active, geometry, target.shape, np.logical_or, False)

    def breaks(self, source: Level, target: Level, geometry: Geometry) -> Bool | None:
        """Return the outputs whose field is torn, whatever the flags of the input; None for none.

        Computed once per frame for each pair of levels and geometry. Read-only.
        """
        key = source, target, geometry
        if key not in self._breaks:
            torn = _torn(self._moved[source], self._moved[target], geometry)
            self._breaks[key] = torn if torn.any() else None
        return self._breaks[key]

    def compact(self, active: Bool, source: Level, target: Level, field: AccumulatedField) -> Bool:
        """Return the flags of a map from those of the network's input, in one step.

        ``active`` flags the cells of ``source`` (the input level). Conservative: contains what
        operator by operator propagation flags, because ``field`` contains every receptive field
        on the way and one displacement across it, divisible by every stride on the way, satisfies
        each operator's conditions.
        """
        flags = self.propagate(active, source, target, field.window)
        undivided = self._moved[target].shift % np.int16(max(1, field.divisor // field.stride))
        return flags | undivided.any(axis=0)


def _torn(source: LevelMotion, target: LevelMotion, geometry: Geometry) -> Bool:
    """Outputs without a source, or that break a geometric condition or the border rule."""
    return (
        ~target.valid | _displaced(source, target, geometry) | _at_border(source, target, geometry)
    )


def _displaced(source: LevelMotion, target: LevelMotion, geometry: Geometry) -> Bool | np.bool_:
    """Outputs that read a tap moved by another displacement than their own."""
    axes = geometry.axes
    repeats = axes[0].repeat, axes[1].repeat
    strides = axes[0].stride, axes[1].stride
    if source.uniform and target.uniform:
        given = source.common[0] * repeats[0], source.common[1] * repeats[1]
        return np.bool_(given != (target.common[0] * strides[0], target.common[1] * strides[1]))
    given_code, expected = _packed(source, repeats), _packed(target, strides)
    limits = np.iinfo(np.int32)
    least = _reduce(given_code, geometry, target.level.shape, np.minimum, limits.max)
    most = _reduce(given_code, geometry, target.level.shape, np.maximum, limits.min)
    different: Bool = (least != expected) | (most != expected)
    return different


def _packed(motion: LevelMotion, scale: Pair) -> Int32:
    """Both components of the shifts times ``scale`` in one integer, equal only if both are."""
    rows, cols = motion.shift.astype(np.int32)
    packed: Int32 = rows * (scale[0] << 16) + cols * scale[1]
    return packed


def _at_border(source: LevelMotion, target: LevelMotion, geometry: Geometry) -> Bool:
    """Outputs whose field misses the frame by other taps than the cached output's did."""
    rows, cols = (
        taps.outside(inputs, outputs)
        for taps, inputs, outputs in zip(
            geometry.axes, source.level.shape, target.level.shape, strict=True
        )
    )
    if target.uniform:
        # All rows of a column share a source column, and the reverse.
        other_rows, other_cols = target.source_rows[:, :1], target.source_cols[:1]
    else:
        other_rows, other_cols = target.source_rows, target.source_cols
    changed = np.zeros(target.level.shape, dtype=np.bool_)
    if rows.any():
        changed |= rows.take(other_rows) != rows[:, None]
    if cols.any():
        changed |= cols.take(other_cols) != cols
    return changed


def _reduce(
    values: npt.NDArray[_Scalar],
    geometry: Geometry,
    shape: Pair,
    combine: Callable[..., npt.NDArray[_Scalar]],
    neutral: bool | int,
) -> npt.NDArray[_Scalar]:
    """Combine the taps of every output; taps outside the map count as ``neutral``."""
    for axis, taps in enumerate(geometry.axes):
        values = _reduce_axis(values, axis, taps, shape[axis], combine, neutral)
    return values


def _reduce_axis(
    values: npt.NDArray[_Scalar],
    axis: int,
    taps: Taps,
    outputs: int,
    combine: Callable[..., npt.NDArray[_Scalar]],
    neutral: bool | int,
) -> npt.NDArray[_Scalar]:
    first = taps.first(outputs)
    before = max(0, -int(first[0]))
    after = max(0, int(first[-1]) + (taps.count - 1) * taps.step + 1 - values.shape[axis])
    values = _pad(values, axis, before, after, neutral)
    width = 1  # windows of doubling width: combine is idempotent, so they may overlap
    while width < taps.count:
        grown = min(2 * width, taps.count)
        apart = (grown - width) * taps.step
        length = values.shape[axis] - apart
        values = combine(_part(values, axis, 0, length), _part(values, axis, apart, None))
        width = grown
    start = int(first[0]) + before
    if taps.repeat > 1:
        taken: npt.NDArray[_Scalar] = np.take(values, first + before, axis=axis)
        return taken
    return _part(values, axis, start, start + (outputs - 1) * taps.stride + 1, taps.stride)


def _part(
    values: npt.NDArray[_Scalar], axis: int, start: int, stop: int | None, step: int = 1
) -> npt.NDArray[_Scalar]:
    return values[start:stop:step] if axis == 0 else values[:, start:stop:step]


def _pad(
    values: npt.NDArray[_Scalar], axis: int, before: int, after: int, neutral: bool | int
) -> npt.NDArray[_Scalar]:
    if before == after == 0:
        return values
    shape = list(values.shape)
    shape[axis] += before + after
    padded = np.full(shape, neutral, dtype=values.dtype)
    _part(padded, axis, before, before + values.shape[axis])[...] = values
    return padded
