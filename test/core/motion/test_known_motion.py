"""Every source finds motion that is known exactly, to a quarter pixel.

Left out of every check are blocks without a right answer: those whose source lies outside the
previous image, and those that straddle two motions. The texture is strong everywhere, so no other
block is. Streams are coded finely enough that coding noise moves no match.
"""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.motion.block_matching import BlockMatchingMotion
from fluxshard_core.motion.codec import CodecMotion
from fluxshard_core.motion.encoder import EncoderMotion, EncoderOptions

BLOCK = 16
SPLIT = EncoderOptions(partitions="all", subme=4)
LOW_DELAY = {"tune": "zerolatency", "params": "ref=1:bframes=0:min-keyint=1"}


def run_images(make):
    def run(images, _encode):
        source = make()
        return [source.next(image) for image in images]

    return run


def run_stream(codec, encoder, **options):
    def run(images, encode):
        source = CodecMotion(codec)
        frames = [f for p in encode(images, encoder, **options) for f in source.decode(p)]
        return frames + source.flush()

    return run


RUNS = {
    "encoder": run_images(EncoderMotion),
    "encoder lossy": run_images(lambda: EncoderMotion(lossy=True)),
    "encoder split": run_images(lambda: EncoderMotion(options=SPLIT)),
    "block matching": run_images(BlockMatchingMotion),
    "h264": run_stream("h264", "libx264", **LOW_DELAY),
    "h264 with B-frames": run_stream("h264", "libx264", params="ref=3:bframes=3:b-adapt=0"),
    "hevc": run_stream("hevc", "libx265", tune="zerolatency"),
    "hevc with B-frames": run_stream("hevc", "libx265", params="bframes=3:b-adapt=0"),
}
PANS = {
    "right 3, down 2": (3, 2),
    "half a pixel": (0.5, -1.5),
    "quarters": (0.25, -0.75),
    "left 11.25": (-11.25, 4.5),
}


@pytest.fixture(params=RUNS.values(), ids=RUNS.keys())
def run(request, encode):
    """Return each source in turn as ``images -> motion frames``."""
    return lambda images: request.param(images, encode)


def block_corners(field):
    y, x = np.mgrid[0 : field.rows, 0 : field.cols] * BLOCK
    return x, y


def assert_right(field, expected, checked, tolerance=0.25):
    """Compare with ``expected`` pixels on the ``checked`` blocks; 2 in 100 may be wrong."""
    assert checked.sum() >= 4
    assert field.valid[checked].mean() >= 0.95
    error = np.abs(field.pixels() - expected).max(axis=-1)[checked & field.valid]
    assert (error <= tolerance).mean() >= 0.98, f"errors up to {error.max()} px"


def has_source(field, vector, size):
    x, y = block_corners(field)
    x, y = x - vector[0], y - vector[1]
    return (x >= 0) & (y >= 0) & (x + BLOCK <= size[1]) & (y + BLOCK <= size[0])


@pytest.mark.parametrize("vector", PANS.values(), ids=PANS.keys())
def test_a_pan_is_found_to_a_quarter_pixel(run, pan, vector):
    images = pan(vector)
    frames = run(images)
    assert len(frames) == len(images)
    assert not frames[0].field.valid.any()
    for frame in frames[1:]:
        frame.field.check_image(*images[0].shape[:2])
        checked = has_source(frame.field, vector, images[0].shape)
        assert_right(frame.field, np.array(vector), checked)


def test_two_patches_move_on_their_own_over_a_still_background(run, texture, rgb):
    y, x = np.mgrid[0:128, 0:192].astype(np.float64)
    background, first, second = texture(1), texture(2), texture(4)
    patches = [(first, (16, 16, 64, 64), (2.5, 1)), (second, (112, 48, 64, 64), (-3, -1.75))]

    def corner(rect, vector, t):
        return rect[0] + vector[0] * t, rect[1] + vector[1] * t

    def image(t):
        luma = background(x, y)
        for patch, rect, vector in patches:
            px, py = corner(rect, vector, t)
            inside = (x >= px) & (x < px + rect[2]) & (y >= py) & (y < py + rect[3])
            luma = np.where(inside, patch(x - vector[0] * t, y - vector[1] * t), luma)
        return rgb(luma)

    frames = run([image(t) for t in range(4)])
    for t, frame in enumerate(frames[1:], start=1):
        bx, by = block_corners(frame.field)
        still = np.ones(frame.field.valid.shape, dtype=bool)
        for _, rect, vector in patches:
            for when in (t - 1, t):
                px, py = corner(rect, vector, when)
                still &= (
                    (bx + BLOCK <= px)
                    | (bx >= px + rect[2] + 1)
                    | (by + BLOCK <= py)
                    | (by >= py + rect[3] + 1)
                )
            px, py = corner(rect, vector, t)
            whole = (bx >= px) & (bx + BLOCK <= px + rect[2])
            whole &= (by >= py) & (by + BLOCK <= py + rect[3])
            assert_right(frame.field, np.array(vector), whole)
        assert_right(frame.field, np.zeros(2), still)


def test_a_rotating_scene_moves_each_block_by_its_centre(run, texture, rgb):
    y, x = np.mgrid[0:128, 0:192].astype(np.float64)
    luma, degrees, middle = texture(7), 1.0, np.array([95.5, 63.5])

    def back(px, py, angle):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        rx, ry = px - middle[0], py - middle[1]
        return middle[0] + cos * rx + sin * ry, middle[1] - sin * rx + cos * ry

    frames = run([rgb(luma(*back(x, y, degrees * t))) for t in range(4)])
    for frame in frames[1:]:
        bx, by = block_corners(frame.field)
        cx, cy = bx + (BLOCK - 1) / 2, by + (BLOCK - 1) / 2
        sx, sy = back(cx, cy, degrees)
        expected = np.stack([cx - sx, cy - sy], axis=-1)
        checked = (np.abs(sx - middle[0]) <= 84) & (np.abs(sy - middle[1]) <= 52)
        # Across a block the motion itself varies by 0.28 px, so no single vector is exact.
        assert_right(frame.field, expected, checked, tolerance=0.5)


def test_a_scene_cut_leaves_nothing_valid_and_the_next_frame_recovers(run, pan):
    vector = (3, 1)
    darker = [image // 3 for image in pan(vector, 3, seed=11)]
    frames = run(pan(vector, 3, seed=3) + darker)
    assert frames[2].field.valid.mean() > 0.8
    assert not frames[3].field.valid.any()
    checked = has_source(frames[4].field, vector, (128, 192))
    assert_right(frames[4].field, np.array(vector), checked)
