"""Exported vectors become one backward vector per block: sign, coverage, medians, validity."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.motion.side_data import merge_vectors

FIELDS = ["source", "w", "h", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale"]
TYPES = ["i4", "u1", "u1", "i2", "i2", "i4", "i4", "u2"]


def exported(*partitions):
    """Build AVMotionVector records from ``(left, top, w, h, motion_x, motion_y, source)``."""
    records = [
        (source, w, h, left + w // 2, top + h // 2, mx, my, 4)
        for left, top, w, h, mx, my, source in partitions
    ]
    return np.array(records, dtype=list(zip(FIELDS, TYPES, strict=True)))


def test_the_stored_vector_is_the_opposite_of_where_the_prediction_comes_from():
    field = merge_vectors(exported((0, 0, 16, 16, -12, 5, -1)), 16, 16)
    assert field.valid.all()
    assert field.vectors.tolist() == [[[12, -5]]]


def test_whole_blocks_are_read_as_their_quarters_are():
    rng = np.random.default_rng(4)
    motion = rng.integers(-60, 60, (5, 7, 2)).tolist()
    motion[1][2] = [200_000, 0]  # too long
    blocks = [
        (16 * x, 16 * y, *motion[y][x], -1 if rng.random() < 0.8 else 1)
        for y in range(5)
        for x in range(7)
        if rng.random() < 0.9
    ]
    whole = exported(*((x, y, 16, 16, mx, my, source) for x, y, mx, my, source in blocks))
    quarters = exported(
        *(
            (x + dx, y + dy, 8, 8, mx, my, source)
            for x, y, mx, my, source in blocks
            for dx in (0, 8)
            for dy in (0, 8)
        )
    )
    one, other = merge_vectors(whole, 78, 105), merge_vectors(quarters, 78, 105)
    np.testing.assert_array_equal(one.vectors, other.vectors)
    np.testing.assert_array_equal(one.valid, other.valid)
    assert 10 < one.valid.sum() < 35


def test_a_block_without_vectors_is_intra_and_invalid():
    field = merge_vectors(exported((16, 0, 16, 16, -4, 0, -1)), 16, 32)
    assert field.valid.tolist() == [[False, True]]
    assert field.vectors[0, 0].tolist() == [0, 0]


def test_a_block_only_partly_covered_is_invalid():
    assert not merge_vectors(exported((0, 0, 16, 8, -4, 0, -1)), 16, 16).valid.any()


def test_a_vector_from_the_second_list_does_not_count():
    field = merge_vectors(exported((0, 0, 16, 16, -4, 0, 1)), 16, 16)
    assert not field.valid.any()


def test_the_majority_of_the_area_decides():
    quarters = [(0, 0, 8, 8, -40, 0, -1), (8, 0, 8, 8, -8, -4, -1)]
    field = merge_vectors(exported(*quarters, (0, 8, 16, 8, -8, -4, -1)), 16, 16)
    assert field.vectors.tolist() == [[[8, 4]]]


def test_the_median_is_one_of_the_vectors_and_never_mixes_two():
    halves = [(0, 0, 8, 16, -40, 4, -1), (8, 0, 8, 16, 8, -36, -1)]
    field = merge_vectors(exported(*halves), 16, 16)
    assert field.vectors[0, 0].tolist() in ([40, -4], [-8, 36])


def test_equal_halves_give_the_smaller_vector():
    halves = [(0, 0, 16, 8, -40, 0, -1), (0, 8, 16, 8, -8, 0, -1)]
    assert merge_vectors(exported(*halves), 16, 16).vectors.tolist() == [[[8, 0]]]


def test_a_vector_too_long_for_int16_is_invalid_not_wrapped():
    field = merge_vectors(exported((0, 0, 16, 16, 70_000, 0, -1)), 16, 16)
    assert not field.valid.any()


def test_partial_blocks_at_the_border_take_the_coded_block_that_covers_them():
    field = merge_vectors(exported((16, 16, 16, 16, -4, -8, -1)), 20, 30)
    assert field.valid.tolist() == [[False, False], [False, True]]
    assert field.vectors[1, 1].tolist() == [4, 8]


@pytest.mark.parametrize("left", [-16, 48])
def test_a_partition_outside_the_image_is_ignored(left):
    assert not merge_vectors(exported((left, 0, 16, 16, -4, 0, -1)), 16, 32).valid.any()
