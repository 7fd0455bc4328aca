"""The edge node as a process: what a camera may do to it, and what it must still deliver."""

from collections.abc import Callable, Iterator
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
UNKNOWN = "unknown image encoding 'rgb48_planar'"


def image(number: int, scene: GeneratedScene = SCENE) -> Image:
    return message_of_rgb(scene.render(number % 8), header_of(STAMP_NS + number, "front_camera"))


class Camera:
    """Shows images to the node that the tests of this file share, one after another."""

    def __init__(self, observer: Any) -> None:
        self._observer = observer
        self._publisher = observer.create_publisher(Image, "image", CAMERA)
        observer.spin_until(lambda: self._publisher.get_subscription_count() == 1)

    def publish(self, message: Image) -> None:
        self._publisher.publish(message)

    def begin(self, *collected: list[Any]) -> list[Any]:
        """Show images until every list brings the newest one's answer, as the node may not know
        yet who listens; empty the lists and return those last answers."""
        for number in range(10_000, 10_060):
            self.publish(image(number))
            for _ in range(20):
                self._observer.spin_for(0.05)
                if all(one and one[-1].header == image(number).header for one in collected):
                    last = [one[-1] for one in collected]
                    for one in collected:
                        one.clear()
                    return last
        raise AssertionError("the node does not answer")


@pytest.fixture(scope="module")
def node(lasting_nodes: Any) -> Any:
    """An edge node for all tests that leave it as it was."""
    model = {"model": "yolo11n-seg", "random_seed": 0, "threads": 1}
    lasting_nodes.start("edge_node", **model, path="edge", confidence=0.05)
    return lasting_nodes


@pytest.fixture
def camera(observer: Any, node: Any) -> Camera:
    return Camera(observer)


def bad_images() -> list[Image]:
    unknown, truncated, empty, short_step, no_encoding = (image(number) for number in range(5))
    unknown.encoding = "rgb48_planar"
    truncated.data = truncated.data[:1000]
    empty.height = empty.width = empty.step = 0
    empty.data = empty.data[:0]
    short_step.step = 7
    no_encoding.encoding = ""
    return [unknown, truncated, empty, short_step, no_encoding]


def test_every_output_bears_the_header_of_its_image(observer: Any, camera: Camera) -> None:
    detections = observer.collect(Detection2DArray, "detections", RESULTS)
    masks = observer.collect(InstanceMasks, "instance_masks", RESULTS)
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    overlays = observer.collect(Image, "overlay", PICTURES)
    labels = observer.collect(LabelInfo, "label_info", LATCHED)
    before = camera.begin(stats, detections, masks, overlays)[0].frame_number
    for number in range(4):
        camera.publish(image(number))
        observer.spin_until_count(number + 1, stats, detections, masks, overlays)
    for messages in (detections, masks, stats, overlays):
        assert [m.header for m in messages] == [image(number).header for number in range(4)]
    assert [s.frame_number - before for s in stats] == [1, 2, 3, 4]
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
    observer: Any, camera: Camera, node: Any
) -> None:
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    camera.begin(stats)
    for number, bad in enumerate(bad_images()):
        camera.publish(bad)
        if number == 0:  # the next ones follow too soon to be printed as well
            observer.spin_until(lambda: UNKNOWN in node.log("edge_node"))
        observer.spin_for(0.15)
        camera.publish(image(10 + number))
        observer.spin_until_count(number + 1, stats)
    assert [s.header.stamp.nanosec for s in stats] == [10 + number for number in range(5)]


def test_a_camera_may_change_resolution_and_encoding_mid_stream(
    observer: Any, camera: Camera
) -> None:
    overlays = observer.collect(Image, "overlay", PICTURES)
    camera.begin(overlays)
    small = GeneratedScene(height=97, width=131, count=8)
    grey = image(2)
    pixels = np.frombuffer(grey.data, np.uint8).reshape(160, 224, 3)
    grey.encoding, grey.step, grey.data = "mono8", 224, bytes(pixels[..., 0])
    for number, message in enumerate([image(0), image(1, small), grey, image(3)]):
        camera.publish(message)
        observer.spin_until_count(number + 1, overlays)
    assert [(o.height, o.width) for o in overlays] == [
        (160, 224),
        (97, 131),
        (160, 224),
        (160, 224),
    ]


def test_the_newest_image_wins_and_drops_are_counted(observer: Any, camera: Camera) -> None:
    stats = observer.collect(FrameStats, "frame_stats", RESULTS)
    before = camera.begin(stats)[0].frames_dropped
    rendered = [image(number) for number in range(200)]  # so that the camera outruns any machine
    sent = 0
    while sent < len(rendered) and not (stats and stats[-1].frames_dropped > before):
        camera.publish(rendered[sent])
        observer.spin_for(0.001)
        sent += 1
    observer.spin_until(lambda: stats and stats[-1].header.stamp.nanosec == sent - 1)
    stamps = [s.header.stamp.nanosec for s in stats]
    assert stamps == sorted(stamps)
    dropped = stats[-1].frames_dropped - before
    assert dropped > 0
    assert len(stats) + dropped <= sent


@pytest.fixture
def change(observer: Any, node: Any) -> Iterator[Callable[..., Any]]:
    """Change a parameter of the running node; at the end its confidence is what it was."""
    client = observer.create_client(SetParameters, "edge_node/set_parameters")
    observer.spin_until(client.service_is_ready)

    def change(name: str, **value: Any) -> Any:
        call = client.call_async(
            SetParameters.Request(parameters=[Parameter(name=name, value=ParameterValue(**value))])
        )
        observer.spin_until(call.done)
        return call.result().results[0]

    yield change
    change("confidence", type=3, double_value=0.05)


def test_parameters_are_checked_while_the_node_runs(
    observer: Any, camera: Camera, change: Callable[..., Any]
) -> None:
    detections = observer.collect(Detection2DArray, "detections", RESULTS)
    camera.begin(detections)
    camera.publish(image(0))
    observer.spin_until_count(1, detections)
    assert change("confidence", type=3, double_value=1.0).successful
    camera.publish(image(1))
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


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"model": "yolo12n"}, "unknown model 'yolo12n'"),
    ({"model": "/nowhere/yolo11n.pt", "random_seed": -1}, "no such file"),
    ({"path": "cloud"}, "no transport"),
    ({"path": "moon"}, "choose one of: edge, cloud, auto"),
    ({"input_size": [100, 100]}, "multiple"),
    ({"input_size": [64]}, "input_size"),
    ({"transport": "tcp", "cloud_host": "10.0.0.1"}, "loopback"),
    ({"confidence": 7.0}, "confidence"),
]


@pytest.fixture(scope="module")
def refused(lasting_nodes: Any) -> list[tuple[int, str]]:
    """The status and the log of a node started with each of ``REFUSED``, one on each core."""
    ended = []
    for first in range(0, len(REFUSED), 2):
        labels = [f"refused_{number}" for number in range(first, min(first + 2, len(REFUSED)))]
        for label, (parameters, _) in zip(labels, REFUSED[first:], strict=False):
            model = {"model": "yolo11n", "random_seed": 0}
            lasting_nodes.start("edge_node", label, **(model | parameters))
        ended += [
            (lasting_nodes.children.wait(label, 60), lasting_nodes.log(label)) for label in labels
        ]
    return ended


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=[message for _, message in REFUSED])
def test_a_node_that_cannot_start_says_why_and_ends(
    refused: list[tuple[int, str]], number: int
) -> None:
    status, log = refused[number]
    assert status == 1
    assert REFUSED[number][1] in log
    assert "Traceback" not in log
