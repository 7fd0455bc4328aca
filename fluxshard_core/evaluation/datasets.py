"""Frames from an image directory, a video file, a ROS bag or the generated scene."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import av
import av.error
import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.bags import BagFrames, is_bag
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.frame import Frame
from fluxshard_core.pixel_formats import compressed_to_rgb

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
DEFAULT_FPS = 24.0
SCENE = "scene"


class FrameSource(Protocol):
    """Frames in order; iterating again starts over.

    ``fps`` is the nominal rate, ``count`` the number of frames or ``None`` when only reading the
    whole source would tell. Frames carry media time in ``stamp_ns``, from 0 (a bag's frames carry
    the stamps it recorded).
    """

    name: str
    fps: float
    count: int | None

    def __iter__(self) -> Iterator[Frame]: ...


def open_frames(path: str | Path, *, topic: str | None = None) -> FrameSource:
    """Open ``path``: an image directory, a video, a bag (``.mcap``, ``.db3``, directory), "scene".

    ``topic`` chooses the image topic of a bag that has several. Raises :class:`InputError` when
    nothing there can be played.
    """
    if str(path) == SCENE:
        return GeneratedScene()
    path = Path(path)
    if not path.exists():
        raise InputError(f"no such video, image directory or bag: {path}")
    if is_bag(path):
        return BagFrames(path, topic)
    if topic is not None:
        raise InputError(f"a topic was asked for ({topic}), but {path} is not a bag")
    return ImageDirectory(path) if path.is_dir() else VideoFile(path)


def _natural_order(path: Path) -> list[int | str]:
    """Sort key that puts ``2.jpg`` before ``10.jpg``."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


class ImageDirectory:
    """The images of one directory in natural order of their names."""

    def __init__(self, path: Path, fps: float = DEFAULT_FPS) -> None:
        self.name = path.parent.name if path.name == "JPEGImages" else path.name
        self.files = sorted(
            (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
            key=_natural_order,
        )
        if not self.files:
            raise InputError(f"no images ({', '.join(sorted(IMAGE_SUFFIXES))}) in {path}")
        self.fps = fps
        self.count: int | None = len(self.files)

    def __iter__(self) -> Iterator[Frame]:
        for number, file in enumerate(self.files):
            try:
                image = compressed_to_rgb(file.read_bytes())
            except (InputError, OSError) as error:
                raise InputError(f"cannot read frame {number}, {file}: {error}") from error
            yield Frame(image, round(number * 1e9 / self.fps), number)


class VideoFile:
    """Any container FFmpeg reads; the first video stream."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem
        with self._open() as container:
            if not container.streams.video:
                raise InputError(f"no video stream in {path}")
            stream = container.streams.video[0]
            self.fps = float(stream.average_rate or DEFAULT_FPS)
            self.count: int | None = stream.frames or None

    def _open(self) -> av.container.InputContainer:
        try:
            return av.open(str(self.path))
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"cannot read video {self.path}: {error.strerror}") from error

    def __iter__(self) -> Iterator[Frame]:
        number = 0
        with self._open() as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            try:
                for number, picture in enumerate(container.decode(stream)):
                    image = np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
                    yield Frame(image, round(number * 1e9 / self.fps), number)
            except av.error.FFmpegError as error:
                raise InputError(
                    f"video {self.path} breaks after frame {number}: {error.strerror}"
                ) from error
