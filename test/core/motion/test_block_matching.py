"""SAD block matching: equal to the plain search, honest about cost, zero on ties."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.motion.block_matching import (
    BlockMatchingMotion,
    MatchingOptions,
    match_blocks,
)
from fluxshard_core.motion.sad_search import sad_search
from fluxshard_kernels.reference import sad_search as reference


def noise(seed, height, width, levels=256):
    rng = np.random.default_rng(seed)
    return rng.integers(0, levels, (height, width), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    block_size=st.sampled_from([1, 4, 7, 16]),
    radius=st.integers(0, 4),
    levels=st.sampled_from([2, 256]),
)
def test_the_fast_search_equals_the_plain_one(seed, height, width, block_size, radius, levels):
    if height * width > 40 * block_size**2:  # the plain search is slow
        height, width = min(height, 6 * block_size), min(width, 6 * block_size)
    current, previous = noise(seed, height, width, levels), noise(seed + 1, height, width, levels)
    vectors, sads = sad_search(current, previous, block_size, radius)
    plain_vectors, plain_sads = reference.sad_search(
        torch.from_numpy(current), torch.from_numpy(previous), block_size, radius
    )
    np.testing.assert_array_equal(vectors, plain_vectors.numpy())
    np.testing.assert_array_equal(sads, plain_sads.numpy())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    exhaustive=st.booleans(),
    quarter_pel=st.booleans(),
    block_size=st.sampled_from([8, 12, 16]),
)
def test_cost_is_the_difference_at_the_vector_and_no_worse_than_not_moving(
    seed, height, width, exhaustive, quarter_pel, block_size
):
    options = MatchingOptions(block_size, 8, exhaustive, quarter_pel, max_cost=1.0)
    current, previous = noise(seed, height, width), noise(seed + 1, height, width)
    field = match_blocks(current, previous, options)
    field.check_image(height, width)
    assert field.valid.all()
    assert np.abs(field.vectors).max() <= 4 * options.radius
    for row, col in np.ndindex(field.valid.shape):
        top, left = row * block_size, col * block_size
        block = current[top : top + block_size, left : left + block_size].astype(int)
        still = previous[top : top + block_size, left : left + block_size]
        cost = float(field.cost[row, col]) * 255
        assert cost <= np.abs(block - still).mean() + 1e-4
        dx, dy = field.vectors[row, col].tolist()
        y, x = top - dy / 4, left - dx / 4
        assert 0 <= y <= height - block.shape[0]
        assert 0 <= x <= width - block.shape[1]
        if dx % 4 == dy % 4 == 0:
            source = previous[int(y) :, int(x) :][: block.shape[0], : block.shape[1]]
            assert cost == pytest.approx(np.abs(block - source).mean(), abs=1e-4)


@pytest.mark.parametrize("exhaustive", [True, False])
def test_where_all_vectors_match_alike_nothing_moved(exhaustive):
    flat = np.full((60, 70), 90, dtype=np.uint8)
    field = match_blocks(flat, flat, MatchingOptions(exhaustive=exhaustive, radius=8))
    assert field.valid.all()
    assert not field.vectors.any()
    assert not field.cost.any()


def test_sensor_noise_on_a_still_scene_does_not_move_it(texture):
    y, x = np.mgrid[0:128, 0:192].astype(np.float64)
    rng = np.random.default_rng(5)
    scene = 0.3 * texture(9)(x, y)  # faint enough that interpolating the noise away tempts
    noisy = [
        np.clip(scene + rng.normal(0, 1.5, scene.shape), 0, 255).astype(np.uint8) for _ in "ab"
    ]
    field = match_blocks(*noisy, MatchingOptions())
    assert (field.vectors == 0).all(axis=-1).mean() >= 0.95


@pytest.mark.parametrize("block_size", [8, 16, 32])
def test_block_sizes_find_the_same_pan(pan, block_size):
    source = BlockMatchingMotion(MatchingOptions(block_size=block_size))
    field = [source.next(image).field for image in pan((-5, 3), 2)][1]
    assert field.block_size == block_size
    inner = field.vectors[1:-1, 1:-1]
    assert (inner == (-20, 12)).all(axis=-1).mean() >= 0.98


def test_a_block_that_matches_nothing_is_invalid_and_has_no_cost(pan):
    before, after = pan((2, 0), 2)
    after[48:64, 48:64] = noise(0, 16, 16)[..., None]
    source = BlockMatchingMotion()
    source.next(before)
    field = source.next(after).field
    assert not field.valid[3, 3]
    assert np.isnan(field.cost[3, 3])
    assert field.valid.sum() >= field.valid.size - 9


def test_the_window_bounds_what_is_found(pan):
    before, after = (image[..., 0] for image in pan((12, 0), 2))
    found = match_blocks(after, before, MatchingOptions(radius=12)).vectors
    missed = match_blocks(after, before, MatchingOptions(radius=8, max_cost=1)).vectors
    assert (found[:, 1:] == (48, 0)).all(axis=-1).mean() >= 0.98
    assert np.abs(missed).max() <= 32


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"block_size": 0}, "block size is 0"),
        ({"radius": -1}, "search radius is -1"),
        ({"max_cost": 2.0}, "max_cost is 2.0"),
    ],
)
def test_options_out_of_range_are_refused(option, message):
    with pytest.raises(InputError, match=message):
        MatchingOptions(**option)
