"""MotionField: what it accepts, what it refuses, and the views of it."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.errors import FluxShardError, InputError
from fluxshard_core.motion.field import MotionField, block_grid


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [(480, 864, (30, 54)), (481, 854, (31, 54)), (1, 1, (1, 1)), (16, 17, (1, 2))],
)
def test_partial_blocks_at_the_border_count_as_blocks(height, width, grid):
    assert block_grid(height, width) == grid
    assert MotionField.zero(height, width).valid.shape == grid


def test_zero_is_valid_everywhere_and_invalid_nowhere():
    assert MotionField.zero(40, 40).valid.all()
    assert not MotionField.invalid(40, 40).valid.any()
    assert not MotionField.zero(40, 40).vectors.any()


def test_pixels_are_quarters_of_the_stored_units():
    field = MotionField(np.array([[[5, -6]]], dtype=np.int16), np.ones((1, 1), dtype=np.bool_))
    assert field.pixels().dtype == np.float32
    assert field.pixels().tolist() == [[[1.25, -1.5]]]


def test_an_image_of_another_size_is_refused_with_both_sizes_named():
    field = MotionField.zero(480, 864)
    field.check_image(479, 850)
    with pytest.raises(InputError, match=r"30x54 blocks.*720x1280 image has 45x80"):
        field.check_image(720, 1280)


@pytest.mark.parametrize(
    ("vectors", "valid", "cost", "block_size", "message"),
    [
        (np.zeros((2, 3, 2), np.int32), np.ones((2, 3), bool), None, 16, "vectors is int32"),
        (np.zeros((3, 2, 2), np.int16), np.ones((2, 3), bool), None, 16, r"vectors has shape"),
        (np.zeros((2, 3, 2), np.int16), np.ones((2, 3), np.uint8), None, 16, "valid is uint8"),
        (np.zeros((2, 3, 2), np.int16), np.ones(6, bool), None, 16, "valid has shape"),
        (np.zeros((0, 3, 2), np.int16), np.ones((0, 3), bool), None, 16, "valid has shape"),
        (
            np.zeros((2, 3, 2), np.int16),
            np.ones((2, 3), bool),
            np.zeros((2, 3)),
            16,
            "cost is float64",
        ),
        (np.zeros((2, 3, 2), np.int16), np.ones((2, 3), bool), None, 0, "block size is 0"),
    ],
)
def test_arrays_that_do_not_describe_one_grid_are_refused(
    vectors, valid, cost, block_size, message
):
    with pytest.raises(FluxShardError, match=message):
        MotionField(vectors, valid, cost, block_size)


def test_an_empty_image_is_refused():
    with pytest.raises(InputError, match="0x5"):
        MotionField.zero(0, 5)


def test_common_shift_ignores_invalid_blocks_and_refuses_disagreement():
    vectors = np.full((2, 2, 2), (12, -3), dtype=np.int16)
    vectors[0, 0] = (99, 99)
    valid = np.array([[False, True], [True, True]])
    assert MotionField(vectors, valid).common_shift() == (12, -3)
    assert MotionField(vectors, np.ones((2, 2), dtype=np.bool_)).common_shift() is None
    assert MotionField.invalid(16, 16).common_shift() is None
    assert MotionField.zero(16, 16).common_shift() == (0, 0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: MotionField.zero(32, 48), 0.0),
        (lambda: MotionField.invalid(32, 48), 0.0),
        (
            lambda: MotionField(
                np.array([[[12, 16], [0, 0], [0, 8]]], dtype=np.int16),
                np.array([[True, False, True]]),
            ),
            3.5,
        ),
    ],
    ids=["still", "unknown", "lengths 5 and 2"],
)
def test_the_median_length_is_that_of_known_vectors(make, expected):
    assert make().median_length() == expected
