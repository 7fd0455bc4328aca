"""Assembly: drafts as the records that the kernels run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fluxshard_core.sparse.compiled.drafts import OperatorDraft, Rule, SegmentDraft
from fluxshard_kernels.cpu.library import Records
from fluxshard_kernels.cpu.records import ACTIVATIONS, OPERATOR, SEGMENT, Kind


class Assembly:
    """Operators in order, their segments, and the rules of the lists they name by index."""

    def __init__(self, drafts: Sequence[OperatorDraft]) -> None:
        self.rules: list[Rule] = []
        self._index: dict[Rule, int] = {}
        self._held: list[torch.Tensor] = []  # weights, which records only point to
        segments: list[tuple[int, int, int, int]] = []
        self.operators: Records = np.zeros(len(drafts), OPERATOR)
        for record, draft in zip(self.operators, drafts, strict=True):
            record["segment"], record["segments"] = len(segments), len(draft.segments)
            segments += [self._segment(segment) for segment in draft.segments]
            self._fill(record, draft)
        self.segments: Records = np.array(segments, dtype=SEGMENT)

    def _segment(self, draft: SegmentDraft) -> tuple[int, int, int, int]:
        return draft.buffer, self._list(draft.rule), draft.offset, draft.length

    def _list(self, rule: Rule) -> int:
        if rule not in self._index:
            self._index[rule] = len(self.rules)
            self.rules.append(rule)
        return self._index[rule]

    def _fill(self, record: np.void, draft: OperatorDraft) -> None:
        record["kind"] = draft.kind
        if draft.activation:
            record["activation"] = ACTIVATIONS.index(draft.activation.kind)
            record["slope"] = draft.activation.slope
        record["cells"] = record["list"] = self._list(draft.cells)
        record["other"] = 1 if draft.kind in (Kind.ADD, Kind.MULTIPLY) else 0
        record["buffer"], record["offset"] = draft.out.buffer, draft.out.offset
        record["channels"] = draft.out.channels
        for name, values in (("weights", draft.weights), ("bias", draft.bias)):
            if values is not None:
                self._held.append(values)
                record[name] = values.data_ptr()
        if window := draft.window:
            record["rows"], record["cols"] = self._list(window.rows), self._list(window.cols)
            record["window"]["table"] = self._list(window.table)
            for name in ("kernel", "dilation", "size", "pitch"):
                record["window"][name] = getattr(window, name)
