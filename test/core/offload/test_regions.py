"""Offsets reach exactly the blocks they are meant for, and x264 heeds them."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.offload.h264_codec import H264Encoder, H264Options
from fluxshard_core.offload.regions import rectangles

RNG = np.random.default_rng(9)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_rectangles_cover_each_offset_once_and_nothing_else(share: float) -> None:
    for _ in range(20):
        offsets = RNG.choice([-2, 5, 9], (7, 11)) * (RNG.random((7, 11)) < share)
        covered = np.zeros_like(offsets)
        for top, bottom, left, right, value in rectangles(offsets.astype(np.int32)):
            assert (covered[top:bottom, left:right] == 0).all()
            covered[top:bottom, left:right] = value
        np.testing.assert_array_equal(covered, offsets)


def test_a_whole_frame_of_one_offset_is_one_rectangle() -> None:
    assert rectangles(np.full((30, 54), 4, np.int32)) == [(0, 30, 0, 54, 4)]


def test_blocks_with_an_offset_are_coarser_and_the_others_are_not() -> None:
    image = RNG.integers(0, 256, (96, 160, 1), dtype=np.uint8).repeat(3, axis=2)
    offsets = np.zeros((6, 10), np.int32)
    offsets[:, 5:] = 20
    coded = []
    for given in (np.zeros_like(offsets), offsets):
        payload, picture = H264Encoder(96, 160, H264Options(20)).encode(image, given)
        error = np.abs(picture.astype(int) - image)
        left, right = (error[:, half].mean() for half in np.split(np.arange(160), 2))
        coded.append((len(payload), left, right))
    (plain, plain_left, plain_right), (less, left, right) = coded
    assert less < 0.8 * plain
    assert right > 2 * plain_right
    assert left == pytest.approx(plain_left, rel=0.1)
