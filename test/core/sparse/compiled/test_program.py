"""A program copies nothing it need not, and no two tensors that live at once share memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.compiled.program import Program, Slot, share_rooms
from fluxshard_core.sparse.plan import Plan
from fluxshard_kernels.cpu.records import Kind


@pytest.fixture(params=["whole", "some"])
def program_of(request: pytest.FixtureRequest) -> Callable[[Plan], Program]:
    """The program of whole frames, or the one that finds cells by tables."""

    def program(plan: Plan) -> Program:
        backend = CompiledBackend()
        programs = backend.runner(Binding(plan, backend), filtered=False).programs
        return programs[["whole", "some"].index(request.param)]

    return program


@pytest.mark.parametrize("seed", range(20))
def test_rooms_in_use_at_once_are_different_and_wide_enough(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = [Level(2, 8, 8), Level(4, 4, 4)]
    starts = np.sort(rng.integers(0, 30, 25))
    lifetimes = [(int(start), int(start + rng.integers(0, 9))) for start in starts]
    slots = [Slot(levels[int(rng.integers(2))], int(rng.integers(1, 64))) for _ in lifetimes]
    rooms, room_of = share_rooms(slots, lifetimes)
    for one, room in enumerate(room_of):
        assert rooms[room].level == slots[one].level
        assert rooms[room].channels >= slots[one].channels
        for other in range(one):
            (first, last), (begin, end) = lifetimes[one], lifetimes[other]
            assert room != room_of[other] or first > end or begin > last
    assert len(rooms) < len(slots)


def test_splits_and_concatenations_are_read_in_place(plan_builder: Any, program_of: Any) -> None:
    builder = plan_builder(3, 32, 32)
    both = builder.conv("image", 16)
    left, right = builder.slice(both, 0, 8), builder.slice(both, 8, 16)
    joined = builder.concat(right, builder.conv(left, 8, kernel=1))
    kinds = program_of(builder.build(builder.conv(joined, 4, kernel=1))).assembly.operators["kind"]
    assert kinds.tolist() == [Kind.CONVOLVE] * 3


def test_a_split_that_is_read_by_a_neighbourhood_is_written_out(
    plan_builder: Any, program_of: Any
) -> None:
    builder = plan_builder(3, 32, 32)
    left = builder.slice(builder.conv("image", 16), 0, 8)
    kinds = program_of(builder.build(builder.conv(left, 4))).assembly.operators["kind"].tolist()
    assert kinds == [Kind.CONVOLVE, Kind.COPY, Kind.CONVOLVE]


def test_sums_of_joined_tensors_are_cut_where_either_changes(
    plan_builder: Any, program_of: Any
) -> None:
    builder = plan_builder(6, 32, 32)
    parts = [builder.conv("image", channels, kernel=1) for channels in (4, 12, 10, 6)]
    total = builder.binary(builder.concat(*parts[:2]), builder.concat(*parts[2:]))
    operators = program_of(builder.build(total)).assembly.operators
    added = operators[operators["kind"] == Kind.ADD]
    assert added["channels"].tolist() == [4, 6, 6]
    assert added["offset"].tolist() == [0, 4, 10]


def test_weights_are_packed_once_for_all_that_run_a_node(plan_builder: Any) -> None:
    builder = plan_builder(3, 32, 32)
    plan = builder.build(builder.conv("image", 40))
    backend = CompiledBackend()
    filtered = backend.runner(Binding(plan, backend), filtered=True).programs
    programs = *backend.runner(Binding(plan, backend), filtered=False).programs, *filtered
    assert len({tuple(program.assembly.operators["weights"]) for program in programs}) == 1
    assert len(programs) == 3
