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
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import Int64, Library, Records
from fluxshard_kernels.cpu.records import BUFFER, PART, Kind

_LINE = 32  # numbers to a multiple of which slots are filled up


class _Form:
    """A program and the lists of cells it runs on."""

    def __init__(self, library: Library, program: Program) -> None:
        self.program = program
        self.lists = CellLists(library, program.assembly.rules)


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
    """Runs ``whole`` on all cells, each in its place, and ``some``, if given, on some of them,
    found by tables; several endpoints' operators in turn, so that weights are read once.

    What a frame needs beyond the caches is kept and shared by all that the runner runs.
    """

    def __init__(
        self, library: Library, whole: Program, some: Program | None, dtype: torch.dtype
    ) -> None:
        self._library, self._dtype = library, dtype
        self._whole = _Form(library, whole)
        self._some = _Form(library, some) if some else None
        self.programs = (whole, some) if some else (whole,)
        self._memory: list[_Memory] = []
        self.timings: dict[Kind, float] | None = None

    def dense(self, network: Network, image: torch.Tensor) -> None:
        """Compute every map from ``image`` ``(1, H, W, C)``."""
        self._run(self._whole, [self._part(network, image, None, self._memory_of(0))])

    def blocks(
        self,
        networks: Sequence[Network],
        images: Sequence[torch.Tensor],
        schedules: Sequence[Schedule],
    ) -> list[int]:
        """Recompute the scheduled cells of each network, its caches moved; return what each
        executed in multiply-accumulates."""
        form = self._form(partly=True)
        parts = [
            self._part(network, image, schedule.recomputed, self._memory_of(index))
            for index, (network, image, schedule) in enumerate(
                zip(networks, images, schedules, strict=True)
            )
        ]
        self._run(form, parts)
        return [_executed(form.program, part) for part in parts]

    def steps(
        self, network: Network, image: torch.Tensor, schedule: Schedule | None
    ) -> Iterator[None]:
        """Pause after every operator; its memory is its own, for other frames run meanwhile."""
        memory = _Memory()  # kept until the last step: the part holds but addresses
        marks = None if schedule is None else schedule.recomputed
        form = self._form(partly=schedule is not None)
        yield from self._steps(form, [self._part(network, image, marks, memory)], 1)

    def _form(self, *, partly: bool) -> _Form:
        if not partly:
            return self._whole
        assert self._some is not None, "a filtered network has no active cells in common"
        return self._some

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
        form = self._form(partly=marks is not None)
        if marks is None:
            network.cache.settle()
        (source,) = network.plan.inputs
        network.cache[source].write(image)
        rows, cols = form.lists.mark(marks, memory.cells)
        lists = form.lists.lists(rows, cols, network.cache.place, memory.lists)
        counts = {level: len(row) for level, row in zip(form.lists.levels, rows, strict=True)}
        buffers = self._buffers(form.program, network, counts, memory.slots)
        return _Part(network, buffers, lists, counts)

    def _buffers(
        self, program: Program, network: Network, counts: Mapping[Level, int], scratch: Scratch
    ) -> Records:
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

    def _run(self, form: _Form, parts: Sequence[_Part]) -> None:
        for _ in self._steps(form, parts, len(form.program.assembly.operators)):
            pass

    def _steps(self, form: _Form, parts: Sequence[_Part], most: int) -> Iterator[None]:
        """Run everything, pausing after at most so many operators."""
        pointers: Records = np.array(
            [(part.buffers.ctypes.data, part.lists.ctypes.data) for part in parts], dtype=PART
        )
        assembly, threads = form.program.assembly, compute_threads()
        half = self._dtype is torch.bfloat16
        for section in form.program.sections:
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


def _executed(program: Program, part: _Part) -> int:
    costs = program.cell_costs.items()
    return sum(cost * part.counts.get(level, 0) for level, cost in costs) + program.island_cost
