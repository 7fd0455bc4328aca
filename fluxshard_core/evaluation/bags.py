"""Camera frames of a ROS 2 bag (rosbag2 directory, .db3 or .mcap), read without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame
from fluxshard_core.pixel_formats import compressed_to_rgb, image_to_rgb

IMAGE_TYPES = frozenset({"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"})


def is_bag(path: Path) -> bool:
    """Tell a bag from a video or an image directory by its name and layout."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.suffix in {".mcap", ".db3"}


class BagFrames:
    """Frames of one image topic; ``stamp_ns`` and ``frame_id`` are those the recorded ones."""

    def __init__(self, path: Path, topic: str | None = None) -> None:
        self.path = path
        self.name = path.stem
        with self._open() as reader:
            connection = _image_connection(reader, path, topic)
            self.topic = connection.topic
            self.count: int | None = connection.msgcount
            seconds = reader.duration / 1e9
            self.fps = (self.count - 1) / seconds if self.count > 1 and seconds > 0 else 24.0

    @contextmanager
    def _open(self) -> Iterator[AnyReader]:
        try:
            reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
            reader.open()
        except AnyReaderError as error:
            raise InputError(f"cannot read bag {self.path}: {error}") from error
        try:
            yield reader
        finally:
            reader.close()

    def __iter__(self) -> Iterator[Frame]:
        with self._open() as reader:
            connection = _image_connection(reader, self.path, self.topic)
            messages = reader.messages(connections=[connection])
            for number, (_, _, raw) in enumerate(messages):
                message = reader.deserialize(raw, connection.msgtype)
                try:
                    yield _frame(message, number)
                except InputError as error:
                    raise InputError(f"frame {number} of {self.path}: {error}") from error


def _image_connection(reader: AnyReader, path: Path, topic: str | None) -> Connection:
    found = {c.topic: c for c in reader.connections if c.msgtype in IMAGE_TYPES}
    if topic is not None and topic in found:
        return found[topic]
    if topic is None and len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(sorted(found)) or "none"
    if topic is not None:
        raise InputError(f"no image topic {topic} in {path}; image topics: {names}")
    raise InputError(f"choose one image topic of {path} with --topic; image topics: {names}")


def _frame(message: Any, number: int) -> Frame:
    if hasattr(message, "format"):
        image = compressed_to_rgb(message.data)
    else:
        image = image_to_rgb(
            message.data,
            height=message.height,
            width=message.width,
            encoding=message.encoding,
            step=message.step,
            big_endian=bool(message.is_bigendian),
        )
    stamp = message.header.stamp
    return Frame(image, stamp.sec * 10**9 + stamp.nanosec, number, message.header.frame_id)
