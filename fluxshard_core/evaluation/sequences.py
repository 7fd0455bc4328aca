"""Sequences to evaluate on: frames, and the annotations found beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.bags import is_bag
from fluxshard_core.evaluation.datasets import FrameSource, ImageDirectory, open_frames
from fluxshard_core.evaluation.metrics import Bool
from fluxshard_core.pixel_formats import compressed_to_rgb

IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"


@dataclass(frozen=True)
class EvaluatedSequence:
    """Frames under a name no other sequence of the run has.

    ``annotations`` holds the mask files by frame number; most sources have none.
    """

    name: str
    path: str
    source: FrameSource
    annotations: Mapping[int, Path] = field(default_factory=dict)


def open_sequences(
    paths: Sequence[str | Path], *, topic: str | None = None
) -> list[EvaluatedSequence]:
    """Open every path as :func:`open_frames` does; ``topic`` is that of the bags among them.

    A directory that holds ``JPEGImages`` stands for it, and its annotations are those of the same
    names under ``Annotations`` instead of ``JPEGImages``, as DAVIS lays them out.

    :raises InputError: for a path that cannot be played, or a topic without a bag.
    """
    if topic is not None and not any(is_bag(Path(path)) for path in paths):
        raise InputError(f"a topic was asked for ({topic}), but no input is a bag")
    opened: list[EvaluatedSequence] = []
    for path in paths:
        sequence = _open(path, topic)
        if any(sequence.name == other.name for other in opened):
            sequence = replace(sequence, name=sequence.path)
        opened.append(sequence)
    return opened


def read_objects(file: Path) -> list[Bool]:
    """Return the ``(H, W)`` mask of every object of an annotation: one for each colour but black.

    :raises InputError: if the file is not an image.
    """
    try:
        colours = compressed_to_rgb(file.read_bytes()).astype(np.int32)
    except (InputError, OSError) as error:
        raise InputError(f"cannot read annotation {file}: {error}") from error
    packed = (colours[..., 0] << 16) | (colours[..., 1] << 8) | colours[..., 2]
    return [np.asarray(packed == colour) for colour in np.unique(packed) if colour]


def _open(path: str | Path, topic: str | None) -> EvaluatedSequence:
    place = Path(path)
    if (place / IMAGES).is_dir():
        place = place / IMAGES
    source = open_frames(
        str(path) if place == Path(path) else place, topic=topic if is_bag(place) else None
    )
    annotations = _annotations(source, place) if isinstance(source, ImageDirectory) else {}
    return EvaluatedSequence(source.name, str(path), source, annotations)


def _annotations(source: ImageDirectory, directory: Path) -> dict[int, Path]:
    parts = list(directory.resolve().parts)
    if IMAGES not in parts:
        return {}
    last = len(parts) - 1 - parts[::-1].index(IMAGES)
    beside = Path(*parts[:last], ANNOTATIONS, *parts[last + 1 :])
    masks = {number: beside / f"{file.stem}.png" for number, file in enumerate(source.files)}
    return {number: mask for number, mask in masks.items() if mask.is_file()}
