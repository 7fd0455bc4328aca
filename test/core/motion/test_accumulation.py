"""Accumulated motion against a loop over blocks, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.motion.accumulation import MotionAccumulator
from fluxshard_core.motion.field import MotionField, block_grid

MAX_INT16 = 32767


def absorb_block_by_block(total, step, height, width, block_size):
    """Apply the update of DESIGN section 3 with Python integers: ``{block: (dx, dy) or None}``."""
    rows, cols = block_grid(height, width, block_size)
    after = {}
    for row in range(rows):
        for col in range(cols):
            after[row, col] = None
            if step[row, col] is None:
                continue
            centre_x = 2 * (col * block_size + min((col + 1) * block_size, width))
            centre_y = 2 * (row * block_size + min((row + 1) * block_size, height))
            dx, dy = step[row, col]
            from_x, from_y = centre_x - dx, centre_y - dy
            if not (0 <= from_x < 4 * width and 0 <= from_y < 4 * height):
                continue
            came_from = total[from_y // (4 * block_size), from_x // (4 * block_size)]
            if came_from is None:
                continue
            dx, dy = dx + came_from[0], dy + came_from[1]
            origin_inside = 0 <= centre_x - dx < 4 * width and 0 <= centre_y - dy < 4 * height
            if origin_inside and max(abs(dx), abs(dy)) <= MAX_INT16:
                after[row, col] = (dx, dy)
    return after


def as_dict(field):
    return {
        (r, c): tuple(field.vectors[r, c].tolist()) if field.valid[r, c] else None
        for r in range(field.rows)
        for c in range(field.cols)
    }


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_step_equals_the_loop_over_blocks(data):
    height, width = data.draw(st.integers(1, 100)), data.draw(st.integers(1, 100))
    block_size = data.draw(st.sampled_from([8, 16]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    reach = data.draw(st.sampled_from([3, 40, 200, 32767]))
    accumulator = MotionAccumulator(height, width, block_size)
    expected = as_dict(accumulator.field)
    for _ in range(data.draw(st.integers(1, 5))):
        grid = block_grid(height, width, block_size)
        vectors = rng.integers(-reach, reach + 1, (*grid, 2)).astype(np.int16)
        step = MotionField(vectors, rng.random(grid) < 0.9, block_size=block_size)
        expected = absorb_block_by_block(expected, as_dict(step), height, width, block_size)
        assert as_dict(accumulator.absorb(step)) == expected


def uniform(height, width, dx, dy):
    field = MotionField.zero(height, width)
    field.vectors[:] = (dx, dy)
    return field


def test_a_steady_pan_adds_up_and_content_from_outside_turns_invalid():
    accumulator = MotionAccumulator(64, 64)
    for _ in range(4):
        accumulator.absorb(uniform(64, 64, 12, 0))
    assert accumulator.field.valid.tolist() == [[False, True, True, True]] * 4
    assert (accumulator.field.vectors[:, 1:] == (48, 0)).all()


def test_an_invalid_block_spreads_along_the_motion():
    accumulator = MotionAccumulator(16, 80)
    step = MotionField.zero(16, 80)
    step.valid[0, 1] = False
    accumulator.absorb(step)
    accumulator.absorb(uniform(16, 80, 64, 0))
    assert accumulator.field.valid.tolist() == [[False, True, False, True, True]]


def test_an_invalid_block_stays_invalid_until_reset():
    accumulator = MotionAccumulator(16, 32)
    accumulator.absorb(MotionField.invalid(16, 32))
    accumulator.absorb(MotionField.zero(16, 32))
    assert not accumulator.field.valid.any()
    accumulator.reset()
    assert accumulator.field.valid.all()
    assert not accumulator.field.vectors.any()


def test_a_sum_beyond_int16_is_invalid_not_wrapped():
    width = 20_000
    accumulator = MotionAccumulator(16, width)
    accumulator.absorb(uniform(16, width, 30_000, 0))
    assert accumulator.field.valid[0, -1]
    accumulator.absorb(uniform(16, width, 30_000, 0))
    assert not accumulator.field.valid.any()


@pytest.mark.parametrize("step", [MotionField.zero(64, 48), MotionField.zero(32, 32, 8)])
def test_motion_of_another_resolution_is_refused(step):
    accumulator = MotionAccumulator(64, 64)
    with pytest.raises(InputError, match="start a new MotionAccumulator"):
        accumulator.absorb(step)
    assert accumulator.field.valid.all()
