"""Gather, scatter and motion of the caches against the plain reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.sparse.feature_cache import FeatureCache
from fluxshard_core.sparse.layout import Halo, LevelLayout, Patch
from fluxshard_core.sparse.movers import CopyingMover
from fluxshard_core.sparse.nodes import Window
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet
from fluxshard_kernels.reference.tiles import gather_patches, move_cells, scatter_tiles

quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def random_tiles(grid: TileGrid, rng: np.random.Generator) -> TileSet:
    marked = rng.random(grid.shape) < 0.4
    marked[rng.integers(grid.shape[0]), rng.integers(grid.shape[1])] = True
    return grid.select(marked)


def corners(tiles: TileSet, patch: Patch) -> list[tuple[int, int]]:
    top, left = patch.origins(tiles)
    return list(zip(top.tolist(), left.tolist(), strict=True))


def filled_store(layout: LevelLayout, channels: int, pad_value: float) -> FeatureStore:
    store = FeatureStore(layout, channels, torch.float32, pad_value, Scratch())
    store.write(torch.randn(*layout.level.shape, channels))
    return store


@quick
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    size=st.sampled_from([1, 2, 3, 4, 8]),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 2),
    pad_value=st.sampled_from([0.0, float("-inf")]),
    seed=st.integers(0, 1000),
)
def test_gather_reads_what_the_reference_reads_at_every_border(
    height: int, width: int, size: int, kernel: int, stride: int, pad_value: float, seed: int
) -> None:
    torch.manual_seed(seed)
    level = Level(2, height, width)
    output = Level(2 * stride, *((cells + kernel - 1) // stride + 1 for cells in (height, width)))
    grid = TileGrid(output, size)
    window = Window((kernel, kernel), (stride, stride), (kernel - 1,) * 4)
    patch = Patch.of(window, grid.tile_shape)
    store = filled_store(LevelLayout(level, Halo.around(level, [(patch, grid)])), 3, 0.0)
    tiles = random_tiles(grid, np.random.default_rng(seed))
    expected = gather_patches(store.frame(), corners(tiles, patch), patch.extent, pad_value)
    assert torch.equal(store.gather(tiles, patch, pad_value), expected)


@quick
@given(
    height=st.integers(1, 23),
    width=st.integers(1, 23),
    size=st.sampled_from([1, 2, 3, 8]),
    seed=st.integers(0, 1000),
)
def test_scatter_writes_the_tiles_and_nothing_else(
    height: int, width: int, size: int, seed: int
) -> None:
    torch.manual_seed(seed)
    level = Level(1, height, width)
    grid = TileGrid(level, size)
    store = filled_store(LevelLayout(level, Halo(1, 1, 1)), 2, 0.0)
    tiles = random_tiles(grid, np.random.default_rng(seed))
    wanted = torch.randn(height, width, 2)
    where = corners(tiles, Patch(grid.tile_shape))
    values = gather_patches(wanted, where, grid.tile_shape)
    expected = scatter_tiles(store.frame(), where, values)
    store.scatter(tiles, values)
    assert torch.equal(store.frame(), expected)
    assert torch.equal(store.read(tiles), values)
    everywhere = Patch((height + 2, width + 2), (-1, -1))
    ring = store.gather(TileGrid(level, max(level.shape)).everything(), everywhere)[0]
    assert not ring[0].any()
    assert not ring[-1].any()
    assert not ring[:, 0].any()
    assert not ring[:, -1].any()


def random_shifts(level: Level, rng: np.random.Generator) -> LevelMotion:
    """A pan with patches that move otherwise; some pans are far beyond the slack."""
    reach = int(rng.choice([1, 3, 40]))
    common = tuple(int(value) for value in rng.integers(-reach, reach + 1, 2))
    shift = np.empty((2, *level.shape), dtype=np.int16)
    shift[:] = np.array(common)[:, None, None]
    for _ in range(int(rng.integers(0, 3))):
        row, col = rng.integers(level.height), rng.integers(level.width)
        shift[:, row : row + 4, col : col + 5] = rng.integers(-3, 4, 2)[:, None, None]
    rows = np.arange(level.height)[:, None] - shift[0]
    cols = np.arange(level.width) - shift[1]
    valid = (rows >= 0) & (rows < level.height) & (cols >= 0) & (cols < level.width)
    return LevelMotion(level, shift, valid, None, (common[0], common[1]))


@quick
@given(height=st.integers(2, 30), width=st.integers(2, 30), seed=st.integers(0, 1000))
def test_caches_follow_many_frames_of_motion_and_keep_their_ring(
    new_backend: Callable[[], Backend], height: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    level = Level(8, height, width)
    layout = LevelLayout(level, Halo(2, 1, 1))
    cache = FeatureCache({level: new_backend().mover(layout, filtered=True)})
    cache.add("zero", filled_store(layout, 3, 0.0))
    cache.add("infinite", filled_store(layout, 1, float("-inf")))
    whole = Patch((height + 3, width + 2), (-2, -1))
    frame = TileGrid(level, max(height, width)).everything()
    for _ in range(12):
        motion = random_shifts(level, rng)
        before = {name: cache[name].frame().clone() for name in cache.names}
        cache.move(motion, motion.valid)
        for name in cache.names:
            expected = move_cells(before[name], torch.from_numpy(motion.shift))
            valid = torch.from_numpy(motion.valid)
            assert torch.equal(cache[name].frame()[valid], expected[valid])
            surrounded = cache[name].gather(frame, whole, cache[name].pad_value)[0].clone()
            surrounded[2:-1, 1:-1] = cache[name].pad_value
            assert (surrounded == cache[name].pad_value).all()
            cache[name].write(torch.randn(height, width, cache[name].channels))


def test_a_common_shift_within_the_slack_moves_the_origin_and_copies_no_cell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_copy(*_: object) -> None:
        pytest.fail("cells were copied one by one")

    level = Level(8, 20, 30)
    layout = LevelLayout(level, Halo(1, 1, 1))
    cache = FeatureCache({level: CopyingMover(layout, no_copy)})
    cache.add("map", filled_store(layout, 4, 0.0))
    address, origin = cache["map"].frame().untyped_storage().data_ptr(), layout.origin
    for copier in ("gather_cells", "scatter_cells", "recentre"):
        monkeypatch.delattr(FeatureStore, copier)
    shift = np.empty((2, 20, 30), dtype=np.int16)
    shift[:] = np.array([1, -2])[:, None, None]
    before = cache["map"].frame().clone()
    cache.move(LevelMotion(level, shift, np.ones((20, 30), bool), None, (1, -2)), shift[0] > 0)
    assert layout.origin == origin - layout.pitch + 2
    assert cache["map"].frame().untyped_storage().data_ptr() == address
    assert torch.equal(cache["map"].frame()[1:, :-2], before[:-1, 2:])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_cells_are_written_whole_whatever_their_size(channels: int, dtype: torch.dtype) -> None:
    """Writing goes in words of up to sixteen bytes; NaN must survive it."""
    level = Level(4, 8, 12)
    grid = TileGrid(level, 2)
    store = FeatureStore(LevelLayout(level, Halo(1, 1, 1)), channels, dtype, 0.0, Scratch())
    before = torch.randn(8, 12, channels).to(dtype)
    store.write(before)
    tiles = random_tiles(grid, np.random.default_rng(channels))
    values = torch.randn(tiles.n, 2, 2, channels).to(dtype)
    values[:, 0, 1] = float("nan")
    values[tiles.count :] = values[:1]
    wide = torch.cat([values, values], dim=3)[..., :channels]  # rows that lie apart in memory
    expected = scatter_tiles(before, corners(tiles, Patch((2, 2))), wide)
    store.scatter(tiles, wide)
    assert torch.equal(store.frame().nan_to_num(7.0), expected.nan_to_num(7.0))
