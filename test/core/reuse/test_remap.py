"""Cached cells land where their content went: exactly, without collision, without drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.reuse.block_motion import BlockMotion
from fluxshard_core.reuse.remap import FeatureRemap, Level, keep, keep_plainly

QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def field(height: int, width: int, dx: int = 0, dy: int = 0) -> MotionField:
    """One motion, in quarter pixels, for the whole frame."""
    made = MotionField.zero(height, width)
    made.vectors[...] = dx, dy
    return made


def levels(height: int, width: int) -> list[Level]:
    return [Level(s, -(-height // s), -(-width // s)) for s in (1, 2, 4, 8, 16, 32)]


def nothing(level: Level) -> dict[Level, np.ndarray]:
    return {level: np.zeros(level.shape, dtype=bool)}


def test_a_slow_pan_moves_a_coarse_level_one_cell_every_eleven_frames() -> None:
    level = Level(32, 4, 40)
    remap = FeatureRemap([level])
    moves = []
    for _ in range(110):
        moved = remap.follow(field(128, 1280, dx=3 * 4))[level]
        moves.append(moved.common[1])
        remap.settle({level: moved}, nothing(level))
    assert sum(moves) == 110 * 3 // 32
    at = np.flatnonzero(moves)
    assert set(np.diff(at)) <= {10, 11}


@pytest.mark.parametrize("pan", [1, -3, 7, 50, -129])
def test_two_hundred_frames_of_a_pan_never_drift_at_any_level(pan: int) -> None:
    """Shift and remainder of inner cells always add up to the whole motion, in quarter pixels."""
    grid = levels(96, 256)
    remap = FeatureRemap(grid)
    total = dict.fromkeys(grid, 0)
    for frame in range(1, 201):
        moved = remap.follow(field(96, 256, dx=pan))
        for level in grid:
            total[level] += moved[level].common[1] * level.stride * 4
            residual = moved[level].residual
            left = 0 if residual is None else int(residual[1, level.height // 2, level.width // 2])
            assert total[level] + left == frame * pan
            assert abs(left) <= 2 * level.stride
        remap.settle(moved, {})


@given(seed=st.integers(0, 2**32 - 1), stride=st.sampled_from([1, 2, 3, 4, 8, 12, 16, 32, 64]))
@QUICK
def test_every_valid_cell_accounts_for_its_motion_to_the_quarter_pixel(seed, stride) -> None:
    """``shift * stride + residual = motion + what the source still had``, at most half a cell."""
    rng = np.random.default_rng(seed)
    height, width = (int(n) for n in rng.integers(33, 200, 2))
    level = Level(stride, -(-height // stride), -(-width // stride))
    remap = FeatureRemap([level])
    carried = np.zeros((2, *level.shape), dtype=np.int64)
    for _ in range(3):
        motion = MotionField.zero(height, width)
        spread = int(rng.choice([3, 40, 400]))
        motion.vectors[...] = rng.integers(-spread, spread + 1, 2)
        motion.vectors[rng.integers(motion.rows) :, rng.integers(motion.cols) :] = rng.integers(
            -spread, spread + 1, 2
        )
        moved = remap.follow(motion)[level]
        residual = np.zeros_like(carried) if moved.residual is None else moved.residual
        for y, x in np.argwhere(moved.valid):
            dy, dx = (int(n) for n in moved.shift[:, y, x])
            assert 0 <= y - dy < level.height
            assert 0 <= x - dx < level.width
            blocks = motion.vectors[
                y * stride // 16 : ((y + 1) * stride - 1) // 16 + 1,
                x * stride // 16 : ((x + 1) * stride - 1) // 16 + 1,
            ].reshape(-1, 2)
            owed = np.array([dy, dx]) * stride * 4 + residual[:, y, x]
            assert (owed - carried[:, y - dy, x - dx])[::-1].tolist() in blocks.tolist()
            assert np.abs(residual[:, y, x]).max() <= 2 * stride
        recomputed = rng.random(level.shape) < 0.3
        remap.settle({level: moved}, {level: recomputed})
        carried = np.where(recomputed, 0, residual)


def test_sources_outside_the_frame_and_unknown_blocks_have_no_cached_value() -> None:
    level = Level(8, 8, 8)
    motion = field(64, 64, dx=16 * 4, dy=-8 * 4)
    motion.valid[1, 2] = False
    moved = FeatureRemap([level]).follow(motion)[level]
    expected = np.ones(level.shape, dtype=bool)
    expected[:, :2] = False
    expected[7, :] = False
    expected[2:4, 4:6] = False
    np.testing.assert_array_equal(moved.valid, expected)
    assert moved.source.min() >= 0
    assert moved.source.max() < 64


def test_a_cell_over_several_blocks_moves_with_the_medoid() -> None:
    level = Level(32, 1, 1)
    motion = MotionField.zero(32, 32)
    motion.vectors[...] = [[[0, 0], [128, 0]], [[128, 0], [140, 4]]]
    moved = FeatureRemap([level]).follow(motion)[level]
    assert moved.common == (0, 1)
    assert moved.residual is None
    motion.valid[0, 0] = False
    assert not FeatureRemap([level]).follow(motion)[level].valid.any()


@given(seed=st.integers(0, 2**32 - 1))
@QUICK
def test_moving_the_origin_and_copying_the_exceptions_equals_a_full_gather(seed: int) -> None:
    rng = np.random.default_rng(seed)
    level = Level(4, 24, 40)
    motion = field(96, 160, *(16 * rng.integers(-3, 4, 2)))
    motion.vectors[rng.integers(6) :, rng.integers(10) :] = 16 * rng.integers(-3, 4, 2)
    moved = FeatureRemap([level]).follow(motion)[level]
    cache = rng.random(level.shape)
    kept = moved.valid & (rng.random(level.shape) < 0.8)
    shifted = np.roll(cache, moved.common, axis=(0, 1)).reshape(-1)
    destination, source = moved.exceptions(kept)
    shifted[destination] = cache.reshape(-1)[source]
    whole = cache.reshape(-1)[moved.source]
    np.testing.assert_array_equal(shifted.reshape(level.shape)[kept], whole[kept])


def test_one_motion_for_the_whole_frame_costs_no_copy() -> None:
    moved = FeatureRemap(levels(96, 128)).follow(field(96, 128, dx=-256, dy=128))
    for level, motion in moved.items():
        assert motion.uniform
        assert motion.common == (32 // level.stride, -64 // level.stride)
        destination, source = motion.exceptions(motion.valid)
        assert len(destination) == len(source) == 0


def test_recomputed_cells_owe_nothing_and_a_reset_forgets_all() -> None:
    level = Level(32, 2, 2)
    remap = FeatureRemap([level])
    step = field(64, 64, dx=40)
    recomputed = np.array([[True, False], [False, False]])
    remap.settle(remap.follow(step), {level: recomputed})
    residual = remap.follow(field(64, 64))[level].residual
    assert residual is not None
    np.testing.assert_array_equal(residual[1], [[0, 40], [40, 40]])
    remap.reset()
    assert remap.follow(field(64, 64))[level].residual is None


def test_following_a_motion_changes_nothing_until_it_is_settled() -> None:
    level = Level(32, 2, 2)
    remap = FeatureRemap([level])
    first = remap.follow(field(64, 64, dx=40))[level]
    again = remap.follow(field(64, 64, dx=40))[level]
    np.testing.assert_array_equal(first.shift, again.shift)
    np.testing.assert_array_equal(first.residual, again.residual)


def test_where_no_cached_cell_is_within_half_a_cell_there_is_no_source() -> None:
    """Content on the left fell 60 quarter pixels behind, on the right it is in place: a gap."""
    level = Level(32, 1, 8)
    remap = FeatureRemap([level])
    recomputed = np.zeros(level.shape, dtype=bool)
    recomputed[:, :4] = True
    remap.settle(remap.follow(field(32, 256, dx=60)), {level: recomputed})
    moved = remap.follow(field(32, 256, dx=40))[level]
    residual = np.zeros((2, 1, 8)) if moved.residual is None else moved.residual
    # Content now sits at 32c+10 px left of the gap and at 32c+25 px right of it.
    np.testing.assert_array_equal(moved.shift[1, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(moved.valid[0], [1, 1, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(residual[1, 0, [0, 3, 5, 7]], [40, 40, -28, -28])


def test_a_padded_map_wider_than_the_frame_moves_with_its_last_blocks() -> None:
    level = Level(1, 36, 36)
    motion = MotionField.zero(32, 32)
    motion.vectors[1, 1] = 8, 4
    moved = FeatureRemap([level]).follow(motion)[level]
    assert moved.shift[:, 16:, 16:].reshape(2, -1).T.tolist() == [[1, 2]] * 400


def test_an_empty_level_is_refused() -> None:
    with pytest.raises(InputError, match="must be positive"):
        Level(8, 0, 4)


def test_the_vector_of_most_blocks_is_common_and_unknown_blocks_have_no_say() -> None:
    motion = field(64, 64, dx=-5, dy=7)
    motion.vectors[:2] = 12, -3
    motion.valid[0, 0] = False
    blocks = BlockMotion.of(motion)
    assert blocks.common == (7, -5)
    assert blocks.apart is not None
    assert blocks.apart.sum() == 7
    assert blocks.unknown is not None
    assert BlockMotion.of(MotionField.invalid(64, 64)).common == (0, 0)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_compiled_and_plain_cells_move_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(side) * 32 for side in rng.integers(1, 6, 2))
    levels = [Level(stride, height // stride, width // stride) for stride in (1, 2, 8, 16, 32)]
    remap, rows, cols = FeatureRemap(levels), *block_grid(height, width)
    for _ in range(4):
        vectors = rng.integers(-90, 91, (rows, cols, 2)).astype(np.int16)
        vectors[rng.random((rows, cols)) < rng.random()] = rng.integers(-70, 71, 2)
        motion = MotionField(vectors, rng.random((rows, cols)) >= rng.choice([0.0, 0.1]))
        compiled = remap.follow(motion, threads=1 + seed % 3)
        for level, plain in remap.follow_plainly(BlockMotion.of(motion)).items():
            one = compiled[level]
            assert one.common == plain.common
            np.testing.assert_array_equal(one.shift, plain.shift)
            np.testing.assert_array_equal(one.valid, plain.valid)
            assert (one.residual is None) == (plain.residual is None)
            if one.residual is not None:
                np.testing.assert_array_equal(one.residual, plain.residual)
        remap.settle(compiled, {level: rng.random(level.shape) < 0.4 for level in levels})


@given(seed=st.integers(0, 2**32 - 1), most=st.sampled_from([0, 1, 64]))
@QUICK
def test_compiled_code_keeps_the_remainders_that_numpy_does(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 2))
    residual = rng.integers(-most, most + 1, (2, *shape), dtype=np.int16)
    for fresh in (None, rng.random(shape) < 0.5, np.ones(shape, dtype=bool)):
        one, other = rng.integers(-5, 5, (2, 2, *shape), dtype=np.int16)
        assert keep(one, residual, fresh) == keep_plainly(other, residual, fresh)
        np.testing.assert_array_equal(one, other)
