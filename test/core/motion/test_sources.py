"""What all image sources share: first frames, size changes, resets, refusals, the factory."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.motion.block_matching import BlockMatchingMotion
from fluxshard_core.motion.codec import CodecMotion
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.motion.factory import open_source
from fluxshard_core.motion.none import NoMotion

IMAGE_SOURCES = ["encoder", "block_matching", "none"]


@pytest.fixture(params=IMAGE_SOURCES)
def source(request):
    """Return each source that takes images, with default options."""
    return open_source(request.param)


def test_the_first_frame_and_the_first_after_a_reset_have_no_motion(source, pan):
    first, second, third = pan((1, 0), 3)
    assert not source.next(first).field.valid.any()
    assert source.next(second).field.valid.any()
    source.reset()
    assert not source.next(third).field.valid.any()


def test_a_new_image_size_starts_over_with_a_field_of_that_size(source, pan):
    source.next(pan((1, 0), 1)[0])
    for size in [(96, 80), (90, 75)]:
        first, second = pan((0, 0), 2, size=size)
        start = source.next(first).field
        start.check_image(*size)
        assert not start.valid.any()
        still = source.next(second).field
        still.check_image(*size)
        assert still.valid.all()
        assert not still.vectors.any()


def test_the_image_comes_back_untouched(source, pan):
    for image in pan((3, 0), 2):
        np.testing.assert_array_equal(source.next(image).image, image)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (17, 33)])
def test_images_smaller_than_blocks_are_covered(source, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    source.next(image)
    field = source.next(image).field
    field.check_image(*size)
    assert field.valid.all()
    assert not field.vectors.any()


def test_a_view_of_a_larger_image_is_taken(source, pan):
    whole = pan((0, 0), 1)[0]
    frame = source.next(whole[::2, 5:100, ::-1])
    frame.field.check_image(64, 95)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((16, 16), np.uint8),
        np.zeros((16, 16, 4), np.uint8),
        np.zeros((16, 16, 3), np.float32),
        np.zeros((0, 16, 3), np.uint8),
    ],
    ids=["grey", "four channels", "float", "empty"],
)
def test_what_is_not_an_rgb_image_is_refused(source, image):
    with pytest.raises(InputError, match="expected \\(height, width, 3\\) uint8 RGB"):
        source.next(image)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("codec", CodecMotion),
        ("encoder", EncoderMotion),
        ("block_matching", BlockMatchingMotion),
        ("none", NoMotion),
    ],
)
def test_each_name_opens_its_source(name, kind):
    assert isinstance(open_source(name), kind)


def test_options_reach_the_source(pan):
    before, after = pan((4, 0), 2)
    source = open_source("block_matching", block_size=32, quarter_pel=False)
    source.next(before)
    assert source.next(after).field.block_size == 32
    lossy = open_source("encoder", lossy=True, crf=40)
    assert not np.array_equal(lossy.next(before).image, before)


def test_an_unknown_name_or_option_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="'flow'; use one of codec, encoder, block_matching, none"):
        open_source("flow")
    with pytest.raises(InputError, match="encoder has no option speed; it has lossy, preset"):
        open_source("encoder", speed=3)
    with pytest.raises(InputError, match="none has no option crf"):
        open_source("none", crf=3)
