"""EncoderMotion: what it returns when lossy, and which options it takes."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.motion.encoder import EncoderMotion, EncoderOptions


@pytest.mark.parametrize("size", [(128, 192), (97, 131)])
def test_a_lossy_image_is_near_the_input_and_of_its_size(pan, size):
    source = EncoderMotion(lossy=True, options=EncoderOptions(crf=20))
    for image in pan((3, 1), 3, size=size):
        returned = source.next(image).image
        assert returned.shape == image.shape
        error = np.abs(returned.astype(int) - image).mean()
        assert 0 < error < 4


def test_lossy_vectors_predict_one_returned_image_from_the_other(pan):
    source = EncoderMotion(lossy=True)
    before, after = [source.next(image) for image in pan((8, -4), 2)]
    found = after.field.vectors[:-1, 1:]
    assert (np.abs(found - (32, -16)) <= 1).all(axis=-1).mean() >= 0.95
    predicted = before.image[4:, :-8].astype(int)
    assert np.abs(after.image[:-4, 8:] - predicted).mean() < 4


def test_large_motion_is_found_by_a_wide_search(pan):
    images = pan((48, 0), 3)
    source = EncoderMotion(options=EncoderOptions(me="umh", me_range=64))
    field = [source.next(image).field for image in images][2]
    assert (np.abs(field.vectors[:, 3:] - (192, 0)) <= 1).all(axis=-1).mean() >= 0.95


def test_vectors_are_the_same_on_however_many_cores(pan):
    cores = os.sched_getaffinity(0)
    found = []
    for allowed in (cores, {min(cores)}):
        os.sched_setaffinity(0, allowed)
        try:
            source = EncoderMotion()
            found.append([source.next(image).field.vectors for image in pan((5, 3), 3)])
        finally:
            os.sched_setaffinity(0, cores)
    assert np.array_equal(found[0], found[1])


class ArithmeticCoding(EncoderOptions):
    def x264(self):
        options = super().x264()
        return options | {"x264-params": options["x264-params"].replace("cabac=0", "cabac=1")}


@pytest.mark.parametrize("lossy", [False, True])
def test_simple_coding_changes_no_vector_and_no_pixel(lossy, pan):
    noise = np.random.default_rng(5)
    usual, arithmetic = (EncoderMotion(lossy=lossy, options=o) for o in (None, ArithmeticCoding()))
    here, there = pan((5, 3), 6), pan((-2, 1), 6, seed=4)
    for one, other in zip(here, there, strict=True):
        image = one.copy()
        image[40:90, 60:130] = other[40:90, 60:130]
        image = np.clip(image + noise.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        ours, theirs = usual.next(image), arithmetic.next(image)
        np.testing.assert_array_equal(ours.field.vectors, theirs.field.vectors)
        np.testing.assert_array_equal(ours.field.valid, theirs.field.valid)
        np.testing.assert_array_equal(ours.image, theirs.image)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"preset": "warp"}, "preset is 'warp'; use one of ultrafast"),
        ({"me": "hex:bframes=3"}, "me is 'hex:bframes=3'; use one of dia"),
        ({"partitions": "4x4"}, "partitions is '4x4'"),
        ({"crf": 60.0}, "crf is 60.0; use 0 to 51"),
        ({"me_range": 2}, "me_range is 2; use 4 to 1024"),
        ({"subme": 0}, "subme is 0; use 1 to 11"),
        ({"threads": -1}, "threads is -1"),
    ],
)
def test_options_x264_would_misread_are_refused(option, message):
    with pytest.raises(InputError, match=message):
        EncoderOptions(**option)
