"""CompiledRunner: frames of one or several endpoints through a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fluxshard_core.reuse.remap import Bool, Level
from fluxshard_core.sparse.block_pass import run_island
from fluxshard_core.sparse.compiled.cells import CellLists
from fluxshard_core.sparse.compiled.program import Program
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.schedule import Schedule
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_kernels.cpu.library import Int64, Library, Records
from fluxshard_kernels.cpu.records import BUFFER, PART, Kind

_LINE = 32  # numbers to a multiple of which slots are filled up


@dataclass(frozen=True, eq=False)
class _Part:
    """One endpoint's frame: its memory, its cells, and how many of them by level."""

    network: Network
    buffers: Records
    lists: Records
    counts: Mapping[Level, int]


class _Memory:
    """What one endpoint's cells take while a frame runs; used again by the next."""

    def __init__(self) -> None:
        self.cells, self.lists, self.slots = Scratch(), Scratch(), Scratch()


class CompiledRunner:
    """Runs ``program``; several endpoints' operators in turn, so that weights are read once.

    What a frame needs beyond the caches is kept and shared by all that the runner runs.
    """

    def __init__(self, library: Library, program: Program, dtype: torch.dtype) -> None:
        self._library, self.program, self._dtype = library, program, dtype
        self._lists = CellLists(library, program.assembly.rules)
        self._memory: list[_Memory] = []
        self.timings: dict[Kind, float] | None = None

    def dense(self, network: Network, image: torch.Tensor) -> None:
        """Compute every map from ``image`` ``(1, H, W, C)``."""
        self._run([self._part(network, image, None, self._memory_of(0))])

    def blocks(
        self,
        networks: Sequence[Network],
        images: Sequence[torch.Tensor],
        schedules: Sequence[Schedule],
    ) -> list[int]:
        """Recompute the scheduled cells of each network, its caches moved; return what each
        executed in multiply-accumulates."""
        parts = [
            self._part(network, image, schedule.recomputed, self._memory_of(index))
            for index, (network, image, schedule) in enumerate(
                zip(networks, images, schedules, strict=True)
            )
        ]
        self._run(parts)
        return [self._executed(part) for part in parts]

    def steps(
        self, network: Network, image: torch.Tensor, schedule: Schedule | None
    ) -> Iterator[None]:
        """Pause after every operator; its memory is its own, for other frames run meanwhile."""
        memory = _Memory()  # kept until the last step: the part holds but addresses
        marks = None if schedule is None else schedule.recomputed
        yield from self._steps([self._part(network, image, marks, memory)], 1)

    def _memory_of(self, index: int) -> _Memory:
        if index == len(self._memory):
            self._memory.append(_Memory())
        return self._memory[index]

    def _part(
        self,
        network: Network,
        image: torch.Tensor,
        marks: Mapping[Level, Bool] | None,
        memory: _Memory,
    ) -> _Part:
        (source,) = network.plan.inputs
        network.cache[source].write(image)
        rows, cols = self._lists.mark(marks, memory.cells)
        lists = self._lists.lists(rows, cols, network.cache.place, memory.lists)
        counts = {level: len(row) for level, row in zip(self._lists.levels, rows, strict=True)}
        return _Part(network, self._buffers(network, counts, memory.slots), lists, counts)

    def _buffers(self, network: Network, counts: Mapping[Level, int], scratch: Scratch) -> Records:
        program = self.program
        buffers: Records = np.zeros(len(program.maps) + len(program.slots), BUFFER)
        for index, name in enumerate(program.maps):
            store = network.cache[name]
            buffers[index] = store.address, store.channels
        sizes = [-(-counts[room.level] * room.channels // _LINE) * _LINE for room in program.rooms]
        ends = np.cumsum([0, *sizes])
        memory = scratch.take((int(ends[-1]) + 1,), self._dtype).data_ptr()
        if program.slots:
            slots = buffers[len(program.maps) :]
            slots["data"] = memory + self._dtype.itemsize * ends[program.room_of]
            slots["stride"] = [slot.channels for slot in program.slots]
        return buffers

    def _run(self, parts: Sequence[_Part]) -> None:
        for _ in self._steps(parts, len(self.program.assembly.operators)):
            pass

    def _steps(self, parts: Sequence[_Part], most: int) -> Iterator[None]:
        """Run everything, pausing after at most so many operators."""
        pointers: Records = np.array(
            [(part.buffers.ctypes.data, part.lists.ctypes.data) for part in parts], dtype=PART
        )
        assembly, threads = self.program.assembly, torch.get_num_threads()
        half = self._dtype is torch.bfloat16
        for section in self.program.sections:
            for start in range(section.start, section.stop, max(1, most)):
                operators = assembly.operators[start : min(start + most, section.stop)]
                spent = None if self.timings is None else np.zeros(len(operators), np.int64)
                self._library.run(operators, assembly.segments, pointers, threads, spent, half=half)
                if spent is not None:
                    self._note(operators, spent)
                yield
            if section.island:
                # An island is captured for one frame, and its shapes are written into it.
                for part in parts:
                    run_island(part.network, section.island)
                yield

    def _note(self, operators: Records, spent: Int64) -> None:
        assert self.timings is not None
        for kind, nanoseconds in zip(operators["kind"].tolist(), spent.tolist(), strict=True):
            self.timings[Kind(kind)] = self.timings.get(Kind(kind), 0.0) + nanoseconds / 1e9

    def _executed(self, part: _Part) -> int:
        costs = self.program.cell_costs
        cells = sum(cost * part.counts.get(level, 0) for level, cost in costs.items())
        return cells + self.program.island_cost
