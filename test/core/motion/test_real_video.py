"""Real sequences: motion of about the size it is known to have, and cuts between them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from fluxshard_core.motion.factory import open_source

DAVIS = Path(os.environ.get("FLUXSHARD_HOME", "/nonexistent")) / "data" / "davis"
# Median block motion in pixels a frame over the first 50 frames, as found beforehand by x264 with
# other settings (sub-block partitions), hence the tolerance.
MEDIANS = {
    "breakdance": 0,
    "cows": 2.4,
    "soapbox": 4.5,
    "camel": 4.9,
    "dog": 8.8,
    "car-shadow": 12,
    "parkour": 15,
}

pytestmark = [
    pytest.mark.video,
    pytest.mark.skipif(not DAVIS.is_dir(), reason="$FLUXSHARD_HOME/data/davis is not there"),
]


def images(name, count):
    paths = sorted((DAVIS / name / "JPEGImages").glob("*.jpg"))[:count]
    return [np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]) for path in paths]


@pytest.mark.parametrize("name", MEDIANS)
def test_the_encoder_finds_the_known_median_motion(name):
    source = open_source("encoder")
    fields = [source.next(image).field for image in images(name, 50)][1:]
    lengths = [np.hypot(*field.pixels()[field.valid].T) for field in fields]
    assert np.median(np.concatenate(lengths)) == pytest.approx(MEDIANS[name], rel=0.35, abs=0.5)
    assert np.mean([field.valid.mean() for field in fields]) > 0.8


@pytest.mark.parametrize("name", ["cows", "dog"])
def test_block_matching_agrees_with_the_encoder(name):
    encoder, matching = open_source("encoder"), open_source("block_matching")
    for image in images(name, 4):
        coded, matched = encoder.next(image).field, matching.next(image).field
    both = coded.valid & matched.valid
    error = np.abs(coded.pixels() - matched.pixels())[both].max(axis=-1)
    assert both.mean() > 0.85
    assert np.median(error) <= 0.5


@pytest.mark.parametrize("source", ["encoder", "block_matching"])
def test_a_cut_between_two_scenes_leaves_nothing_valid(source):
    motion = open_source(source)
    before, after = images("dog", 2), images("cows", 2)
    fields = [motion.next(image).field for image in before + after]
    assert [bool(field.valid.any()) for field in fields] == [False, True, False, True]
