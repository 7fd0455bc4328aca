"""Maps that follow by tables hold what copied ones do, and no written cell shares its memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxshard_core.motion.field import block_grid
from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.compiled.program import Program
from fluxshard_core.sparse.compiled.runner import CompiledRunner
from fluxshard_core.sparse.compiled.tables import TableMover, table_bytes
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.layout import Halo, LevelLayout
from fluxshard_core.sparse.movers import CellMover, copy_cells
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_kernels.cpu.library import load

quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class CopyingBackend(CompiledBackend):
    """The plain form: cells are copied to their places, and programs find them there."""

    def layout(self, level: Level, halo: Halo, *, filtered: bool) -> LevelLayout:
        return super().layout(level, halo, filtered=True)

    def mover(self, layout: LevelLayout, *, filtered: bool) -> CellMover:
        return super().mover(layout, filtered=True)

    def mover_bytes(self, layout: LevelLayout, *, filtered: bool) -> int:
        return super().mover_bytes(layout, filtered=True)

    def runner(self, binding: Binding, *, filtered: bool) -> CompiledRunner:
        pitch = {level: layout.pitch for level, layout in binding.layouts(filtered=True).items()}
        names = [spec.name for spec in binding.cached(filtered)]
        program = Program(binding, names, pitch, self._emitter, tabled=False)
        return CompiledRunner(self._library, program, program, self.dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("seed", range(12))
def test_frames_are_the_same_bit_for_bit_as_with_copied_caches(
    random_plan: Callable[[int], Plan],
    random_scene: Callable[..., Any],
    seed: int,
    dtype: torch.dtype,
) -> None:
    plan = random_plan(seed)
    spec = plan.tensors[plan.inputs[0]]
    options = ExecutorOptions(crossing=9.0)
    tabled = Executor(plan, CompiledBackend(dtype), options)
    copied = Executor(plan, CopyingBackend(dtype), options)
    rng = np.random.default_rng(seed)
    grid = block_grid(spec.height, spec.width)
    ratios = []
    for frame, motion in random_scene(plan, seed, 12, whole_pixels=False):
        blocks = rng.random(grid) < 0.2
        one, other = (executor.run(frame, motion, blocks) for executor in (tabled, copied))
        assert all(map(torch.equal, one.outputs, other.outputs))
        assert one.executed == other.executed
        ratios.append(one.compute_ratio)
    assert min(ratios) < 0.9


def moving(level: Level, rng: np.random.Generator, reach: int = 4) -> LevelMotion:
    """A pan with a patch that moves otherwise; sources may lie outside the frame."""
    shift = np.zeros((2, *level.shape), dtype=np.int16)
    common = rng.integers(-reach, reach + 1, 2)
    shift[:] = common[:, None, None]
    row, col = rng.integers(level.height), rng.integers(level.width)
    shift[:, row : row + 3, col : col + 4] = rng.integers(-reach, reach + 1, 2)[:, None, None]
    return LevelMotion(level, shift, np.ones(level.shape, bool), None, (0, 0))


def new_mover(level: Level) -> tuple[TableMover, FeatureStore]:
    layout = LevelLayout(level, Halo(1, 1, 1), slack_share=0)
    mover = TableMover(load(), layout, copy_cells)
    store = FeatureStore(layout, 2, torch.float32, -1.0, Scratch())
    store.write(torch.randn(*level.shape, 2))
    mover.add(store, ringed=True, overwritten=False)
    return mover, store


def write(mover: TableMover, store: FeatureStore, cells: Any, values: torch.Tensor) -> None:
    """Write single cells where the table has them."""
    layout, table = mover.layout, mover._table
    places = layout.flat(torch.from_numpy(np.flatnonzero(cells)))
    store.scatter_cells(torch.from_numpy(table[places.numpy()].astype(np.int64)), values)


@quick
@given(height=st.integers(1, 16), width=st.integers(1, 16), seed=st.integers(0, 2**31))
def test_kept_cells_find_their_source_and_written_ones_disturb_nobody(
    height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    level = Level(8, height, width)
    mover, store = new_mover(level)
    for _ in range(10):
        before, motion = mover.whole(store), moving(level, rng)
        kept = rng.random(level.shape) < rng.random()
        mover.move(motion, kept, preserve=False)
        expected = before[motion.source_rows, motion.source_cols]
        assert torch.equal(mover.whole(store)[kept], expected[kept])
        values = torch.randn(int((~kept).sum()), 2)
        write(mover, store, ~kept, values)
        expected[~kept] = values
        assert torch.equal(mover.whole(store), expected)
        ring = torch.ones(mover.layout.size, dtype=torch.bool)
        ring[mover.layout.flat(torch.arange(height * width))] = False
        assert (store.gather_cells(ring.nonzero().reshape(-1)) == -1.0).all()
    mover.settle()
    assert torch.equal(mover.whole(store), store.frame())


@quick
@given(height=st.integers(1, 16), width=st.integers(1, 16), seed=st.integers(0, 2**31))
def test_where_nothing_moves_cells_about_to_be_written_can_keep_what_they_hold(
    height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    level = Level(8, height, width)
    mover, store = new_mover(level)
    mover.move(moving(level, rng), np.ones(level.shape, bool), preserve=False)
    before = mover.whole(store)
    still = LevelMotion(
        level, np.zeros((2, *level.shape), np.int16), np.ones(level.shape, bool), None, (0, 0)
    )
    kept = rng.random(level.shape) < 0.5
    mover.move(still, kept, preserve=True)
    assert torch.equal(mover.whole(store), before)
    write(mover, store, ~kept, torch.full((int((~kept).sum()), 2), float("nan")))
    assert torch.equal(mover.whole(store)[kept], before[kept])
    assert mover.whole(store)[~kept].isnan().all()


def test_a_level_whose_maps_are_all_overwritten_needs_no_table() -> None:
    level = Level(8, 6, 5)
    layout = LevelLayout(level, Halo(), slack_share=0)
    mover = TableMover(load(), layout, copy_cells)
    store = FeatureStore(layout, 2, torch.float32, 0.0, Scratch())
    mover.add(store, ringed=False, overwritten=True)
    assert mover.bytes == 0
    mover.move(moving(level, np.random.default_rng(0)), np.ones((6, 5), bool), preserve=False)
    mover.add(store, ringed=False, overwritten=False)
    assert mover.bytes == table_bytes(layout) == 8 * layout.size
