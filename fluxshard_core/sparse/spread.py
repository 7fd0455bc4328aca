"""Spread: which outputs of a neighbourhood are not inherited, by one of three rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from fluxshard_core.reuse.geometry import AccumulatedField, Window
from fluxshard_core.reuse.remap import Bool, Level, LevelMotion
from fluxshard_core.reuse.rfap import ReceptiveFieldCheck
from fluxshard_core.sparse.binding import Binding, IslandStep, WindowStep

RfapRule = Literal["per_layer", "compact", "none"]
"""How receptive-field alignment is checked (``docs/correctness.md``).

``per_layer``: operator by operator; exact. ``compact``: from the input to each map in one step
wherever no dense island lies between, else per layer; exact, and recomputes at least as much.
``none``: changed values spread and geometry is ignored, the published pointwise comparison; wrong
values may be reused. Only an ablation wants it.
"""

_OWN_CELL = Window((1, 1))


class Spread:
    """One frame's rule; ``fields`` as :func:`accumulated_fields` gives them."""

    def __init__(
        self,
        rule: RfapRule,
        binding: Binding,
        moved: Mapping[Level, LevelMotion],
        fields: Mapping[str, AccumulatedField],
    ) -> None:
        self._rule = rule
        self._level = binding.level
        self._moved = moved
        self._fields = fields
        self._input = binding.level[binding.plan.inputs[0]]
        self._changed = np.zeros(self._input.shape, dtype=np.bool_)
        self._check = ReceptiveFieldCheck(moved)

    def begin(self, changed: Bool) -> None:
        """Take the cells ``(H, W)`` of the network's input that are not inherited."""
        self._changed = changed

    def through(self, step: WindowStep, active: Bool) -> Bool:
        """Return the outputs of ``step`` to compute, its source not inherited where ``active``."""
        source, target = self._level[step.source], self._level[step.output]
        if self._rule == "none":
            return self._check.reached(active, target, step.geometry) | ~self._moved[target].valid
        field = self._fields.get(step.output) if self._rule == "compact" else None
        if field is not None:
            return self._check.compact(self._changed, self._input, target, field)
        return self._check.propagate(active, source, target, step.geometry)

    def across(self, source: str, output: str, active: Bool) -> Bool:
        """Return the cells of ``output`` to compute that read their own cell of ``source``, not
        inherited where ``active``.

        Where a branch leaves the trunk the two are of different levels, which carry remainders of
        their own: the same cell may have moved otherwise in one than in the other.
        """
        here, there = self._level[source], self._level[output]
        if here == there or self._rule == "none" or not {here, there} <= self._moved.keys():
            return active
        return self._check.propagate(active, here, there, _OWN_CELL)


def accumulated_fields(binding: Binding) -> dict[str, AccumulatedField]:
    """Return the input pixels that may reach each map that no dense island comes before."""
    (source,) = binding.plan.inputs
    fields = {source: AccumulatedField()}
    for step in binding.steps:
        if isinstance(step, IslandStep):
            continue
        if isinstance(step, WindowStep):
            if step.source in fields:
                stride = binding.level[step.output].stride
                fields[step.output] = fields[step.source].through(step.geometry, stride)
        elif all(name in fields for name in step.sources):
            field = fields[step.sources[0]]
            for name in step.sources[1:]:
                field = field.merge(fields[name])
            fields[step.output] = field
    return fields
