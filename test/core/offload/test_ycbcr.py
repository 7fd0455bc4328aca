"""Planes and back by integers that do not depend on the processor: two machines, one proxy."""

from __future__ import annotations

import numpy as np

from fluxshard_core.offload import ycbcr

RNG = np.random.default_rng(4)
HALF = 1 << 13
OFFSET = 128 << 14


def test_planes_become_rgb_to_the_bit_by_the_formula() -> None:
    planes = RNG.integers(0, 256, (3, 64, 80), dtype=np.uint8)
    y, cb, cr = planes.astype(np.int64)
    cb, cr = cb - 128, cr - 128
    expected = np.stack(
        [
            y + ((22987 * cr + HALF) >> 14),
            y + ((-11698 * cr - 5636 * cb + HALF) >> 14),
            y + ((29049 * cb + HALF) >> 14),
        ],
        axis=-1,
    )
    np.testing.assert_array_equal(ycbcr.to_rgb(planes), np.clip(expected, 0, 255))


def test_rgb_becomes_planes_to_the_bit_by_the_formula() -> None:
    image = RNG.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    red, green, blue = np.moveaxis(image.astype(np.int64), -1, 0)
    luma = (4899 * red + 9617 * green + 1868 * blue + HALF) >> 14
    cb = ((blue - luma) * 9241 + OFFSET + HALF) >> 14
    cr = ((red - luma) * 11682 + OFFSET + HALF) >> 14
    expected = np.clip(np.stack([luma, cb, cr]), 0, 255)
    np.testing.assert_array_equal(ycbcr.to_planes(image), expected)


def test_any_image_comes_back_within_two_steps_and_sharp_colours_too() -> None:
    image = RNG.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    error = np.abs(ycbcr.to_rgb(ycbcr.to_planes(image)).astype(int) - image)
    assert error.max() <= 2
    assert error.mean() < 0.6
