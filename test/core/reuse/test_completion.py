"""Blocks without a vector get their neighbours', known ones keep their own."""

from __future__ import annotations

import numpy as np

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.completion import completed


def field(rows: int = 6, cols: int = 8) -> MotionField:
    vectors = np.random.default_rng(1).integers(-40, 41, (rows, cols, 2)).astype(np.int16)
    return MotionField(vectors, np.ones((rows, cols), dtype=bool))


def test_a_hole_gets_the_mean_of_its_neighbours() -> None:
    motion = field()
    motion.valid[2, 3] = False
    around = motion.vectors[1:4, 2:5].reshape(9, 2)[[0, 1, 2, 3, 5, 6, 7, 8]]
    made = completed(motion)
    assert made.valid.all()
    np.testing.assert_array_equal(made.vectors[2, 3], np.rint(around.mean(axis=0)))


def test_known_vectors_stay_and_a_single_one_reaches_everywhere() -> None:
    motion = field()
    motion.valid[...] = False
    motion.valid[5, 0] = True
    made = completed(motion)
    assert made.valid.all()
    assert (made.vectors == motion.vectors[5, 0]).all()


def test_nothing_is_guessed_where_nothing_is_known() -> None:
    motion = MotionField.invalid(64, 64)
    assert not completed(motion).valid.any()


def test_a_whole_field_is_returned_untouched() -> None:
    motion = field()
    assert completed(motion) is motion
