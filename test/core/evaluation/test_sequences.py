"""Sequences and the annotations beside them, in the layouts people have."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.sequences import open_sequences, read_objects


def test_annotations_lie_beside_the_images(davis: Path) -> None:
    (sequence,) = open_sequences([davis / "JPEGImages"])
    assert sequence.name == "walk"
    assert sorted(sequence.annotations) == [0, 1, 3]
    assert sequence.annotations[1] == davis / "Annotations/00001.png"


def test_the_directory_of_a_sequence_stands_for_its_images(davis: Path) -> None:
    (sequence,) = open_sequences([davis])
    assert (sequence.name, sequence.source.count, len(sequence.annotations)) == ("walk", 4, 3)


def test_the_layout_of_the_whole_data_set_is_understood(davis: Path, tmp_path: Path) -> None:
    for kind in ("JPEGImages", "Annotations"):
        shutil.copytree(davis / kind, tmp_path / "DAVIS" / kind / "480p/walk")
    (sequence,) = open_sequences([tmp_path / "DAVIS/JPEGImages/480p/walk"])
    assert len(sequence.annotations) == 3


def test_other_directories_have_no_annotations(davis: Path, tmp_path: Path) -> None:
    shutil.copytree(davis / "JPEGImages", tmp_path / "plain")
    (sequence,) = open_sequences([tmp_path / "plain"])
    assert sequence.annotations == {}


def test_sequences_of_one_name_are_told_apart(davis: Path, tmp_path: Path) -> None:
    shutil.copytree(davis, tmp_path / "other/walk")
    names = [one.name for one in open_sequences([davis, tmp_path / "other/walk", "scene"])]
    assert names == ["walk", str(tmp_path / "other/walk"), "scene"]


def test_a_topic_needs_a_bag(davis: Path) -> None:
    with pytest.raises(InputError, match="no input is a bag"):
        open_sequences([davis], topic="/camera")


def test_every_colour_but_black_is_an_object(tmp_path: Path) -> None:
    values = np.array([[0, 1, 1], [2, 0, 0]], dtype=np.uint8)
    palette = Image.fromarray(values, mode="P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    palette.save(tmp_path / "palette.png")
    green, red = read_objects(tmp_path / "palette.png")
    assert np.array_equal(green, values == 2)
    assert np.array_equal(red, values == 1)


def test_a_grey_mask_saved_in_colour_is_one_object(tmp_path: Path) -> None:
    image = np.zeros((4, 5, 3), dtype=np.uint8)
    image[1:3, 2:4] = 255
    cv2.imwrite(str(tmp_path / "colour.png"), image)
    (only,) = read_objects(tmp_path / "colour.png")
    assert only.sum() == 4


def test_a_broken_annotation_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(InputError, match=r"broken\.png"):
        read_objects(tmp_path / "broken.png")
