"""The edge node as a process: what a camera may do to it, and what it must still deliver."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray, LabelInfo

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_msgs.msg import FrameStats, InstanceMasks
from fluxshard_ros.detection_conversion import mask_of_message
from fluxshard_ros.image_conversion import message_of_rgb
from fluxshard_ros.qos import CAMERA, LATCHED, PICTURES, RESULTS
from fluxshard_ros.stamps import header_of

# Several processes load a network each: a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)

SCENE = GeneratedScene(height=160, width=224, count=8)
STAMP_NS = 1_700_000_000_000_000_000


def image(number: int, scene: GeneratedScene = SCENE) -> Image:
    return message_of_rgb(scene.render(number % 8), header_of(STAMP_NS + number, "front_camera"))


@pytest.fixture
def camera(observer: Any, start_node: Callable[..., None]) -> Callable[..., Any]:
    """Start the node with parameters; return the publisher of its camera topic once it listens."""

    def start(**parameters: Any) -> Any:
        defaults = {"model": "yolo11n-seg", "random_seed": 0, "threads": 1, "path": "edge"}
        publisher = observer.create_publisher(Image, "image", CAMERA)
        start_node("edge_node", **(defaults | parameters))
        observer.spin_until(lambda: publisher.get_subscription_count() == 1)
        return publisher

    return start


def bad_images() -> list[Image]:
    unknown, truncated, empty, short_step, no_encoding = (image(number) for number in range(5))
    unknown.encoding = "rgb48_planar"
    truncated.data = truncated.data[:1000]
    empty.height = empty.width = empty.step = 0
    empty.data = empty.data[:0]
    short_step.step = 7
    no_encoding.encoding = ""
    return [unknown, truncated, empty, short_step, no_encoding]


def test_every_output_bears_the_header_of_its_image(observer: Any, camera: Any) -> None:
    detections = observer.collect(Detection2DArray, "detections", RESULTS)
    masks = observer.collect(InstanceMasks, "instance_masks", RESULTS)
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    overlays = observer.collect(Image, "overlay", PICTURES)
    labels = observer.collect(LabelInfo, "label_info", LATCHED)
    publisher = camera(confidence=0.05)
    for number in range(4):
        publisher.publish(image(number))
        observer.spin_until_count(number + 1, stats, overlays)
    for messages in (detections, masks, stats, overlays):
        assert [m.header for m in messages] == [image(number).header for number in range(4)]
    assert [s.frame_number for s in stats] == [0, 1, 2, 3]
    assert {"wait", "convert", "preprocess", "infer", "decode", "publish"} <= set(
        stats[0].stage_names
    )
    assert len(labels[-1].class_map) == 80
    assert (masks[0].image_height, masks[0].image_width) == (160, 224)
    for one in detections[0].detections:
        assert 0 <= one.bbox.center.position.x <= 224
        assert 0 <= int(one.results[0].hypothesis.class_id) < 80
    assert len(masks[0].instances) == len(detections[0].detections) > 0
    for one in masks[0].instances:
        assert mask_of_message(one).unpack().shape == (one.height, one.width)
    assert (overlays[0].height, overlays[0].width) == (160, 224)


def test_bad_images_are_reported_and_cost_no_other_frame(
    observer: Any, camera: Any, log_of: Callable[[str], str]
) -> None:
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    publisher = camera()
    for number, bad in enumerate(bad_images()):
        publisher.publish(bad)
        observer.spin_for(0.15)
        publisher.publish(image(10 + number))
        observer.spin_until_count(number + 1, stats)
    assert [s.header.stamp.nanosec for s in stats] == [10 + number for number in range(5)]
    assert "unknown image encoding 'rgb48_planar'" in log_of("edge_node")


def test_a_camera_may_change_resolution_and_encoding_mid_stream(observer: Any, camera: Any) -> None:
    overlays = observer.collect(Image, "overlay", PICTURES)
    publisher = camera()
    small = GeneratedScene(height=97, width=131, count=8)
    grey = image(2)
    pixels = np.frombuffer(grey.data, np.uint8).reshape(160, 224, 3)
    grey.encoding, grey.step, grey.data = "mono8", 224, bytes(pixels[..., 0])
    for number, message in enumerate([image(0), image(1, small), grey, image(3)]):
        publisher.publish(message)
        observer.spin_until_count(number + 1, overlays)
    assert [(o.height, o.width) for o in overlays] == [
        (160, 224),
        (97, 131),
        (160, 224),
        (160, 224),
    ]


def test_the_newest_image_wins_and_drops_are_counted(observer: Any, camera: Any) -> None:
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    publisher = camera(model="yolo11s-seg")
    rendered = [image(number) for number in range(200)]  # so that the camera outruns any machine
    sent = 0
    while sent < len(rendered) and not (stats and stats[-1].frames_dropped):
        publisher.publish(rendered[sent])
        observer.spin_for(0.001)
        sent += 1
    observer.spin_until(lambda: stats and stats[-1].header.stamp.nanosec == sent - 1)
    stamps = [s.header.stamp.nanosec for s in stats]
    assert stamps == sorted(stamps)
    assert stats[-1].frames_dropped > 0
    assert len(stats) + stats[-1].frames_dropped <= sent


def test_parameters_are_checked_while_the_node_runs(observer: Any, camera: Any) -> None:
    detections = observer.collect(Detection2DArray, "detections", RESULTS)
    publisher = camera(confidence=0.05)
    client = observer.create_client(SetParameters, "edge_node/set_parameters")

    def change(name: str, **value: Any) -> Any:
        call = client.call_async(
            SetParameters.Request(parameters=[Parameter(name=name, value=ParameterValue(**value))])
        )
        observer.spin_until(call.done)
        return call.result().results[0]

    observer.spin_until(client.service_is_ready)
    publisher.publish(image(0))
    observer.spin_until_count(1, detections)
    assert change("confidence", type=3, double_value=1.0).successful
    publisher.publish(image(1))
    observer.spin_until_count(2, detections)
    assert detections[0].detections
    assert not detections[1].detections
    assert not change("confidence", type=3, double_value=2.0).successful
    refused = change("path", type=4, string_value="moon")
    assert "choose one of" in refused.reason
    refused = change("model", type=4, string_value="yolo11x")
    assert "clean it up first" in refused.reason
    refused = change("path", type=4, string_value="cloud")
    assert "transport is 'none'" in refused.reason


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "yolo12n"}, "unknown model 'yolo12n'"),
        ({"model": "/nowhere/yolo11n.pt", "random_seed": -1}, "no such file"),
        ({"path": "cloud"}, "no transport"),
        ({"path": "moon"}, "choose one of: edge, cloud, auto"),
        ({"input_size": [100, 100]}, "multiple"),
        ({"input_size": [64]}, "input_size"),
        ({"transport": "tcp", "cloud_host": "10.0.0.1"}, "loopback"),
        ({"confidence": 7.0}, "confidence"),
    ],
)
def test_a_node_that_cannot_start_says_why_and_ends(
    start_node: Callable[..., None],
    children: Any,
    log_of: Callable[[str], str],
    parameters: dict[str, Any],
    message: str,
) -> None:
    start_node("edge_node", **({"model": "yolo11n", "random_seed": 0} | parameters))
    assert children.wait("edge_node", 60) == 1
    log = log_of("edge_node")
    assert message in log
    assert "Traceback" not in log
