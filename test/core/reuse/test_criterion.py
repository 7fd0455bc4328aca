"""Differences are those of the pixels the cache came from, wherever these have moved."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.criterion import (
    PixelReference,
    block_difference,
    block_sums_plainly,
    composed,
    composed_plainly,
    moved_pixels,
    moved_pixels_plainly,
)


def picture(height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pan(dx: int, dy: int = 0, height: int = 64, width: int = 96) -> MotionField:
    """One motion for the whole frame, in quarter pixels."""
    made = MotionField.zero(height, width)
    made.vectors[...] = dx, dy
    return made


def test_the_difference_is_the_mean_over_pixels_and_channels() -> None:
    image = picture()
    other = image.copy()
    other[16:32, 32:48, 1] = image[16:32, 32:48, 1] ^ 0x10  # 16 up or down, one channel of three
    expected = np.zeros((4, 6))
    expected[1, 2] = 16 / 255 / 3
    np.testing.assert_allclose(block_difference(image, other), expected, rtol=1e-6)


def test_the_largest_difference_is_one() -> None:
    black = np.zeros((16, 16, 3), np.uint8)
    assert block_difference(black, black + np.uint8(255)) == [[1.0]]


@pytest.mark.parametrize("shape", [(64, 80, 3), (60, 96, 3)])
def test_images_that_cannot_be_compared_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="letterbox"):
        block_difference(np.zeros(shape, np.uint8), picture()[: shape[0]])


@pytest.mark.parametrize(("dx", "dy"), [(20, -12), (64, 0), (-36, 40)])
def test_pixels_follow_the_motion_and_what_enters_is_lost(dx: int, dy: int) -> None:
    image = picture()
    reference, lost = PixelReference(image).moved(pan(dx, dy))
    moved = np.roll(image, (dy // 4, dx // 4), axis=(0, 1))
    difference = block_difference(moved, reference.image)
    assert (difference[~lost] == 0).all()
    rows, cols = np.indices(lost.shape) * 16
    inside = (cols - dx // 4 >= 0) & (cols - dx // 4 <= 80)
    inside &= (rows - dy // 4 >= 0) & (rows - dy // 4 <= 48)
    np.testing.assert_array_equal(lost, ~inside)


def test_a_pan_of_a_quarter_pixel_a_frame_moves_one_pixel_in_four_frames() -> None:
    image = picture()
    reference = PixelReference(image)
    for frame in range(1, 41):
        reference, _ = reference.moved(pan(1))
        moved = round(frame / 4 + 1e-9)
        assert np.array_equal(reference.image[:, 32:], np.roll(image, moved, axis=1)[:, 32:])


def test_unknown_motion_is_lost() -> None:
    motion = pan(0)
    motion.valid[2, 3] = False
    _, lost = PixelReference(picture()).moved(motion)
    assert np.argwhere(lost).tolist() == [[2, 3]]


def test_new_blocks_are_young_and_the_rest_is_not() -> None:
    old, new = picture(), 255 - picture()
    reference, _ = PixelReference(old).moved(pan(0), frames=3)
    fresh = np.zeros((4, 6), dtype=bool)
    fresh[1, 4] = True
    reference.take(composed(reference.image, new, fresh), fresh)
    assert (block_difference(new, reference.image) == 0).tolist() == fresh.tolist()
    assert (block_difference(old, reference.image) == 0).tolist() == (~fresh).tolist()
    assert reference.age.tolist() == (3 * (~fresh).astype(int)).tolist()


def test_a_moved_reference_leaves_the_one_it_came_from_alone() -> None:
    image = picture()
    reference = PixelReference(image.copy())
    moved, _ = reference.moved(pan(10, 7))
    moved.take(255 - moved.image, np.ones((4, 6), dtype=bool))
    assert np.array_equal(reference.image, image)
    assert not reference.age.any()
    again, _ = reference.moved(pan(10, 7))
    assert np.array_equal(again.image, reference.moved(pan(10, 7))[0].image)


@pytest.mark.parametrize("seed", range(8))
def test_compiled_code_treats_pixels_as_numpy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, cols = (int(n) for n in rng.integers(1, 9, 2))
    image, other = rng.integers(0, 256, (2, 16 * rows, 16 * cols, 3), dtype=np.uint8)
    image[:16], other[:16] = 0, 255
    fresh = rng.random((rows, cols)) < 0.5
    shift = rng.integers(-40, 41, (rows, cols, 2), dtype=np.int32)
    shift[rng.integers(rows), rng.integers(cols)] = 8000, -8000
    np.testing.assert_array_equal(moved_pixels(image, shift), moved_pixels_plainly(image, shift))
    np.testing.assert_array_equal(
        composed(other, image, fresh), composed_plainly(other, image, fresh)
    )
    expected = block_sums_plainly(image, other).astype(np.float32) / (16 * 16 * 3 * 255)
    np.testing.assert_array_equal(block_difference(image, other), expected)
