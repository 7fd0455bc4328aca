"""Program: a bound plan as operators over buffers, ready to run on any set of cells.

Nothing is copied that need not be. A cached map is written and read in place. Other tensors hold
just the active cells, one after the other, in slots that are used again once nothing reads them.
A concatenation or a range of channels is no operator at all: what reads it reads its parts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import Binding, IslandStep, PointStep, WindowStep
from fluxshard_core.sparse.compiled.assembly import Assembly
from fluxshard_core.sparse.compiled.drafts import OperatorDraft, Strip, Strips, take_channels
from fluxshard_core.sparse.compiled.emit import Emitter
from fluxshard_core.sparse.nodes import Concat, Slice


@dataclass(frozen=True)
class Slot:
    """Memory for the active cells of ``level``, ``channels`` floats each."""

    level: Level
    channels: int


@dataclass(frozen=True, eq=False)
class Section:
    """Operators ``start`` to ``stop``, and the dense island that comes after them, if any."""

    start: int
    stop: int
    island: IslandStep | None


class Program:
    """``maps``: the cached tensors, buffers ``0`` on; ``slots``: the buffers after them, each a
    piece of memory in ``rooms``, which several share if their times do not overlap."""

    def __init__(
        self,
        binding: Binding,
        cached: Collection[str],
        pitch: Mapping[Level, int],
        emitter: Emitter,
        *,
        tabled: bool,
    ) -> None:
        """``tabled``: maps are found by their levels' tables, but for those that every frame
        overwrites; else all cells lie in place, and neighbours can be read together."""
        self._binding, self._pitch, self._emitter = binding, pitch, emitter
        self._tabled = set(cached) - binding.overwritten if tabled else set()
        self.maps = tuple(cached)
        self._map_index = {name: index for index, name in enumerate(self.maps)}
        self.slots: list[Slot] = []
        self._strips: dict[str, Strips] = {}
        self._drafts: list[OperatorDraft] = []
        self.sections: list[Section] = []
        for name in self.maps:
            self._strips[name] = (self._map_strip(name),)
        for step in binding.steps:
            if isinstance(step, IslandStep):
                self._end_section(step)
            else:
                self._add(step)
        self._end_section(None)
        self.assembly = Assembly(self._drafts)
        self.rooms, self.room_of = share_rooms(self.slots, self._lifetimes())
        self.cell_costs = self._cell_costs()
        self.island_cost = sum(
            section.island.node.multiply_accumulates for section in self.sections if section.island
        )

    def _map_strip(self, name: str) -> Strip:
        channels, level = self._binding.plan.tensors[name].channels, self._binding.level[name]
        index, pitch = self._map_index[name], self._pitch[level]
        return Strip(index, level, 0, channels, channels, pitch, name in self._tabled)

    def _end_section(self, island: IslandStep | None) -> None:
        start = self.sections[-1].stop if self.sections else 0
        self.sections.append(Section(start, len(self._drafts), island))

    def _add(self, step: WindowStep | PointStep) -> None:
        node, name = step.node, step.output
        sources = [self._strips[one] for one in node.inputs]
        if name not in self._map_index:
            if isinstance(node, Concat):
                self._strips[name] = tuple(strip for strips in sources for strip in strips)
                return
            if isinstance(node, Slice):
                self._strips[name] = take_channels(sources[0], node.start, node.stop)
                return
            self._strips[name] = (self._new_slot(name),)
        (out,) = self._strips[name]
        self._drafts += self._emitter.emit(node, sources, out, self._binding.level[name])

    def _new_slot(self, name: str) -> Strip:
        channels = self._binding.plan.tensors[name].channels
        self.slots.append(Slot(self._binding.level[name], channels))
        buffer = len(self.maps) + len(self.slots) - 1
        return Strip(buffer, None, 0, channels, channels)

    def _lifetimes(self) -> list[tuple[int, int]]:
        """First and last operator that touches each slot."""
        first, last = [len(self._drafts)] * len(self.slots), [-1] * len(self.slots)
        for index, draft in enumerate(self._drafts):
            buffers = {draft.out.buffer, *(segment.buffer for segment in draft.segments)}
            for slot in (buffer - len(self.maps) for buffer in buffers):
                if slot >= 0:
                    first[slot], last[slot] = min(first[slot], index), max(last[slot], index)
        return list(zip(first, last, strict=True))

    def _cell_costs(self) -> dict[Level, int]:
        """Multiply-accumulates of all operators on one cell of each level."""
        costs: dict[Level, int] = {}
        for step in self._binding.steps:
            if not isinstance(step, IslandStep):
                level = self._binding.level[step.output]
                costs[level] = costs.get(level, 0) + step.node.cell_cost
        return costs


def share_rooms(
    slots: list[Slot], lifetimes: list[tuple[int, int]]
) -> tuple[list[Slot], list[int]]:
    """Give every slot a room of its level that no other uses at the time; return both.

    Slots come in the order in which they begin. A room is as wide as its widest slot.
    """
    rooms: list[Slot] = []
    free_after: list[int] = []
    room_of: list[int] = []
    for slot, (first, last) in zip(slots, lifetimes, strict=True):
        free = [
            index
            for index, room in enumerate(rooms)
            if room.level == slot.level and free_after[index] < first
        ]
        if free:
            chosen = min(free, key=lambda index: abs(rooms[index].channels - slot.channels))
            wider = max(rooms[chosen].channels, slot.channels)
            rooms[chosen] = replace(rooms[chosen], channels=wider)
        else:
            chosen = len(rooms)
            rooms.append(slot)
            free_after.append(last)
        free_after[chosen] = last
        room_of.append(chosen)
    return rooms, room_of
