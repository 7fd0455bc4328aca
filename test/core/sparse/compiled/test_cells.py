"""Lists of cells are what their rules say, cell by cell."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.compiled.cells import CellLists
from fluxshard_core.sparse.compiled.drafts import Rule
from fluxshard_core.sparse.movers import Place
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_kernels.cpu.library import Int32, load

PITCH = 50
PAIRS = st.tuples(st.integers(1, 3), st.integers(1, 3))
SHIFTS = st.tuples(st.integers(-4, 4), st.integers(-4, 4))


def expected(rule: Rule, cells: list[tuple[int, int]], origin: int, table: Int32) -> list[int]:
    """The plain meaning of a rule."""
    found = []
    for index, cell in enumerate(cells):
        if any(
            (at + phase) % period
            for at, phase, period in zip(cell, rule.phase, rule.period, strict=True)
        ):
            continue
        row, col = (
            math.floor((at * scale + shift) / divisor)
            for at, scale, shift, divisor in zip(
                cell, rule.scale, rule.shift, rule.divisor, strict=True
            )
        )
        place = origin + row * PITCH + col
        position = int(table[place]) if rule.tabled else place
        found.append([position, row, col, index][rule.what])
    return found


@st.composite
def rules(draw: st.DrawFn, level: Level) -> Rule:
    period = draw(PAIRS)
    phase = tuple(draw(st.integers(0, one - 1)) for one in period)
    what = draw(st.integers(0, 3))
    source = level if what != Rule.INDEX else None
    geometry = draw(PAIRS), draw(SHIFTS), draw(PAIRS)
    tabled = source is not None and draw(st.booleans())
    return Rule(level, source, *geometry, period, phase, what, tabled)  # type: ignore[arg-type]


@given(data=st.data(), seed=st.integers(0, 2**31))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_lists_are_what_their_rules_say(data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = [Level(2, 9, 7), Level(4, 5, 4)]
    drawn = [data.draw(rules(levels[index % 2])) for index in range(6)]
    drawn += [Rule(level, None) for level in levels]
    drawn += [
        Rule(levels[0], levels[0], what=Rule.TABLE, tabled=tabled) for tabled in (False, True)
    ]
    tables = {level: rng.permutation(8000).astype(np.int32) for level in levels}
    marks = {level: rng.random(level.shape) < rng.random() for level in levels}
    lists = CellLists(load(), drawn)
    rows, cols = lists.mark(marks, Scratch())
    memory = Scratch()

    def place(level: Level) -> Place:
        return Place(1000 * level.stride, PITCH, tables[level].ctypes.data)

    records = lists.lists(rows, cols, place, memory)
    for rule, record in zip(drawn, records, strict=True):
        cells = list(zip(*(axis.tolist() for axis in np.nonzero(marks[rule.level])), strict=True))
        if rule.is_identity or rule.what == Rule.TABLE:
            table = tables[rule.level].ctypes.data if rule.tabled else 0
            assert (record["positions"], record["count"]) == (table, len(cells))
            continue
        wanted = expected(rule, cells, 1000 * rule.level.stride, tables[rule.level])
        assert record["count"] == len(wanted)
        assert read(int(record["positions"]), memory)[: len(wanted)] == wanted


def read(address: int, memory: Scratch) -> list[int]:
    everything = memory._bytes.numpy()
    return everything[address - everything.ctypes.data :].view(np.int32).tolist()


def test_without_marks_every_cell_counts() -> None:
    level = Level(2, 3, 2)
    rows, cols = CellLists(load(), [Rule(level, None)]).mark(None, Scratch())
    assert [axis.tolist() for axis in (*rows, *cols)] == [[0, 0, 1, 1, 2, 2], [0, 1] * 3]
