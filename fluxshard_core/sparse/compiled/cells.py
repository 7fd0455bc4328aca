"""CellLists: a frame's active cells, and for every rule where what they read lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from fluxshard_core.reuse.remap import Bool, Level
from fluxshard_core.sparse.compiled.drafts import Rule
from fluxshard_core.sparse.movers import Place
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import Int32, Int64, Library, Records
from fluxshard_kernels.cpu.records import LIST, RULE

_ALIGNMENT = 16  # int32 values in a cache line


class CellLists:
    """The lists of one assembly's ``rules``, in their order.

    Rules that are the identity need no list, only the number of cells; a table is one.
    """

    def __init__(self, library: Library, rules: Sequence[Rule]) -> None:
        self._library = library
        self.levels = tuple(dict.fromkeys(rule.level for rule in rules))
        index = {level: at for at, level in enumerate(self.levels)}
        self._level_of: Int32 = np.array([index[rule.level] for rule in rules], dtype=np.int32)
        tables = [rule.what == Rule.TABLE for rule in rules]
        self._tables = [
            (at, rule.source)
            for at, (rule, table) in enumerate(zip(rules, tables, strict=True))
            if table and rule.tabled and rule.source is not None
        ]
        explicit = [
            not (rule.is_identity or table) for rule, table in zip(rules, tables, strict=True)
        ]
        self._explicit: Int64 = np.flatnonzero(explicit)
        listed = [rules[at] for at in self._explicit.tolist()]
        self._sources = tuple(dict.fromkeys(rule.source for rule in listed))
        self._source_of = np.array([self._sources.index(rule.source) for rule in listed], np.intp)
        self._tabled = np.array([rule.tabled for rule in listed], dtype=np.bool_)
        self._records: Records = np.zeros(len(listed), RULE)
        for record, rule in zip(self._records, listed, strict=True):
            for name in ("scale", "shift", "divisor", "period", "phase", "what"):
                record[name] = getattr(rule, name)

    def mark(
        self, marks: Mapping[Level, Bool] | None, scratch: Scratch
    ) -> tuple[list[Int32], list[Int32]]:
        """Return rows and columns, by level, of the marked cells ``(H, W)``; all, if None."""
        cells = sum(level.height * level.width for level in self.levels)
        memory = _int32(scratch, 2 * cells)
        rows, cols, start = [], [], 0
        for level in self.levels:
            room = level.height * level.width
            row, col = memory[start : start + room], memory[start + room : start + 2 * room]
            given = None if marks is None else np.ascontiguousarray(marks[level])
            count = self._library.marked(given, level.shape, row, col)
            rows.append(row[:count])
            cols.append(col[:count])
            start += 2 * room
        return rows, cols

    def lists(
        self,
        rows: Sequence[Int32],
        cols: Sequence[Int32],
        place: Callable[[Level], Place],
        scratch: Scratch,
    ) -> Records:
        """Return a list record a rule for the cells at ``rows``, ``cols`` of each level.

        ``place`` tells where the cells of a level's maps lie. Its tables must stay as they are
        for as long as the lists are used.
        """
        counts: Int64 = np.array([len(row) for row in rows], dtype=np.int64)
        lists: Records = np.zeros(len(self._level_of), LIST)
        lists["count"] = counts[self._level_of]
        rules = self._placed(place)
        for at, source in self._tables:
            lists["positions"][at] = place(source).table
        level_of = self._level_of[self._explicit]
        rooms = -(-counts[level_of] // _ALIGNMENT) * _ALIGNMENT
        ends = np.cumsum(rooms)
        memory = _int32(scratch, int(ends[-1]) if len(ends) else 0)
        out: Int64 = memory.ctypes.data + 4 * (ends - rooms)
        written: Int64 = np.empty(len(out), dtype=np.int64)
        cells = (_addresses(rows), _addresses(cols), counts)
        self._library.lists(rules, cells, level_of, out, written, compute_threads())
        lists["positions"][self._explicit] = out
        lists["count"][self._explicit] = written
        return lists

    def _placed(self, place: Callable[[Level], Place]) -> Records:
        """The rules of one endpoint's maps; other threads may want those of others meanwhile."""
        places = [Place(0, 0) if source is None else place(source) for source in self._sources]
        found = np.array([(at.origin, at.pitch, at.table) for at in places], dtype=np.uint64)
        origin, pitch, table = found.reshape(-1, 3)[self._source_of].T
        rules = self._records.copy()
        rules["origin"], rules["pitch"] = origin, pitch
        rules["table"] = np.where(self._tabled, table, 0)
        return rules


def _addresses(arrays: Sequence[Int32]) -> Int64:
    return np.array([array.ctypes.data for array in arrays], dtype=np.int64)


def _int32(scratch: Scratch, count: int) -> Int32:
    values: Int32 = scratch.take((max(count, 1),), torch.int32).numpy()
    return values
