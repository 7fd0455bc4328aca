"""Planes and back by integers that do not depend on the processor: two machines, one proxy."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.offload import yuv420

RNG = np.random.default_rng(4)
Int64 = npt.NDArray[np.int64]


def _doubled(half: Int64) -> Int64:
    """Three quarters of the nearest sample and one of the next, along both axes, times 16."""
    for axis in (0, 1):
        lines = np.moveaxis(np.pad(half, 1, mode="edge"), axis, 0)[:, 1:-1]
        both = np.stack([3 * lines[1:-1] + lines[:-2], 3 * lines[1:-1] + lines[2:]], axis=1)
        half = np.moveaxis(both.reshape(-1, lines.shape[1]), 0, axis)
    return half


def test_planes_become_rgb_to_the_bit_by_the_formula() -> None:
    planes = RNG.integers(0, 256, (96, 80), dtype=np.uint8)
    y = planes[:64].astype(np.int64)
    chroma = planes[64:].reshape(2, 32, 40).astype(np.int64)
    cb, cr = (((_doubled(half) + 8) >> 4) - 128 for half in chroma)
    half = 1 << 13
    expected = np.stack(
        [
            y + ((22987 * cr + half) >> 14),
            y + ((-11698 * cr - 5636 * cb + half) >> 14),
            y + ((29049 * cb + half) >> 14),
        ],
        axis=-1,
    )
    np.testing.assert_array_equal(yuv420.to_rgb(planes), np.clip(expected, 0, 255))


def test_chroma_is_the_mean_of_four_pixels_and_luma_untouched() -> None:
    image = RNG.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    y, cr, cb = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb))
    planes = yuv420.to_planes(image)
    np.testing.assert_array_equal(planes[:32], y)
    for got, full in zip(planes[32:].reshape(2, 16, 24), (cb, cr), strict=True):
        sums = full.astype(np.int64).reshape(16, 2, 24, 2).sum(axis=(1, 3))
        np.testing.assert_array_equal(got, (sums + 2) >> 2)


def test_a_smooth_image_comes_back_almost_as_it_was() -> None:
    y, x = np.mgrid[:64, :96]
    image = np.stack([x + y, 200 - 2 * y, 60 + x], axis=-1).astype(np.uint8)
    error = np.abs(yuv420.to_rgb(yuv420.to_planes(image)).astype(int) - image)
    assert error.max() <= 3
    assert error.mean() < 0.7
