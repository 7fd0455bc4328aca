"""Tile grids: which tiles a mask needs, which cells tiles hold, and how batches are rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.tiles import TileGrid, bucket

quick = settings(max_examples=60, deadline=None, derandomize=True)
sizes = st.integers(1, 40)
tile_sizes = st.sampled_from([1, 2, 3, 4, 8])


@quick
@given(height=sizes, width=sizes, size=tile_sizes, seed=st.integers(0, 999))
def test_selected_tiles_contain_every_marked_cell(
    height: int, width: int, size: int, seed: int
) -> None:
    grid = TileGrid(Level(4, height, width), size)
    marked = np.random.default_rng(seed).random((height, width)) < 0.1
    tiles = grid.cover(marked)
    assert not (marked & ~grid.cells(tiles)).any()
    assert tiles.sum() <= marked.sum()


@quick
@given(height=sizes, width=sizes, size=tile_sizes, seed=st.integers(0, 999))
def test_cells_of_a_tile_set_are_those_its_tiles_span(
    height: int, width: int, size: int, seed: int
) -> None:
    grid = TileGrid(Level(4, height, width), size)
    tiles = np.random.default_rng(seed).random(grid.shape) < 0.3
    expected = np.zeros((height, width), dtype=np.bool_)
    selected = grid.select(tiles)
    rows, cols = grid.tile_shape
    for top, left in zip(selected.top.tolist(), selected.left.tolist(), strict=True):
        expected[top : top + rows, left : left + cols] = True
        assert 0 <= top <= height - rows
        assert 0 <= left <= width - cols
    assert np.array_equal(grid.cells(tiles), expected)


@quick
@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    stride=st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
    size=tile_sizes,
    seed=st.integers(0, 999),
)
def test_a_block_activates_exactly_the_tiles_it_overlaps(
    rows: int, cols: int, stride: int, size: int, seed: int
) -> None:
    level = Level(stride, -(-rows * 16 // stride), -(-cols * 16 // stride))
    grid = TileGrid(level, size)
    blocks = np.random.default_rng(seed).random((rows, cols)) < 0.2
    pixels = np.repeat(np.repeat(blocks, 16, axis=0), 16, axis=1)
    side = size * stride
    expected = [
        [
            pixels[i * side : (i + 1) * side, j * side : (j + 1) * side].any()
            for j in range(grid.shape[1])
        ]
        for i in range(grid.shape[0])
    ]
    assert np.array_equal(grid.cover_blocks(blocks, 16), expected)


def test_batches_have_few_sizes_and_little_padding() -> None:
    rounded = [bucket(count) for count in range(1, 4097)]
    assert all(size >= count for count, size in enumerate(rounded, 1))
    assert all(size <= count * 9 / 8 + 2 for count, size in enumerate(rounded, 1))
    assert len(set(rounded)) < 100


@pytest.mark.parametrize(("size", "unit"), [(1, 8), (4, 1)])
def test_padding_repeats_a_tile_of_the_set(size: int, unit: int) -> None:
    grid = TileGrid(Level(8, 40, 40), size)
    tiles = np.zeros(grid.shape, dtype=np.bool_)
    tiles[3, 2:5] = tiles[7, 1] = tiles[0, 0:9] = True
    selected = grid.select(tiles)
    assert selected.count == 13
    assert selected.n % unit == 0
    assert set(selected.top[13:].tolist()) <= {0}
    assert set(selected.left[13:].tolist()) <= {0}


def test_an_empty_selection_has_no_batch() -> None:
    grid = TileGrid(Level(8, 40, 40), 4)
    assert grid.select(np.zeros(grid.shape, dtype=np.bool_)).n == 0
