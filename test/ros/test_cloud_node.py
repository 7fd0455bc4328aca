"""Edge and cloud as processes: a cloud that dies, comes back, refuses, or cannot start."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.offload.certificates import Authority
from fluxshard_msgs.msg import FrameStats
from fluxshard_ros.image_conversion import message_of_rgb
from fluxshard_ros.qos import CAMERA, RESULTS
from fluxshard_ros.stamps import header_of

# Several processes load a network each: a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)

SCENE = GeneratedScene(height=160, width=224, count=4)
MODEL = {"model": "yolo11n", "random_seed": 0, "threads": 1}


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    return free


class Robot:
    """A camera in front of an edge node, and what the edge node answers."""

    def __init__(self, observer: Any, start_node: Callable[..., None], **parameters: Any) -> None:
        self._observer = observer
        self._publisher = observer.create_publisher(Image, "image", CAMERA)
        self.stats = observer.collect(FrameStats, "frame_stats", RESULTS)
        self.detections = observer.collect(Detection2DArray, "detections", RESULTS)
        # Without reuse: what the cloud computed and what the edge did must be the same numbers.
        start_node("edge_node", **MODEL, confidence=0.05, reuse=False, **parameters)
        observer.spin_until(lambda: self._publisher.get_subscription_count() == 1)

    def see(self) -> FrameStats:
        """Show the same image again and return how it was answered."""
        number = len(self.stats)
        message = message_of_rgb(SCENE.render(0), header_of(10**18 + number, "camera"))
        self._publisher.publish(message)
        self._observer.spin_until_count(number + 1, self.stats, self.detections)
        return self.stats[-1]

    def see_until(self, path: str) -> int:
        """Show images until one is answered by ``path``; return how many it took."""
        for count in range(1, 200):
            if self.see().path == path:
                return count
            self._observer.spin_for(0.1)
        raise AssertionError(f"never answered by the {path}")

    def sees_alone(self) -> None:
        """Show images while there is no cloud."""
        for _ in range(4):
            answer = self.see()
            assert answer.path == "edge"
            assert answer.fallback_reason

    def see_until_refused(self, why: str) -> None:
        """Show images until the cloud refuses one for that reason."""
        reasons = []
        for _ in range(200):
            reasons.append(self.see().fallback_reason)
            if why in reasons[-1]:
                return
            self._observer.spin_for(0.1)
        raise AssertionError(reasons[-3:])

    def check_that_all_answers_are_the_same(self) -> None:
        """It saw one image all the time, and what made each answer must make no difference."""
        boxes = [[found.bbox for found in message.detections] for message in self.detections]
        assert boxes[0], "nothing found: nothing compared"
        assert all(one == boxes[0] for one in boxes)


def test_the_edge_carries_on_when_the_cloud_is_killed_and_uses_it_again_over_dds(
    observer: Any, start_node: Callable[..., None], children: Any
) -> None:
    start_node("cloud_node", **MODEL, transport="dds")
    robot = Robot(observer, start_node, path="cloud", transport="dds", cloud_timeout=20.0)
    robot.see_until("cloud")
    children.kill("cloud_node")
    robot.sees_alone()
    start_node("cloud_node", **MODEL, transport="dds")
    robot.see_until("cloud")
    robot.check_that_all_answers_are_the_same()


def test_over_tcp_a_robot_outlives_garbage_its_cloud_and_a_cloud_with_another_model(
    observer: Any, start_node: Callable[..., None], children: Any, port: int
) -> None:
    """One robot through all of it: what is wrong with its cloud costs it no frame."""
    start_node("cloud_node", **MODEL, port=port)
    link = {"transport": "tcp", "cloud_port": port, "cloud_timeout": 20.0}
    robot = Robot(observer, start_node, path="cloud", **link)
    robot.see_until("cloud")
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, bytes(64)):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
            peer.sendall(garbage)
            assert robot.see().path == "cloud", "garbage on the bridge disturbed it"
    assert children.running("cloud_node")
    children.kill("cloud_node")
    robot.sees_alone()
    start_node("cloud_node", **(MODEL | {"random_seed": 1}), port=port)
    robot.see_until_refused("same model")
    children.kill("cloud_node")
    start_node("cloud_node", **MODEL, port=port)
    robot.see_until("cloud")
    robot.check_that_all_answers_are_the_same()


def test_a_port_in_use_ends_the_cloud_node_with_a_clear_error(
    start_node: Callable[..., None], children: Any, log_of: Callable[[str], str]
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        start_node("cloud_node", **MODEL, port=taken)
        assert children.wait("cloud_node", 60) == 1
    assert f"port {taken} on 127.0.0.1 is already in use" in log_of("cloud_node")


def test_any_address_but_loopback_is_refused(
    start_node: Callable[..., None], children: Any, log_of: Callable[[str], str]
) -> None:
    start_node("cloud_node", **MODEL, bind_host="0.0.0.0")
    assert children.wait("cloud_node", 60) == 1
    assert "loopback" in log_of("cloud_node")


def test_with_certificates_a_robot_is_served_on_any_address(
    observer: Any, start_node: Callable[..., None], port: int, tmp_path: Path
) -> None:
    authority = Authority.create()
    authority.issued.write(tmp_path, "ca")
    authority.cloud(["localhost"], 1).write(tmp_path, "cloud")
    authority.robot("r1", 1).write(tmp_path, "robot")

    def tls(name: str) -> dict[str, str]:
        files = {"tls_ca": "ca.crt", "tls_cert": f"{name}.crt", "tls_key": f"{name}.key"}
        return {parameter: str(tmp_path / file) for parameter, file in files.items()}

    door = {"bind_host": "0.0.0.0", "require_client_cert": True}
    start_node("cloud_node", **MODEL, port=port, **door, **tls("cloud"))
    link = {"cloud_host": "localhost", "cloud_port": port, "cloud_timeout": 20.0}
    robot = Robot(observer, start_node, path="cloud", transport="tcp", **link, **tls("robot"))
    robot.see_until("cloud")
