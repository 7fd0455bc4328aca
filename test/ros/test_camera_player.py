"""The camera player: stamps, rate, loop, limits, and a source that breaks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_ros.qos import CAMERA
from fluxshard_ros.stamps import nanoseconds

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "camera"
    folder.mkdir()
    for frame in GeneratedScene(height=48, width=64, count=5):
        cv2.imwrite(str(folder / f"{frame.number}.png"), frame.image[..., ::-1])
    return folder


def test_frames_come_in_order_evenly_stamped_and_looped(
    observer: Any, start_node: Callable[..., None], children: Any, images: Path
) -> None:
    played = observer.collect(Image, "image", CAMERA)
    start_node(
        "camera_player", source=str(images), rate=20.0, loop=True, max_frames=12, frame_id="front"
    )
    observer.spin_until(lambda: not children.running("camera_player"))
    observer.spin_until_count(12, played)
    observer.spin_for(0.1)
    assert len(played) == 12
    stamps = [nanoseconds(message.header.stamp) for message in played]
    assert set(np.diff(stamps)) == {50_000_000}
    assert {message.header.frame_id for message in played} == {"front"}
    pixels = [bytes(message.data) for message in played]
    assert pixels[:5] == pixels[5:10]
    assert len(set(pixels)) == 5
    assert children.wait("camera_player", 1) == 0


def test_recorded_stamps_are_kept_when_asked_for(
    observer: Any, start_node: Callable[..., None], children: Any, images: Path
) -> None:
    played = observer.collect(Image, "image", CAMERA)
    start_node("camera_player", source=str(images), rate=50.0, stamps="recorded")
    observer.spin_until(lambda: not children.running("camera_player"))
    observer.spin_until_count(5, played)
    expected = [round(number * 1e9 / 24) for number in range(5)]
    assert [nanoseconds(message.header.stamp) for message in played] == expected


def test_lockstep_waits_for_each_answer_but_not_forever(
    observer: Any, start_node: Callable[..., None], children: Any, images: Path, log_of: Any
) -> None:
    played = observer.collect(Image, "image", CAMERA)
    start_node(
        "camera_player", source=str(images), lockstep=True, lockstep_timeout=0.3, max_frames=3
    )
    observer.spin_until(lambda: not children.running("camera_player"))
    observer.spin_until_count(3, played)
    observer.spin_for(0.1)
    assert len(played) == 3
    assert log_of("camera_player").count("no detections for the image") == 3


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("missing", "no such video"),
        ("empty", "no images"),
        ("damaged", "cannot read frame 2"),
    ],
)
def test_a_source_that_cannot_be_played_ends_the_node_with_its_reason(
    observer: Any,
    start_node: Callable[..., None],
    children: Any,
    log_of: Callable[[str], str],
    images: Path,
    broken: str,
    message: str,
) -> None:
    observer.collect(Image, "image", CAMERA)
    source = images
    if broken == "missing":
        source = images / "nowhere"
    elif broken == "empty":
        source = images / "empty"
        source.mkdir()
    else:
        (images / "2.png").write_bytes(b"damaged")
    start_node("camera_player", source=str(source), rate=50.0)
    observer.spin_until(lambda: not children.running("camera_player"))
    assert children.wait("camera_player", 1) == 1
    assert message in log_of("camera_player")
