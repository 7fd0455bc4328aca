"""Frames from directories, videos and bags; what cannot be read is named."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.datasets import open_frames
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.evaluation.video_writer import VideoWriter
from fluxshard_core.frame import Frame

STORE = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    return list(GeneratedScene(height=96, width=128, count=12))


@pytest.fixture
def images(tmp_path: Path, frames: list[Frame]) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for frame in frames:
        cv2.imwrite(str(folder / f"{frame.number}.png"), frame.image[..., ::-1])
    return folder


def write_bag(
    path: Path, frames: list[Frame], topics: tuple[str, ...], storage: StoragePlugin
) -> None:
    image_type = STORE.types["sensor_msgs/msg/Image"]
    header_type = STORE.types["std_msgs/msg/Header"]
    time_type = STORE.types["builtin_interfaces/msg/Time"]
    with Writer(path, version=9, storage_plugin=storage) as writer:
        for topic in topics:
            connection = writer.add_connection(topic, image_type.__msgtype__, typestore=STORE)
            for frame in frames:
                stamp_ns = 5 * 10**9 + frame.stamp_ns
                header = header_type(time_type(*divmod(stamp_ns, 10**9)), "front")
                height, width = frame.image.shape[:2]
                message = image_type(
                    header, height, width, "rgb8", 0, 3 * width, frame.image.reshape(-1)
                )
                raw = STORE.serialize_cdr(message, image_type.__msgtype__)
                writer.write(connection, stamp_ns, raw)


def test_a_directory_plays_in_natural_order(images: Path, frames: list[Frame]) -> None:
    source = open_frames(images)
    assert source.count == 12
    played = list(source)
    assert [frame.number for frame in played] == list(range(12))
    for one, two in zip(played, frames, strict=True):
        assert np.array_equal(one.image, two.image)
    assert len(list(source)) == 12, "iterating again starts over"


def test_a_video_plays_every_frame(tmp_path: Path, frames: list[Frame]) -> None:
    file = tmp_path / "video.mp4"
    with VideoWriter(file, 24) as writer:
        for frame in frames:
            writer.write(frame.image)
    source = open_frames(file)
    played = list(source)
    assert (source.count, len(played), round(source.fps)) == (12, 12, 24)
    error = np.abs(played[5].image.astype(int) - frames[5].image.astype(int)).mean()
    assert error < 6, "the picture survives the codec"


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_bag_plays_with_its_own_stamps(
    tmp_path: Path, frames: list[Frame], storage: StoragePlugin
) -> None:
    write_bag(tmp_path / "bag", frames, ("/camera",), storage)
    source = open_frames(tmp_path / "bag")
    played = list(source)
    assert source.count == len(played) == 12
    assert source.fps == pytest.approx(24, abs=0.01)
    assert played[3].stamp_ns == 5 * 10**9 + frames[3].stamp_ns
    assert played[3].frame_id == "front"
    assert all(np.array_equal(p.image, f.image) for p, f in zip(played, frames, strict=True))


def test_a_bag_with_two_cameras_asks_which(tmp_path: Path, frames: list[Frame]) -> None:
    write_bag(tmp_path / "bag", frames[:2], ("/left", "/right"), StoragePlugin.SQLITE3)
    with pytest.raises(InputError, match="image topics: /left, /right"):
        open_frames(tmp_path / "bag")
    with pytest.raises(InputError, match="no image topic /front"):
        open_frames(tmp_path / "bag", topic="/front")
    assert len(list(open_frames(tmp_path / "bag", topic="/right"))) == 2


def test_what_is_not_there_or_not_playable_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such video"):
        open_frames(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="no images"):
        open_frames(tmp_path)
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    with pytest.raises(InputError, match=r"cannot read video .*text.mp4"):
        open_frames(text)


def test_a_broken_image_is_named_with_its_number(images: Path) -> None:
    (images / "7.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"cannot read frame 7, .*7\.png"):
        list(open_frames(images))


def test_a_broken_bag_is_named(tmp_path: Path) -> None:
    bag = tmp_path / "broken.mcap"
    bag.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="cannot read bag"):
        open_frames(bag)
