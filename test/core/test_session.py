"""Sessions: both ends find the same, the edge finishes what the cloud does not, errors are said."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from fluxshard_core.cloud_service import CloudService
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.session import CloudSession, EdgeSession, SessionConfig

SCENE = GeneratedScene(height=150, width=200, count=4)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("yolo11n-seg", random_seed=0)


def config(path: str, **changes: object) -> SessionConfig:
    return replace(SessionConfig(confidence=0.05), path=path, **changes)


def same(one: Detections, two: Detections) -> bool:
    arrays = all(
        np.array_equal(getattr(one, name), getattr(two, name))
        for name in ("boxes", "scores", "class_ids")
    )
    pairs = zip(one.masks or (), two.masks or (), strict=True)
    return arrays and all(np.array_equal(a.unpack(), b.unpack()) for a, b in pairs)


def request(detector: Detector, image: np.ndarray, ids: np.ndarray, epoch: int = 0) -> ShardFrame:
    net_input, letterbox = detector.preprocess(image)
    shards = shard_codec.encode(net_input, ids)
    return ShardFrame("robot", epoch, 0, 0, detector.model_hash, letterbox, 0.05, 0.7, shards)


def test_edge_and_cloud_find_the_same(detector: Detector) -> None:
    with InferenceServer(CloudService(detector).handle) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        local = EdgeSession(detector, config("edge"))
        with EdgeSession(detector, config("cloud"), transport) as remote:
            for frame in SCENE:
                here, there = local.process(frame), remote.process(frame)
                assert (here.path, there.path) == ("edge", "cloud"), there.fallback_reason
                assert same(here.detections, there.detections)
                assert len(here.detections) > 0
                assert there.tx_bytes > there.transmission_ratio > 1.0
                assert here.tx_bytes == 0
                assert {"preprocess", "encode", "cloud", "cloud.infer"} <= set(there.stage_ms)


def test_the_edge_finishes_the_frame_when_nobody_answers(detector: Detector) -> None:
    frame = SCENE.render(0)
    with InferenceServer(CloudService(detector).handle) as server:
        port = server.port
    expected = EdgeSession(detector, config("edge")).process(Frame(frame)).detections
    with EdgeSession(detector, config("cloud"), TcpTransport("127.0.0.1", port)) as session:
        result = session.process(Frame(frame))
    assert (result.path, bool(result.fallback_reason)) == ("edge", True)
    assert same(result.detections, expected)


def test_the_edge_finishes_the_frame_when_the_answer_is_late(detector: Detector) -> None:
    def slow(frame: ShardFrame) -> InferenceResult:
        time.sleep(0.5)
        return InferenceResult.failure(frame, "too late to matter")

    with InferenceServer(slow) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(detector, config("cloud", cloud_timeout_s=0.1), transport) as session:
            result = session.process(Frame(SCENE.render(0)))
    assert result.path == "edge"
    assert "100 ms" in result.fallback_reason
    assert len(result.detections) > 0


def test_a_cloud_that_fails_says_why_and_the_edge_finishes(detector: Detector) -> None:
    other = Detector.load("yolo11n-seg", random_seed=1)
    with InferenceServer(CloudService(other).handle) as server:
        transport = TcpTransport("127.0.0.1", server.port)
        with EdgeSession(detector, config("cloud"), transport) as session:
            result = session.process(Frame(SCENE.render(0)))
    assert result.path == "edge"
    assert "same model and weights" in result.fallback_reason


def test_results_follow_their_frames(detector: Detector) -> None:
    session = EdgeSession(detector, config("edge"))
    sizes = [(64, 96), (97, 131), (64, 96)]
    for number, (height, width) in enumerate(sizes):
        image = GeneratedScene(height=height, width=width, count=1).render(0)
        result = session.process(Frame(image, stamp_ns=number * 7, frame_id="left"))
        assert (result.number, result.stamp_ns, result.frame_id) == (number, number * 7, "left")
        assert (result.detections.boxes[:, 2] <= width).all()


@pytest.mark.parametrize(
    "wrong", [{"path": "moon"}, {"confidence": 1.5}, {"iou": -0.1}, {"cloud_timeout_s": 0.0}]
)
def test_a_configuration_that_cannot_work_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SessionConfig(**wrong)


def test_a_cloud_path_needs_a_transport(detector: Detector) -> None:
    with pytest.raises(InputError, match="no transport"):
        EdgeSession(detector, config("cloud"))


def test_a_cloud_session_keeps_the_blocks_it_was_not_sent(detector: Detector) -> None:
    first, second = SCENE.render(0), SCENE.render(1)
    net_input, _ = detector.preprocess(first)
    everything = shard_codec.all_blocks(*net_input.shape[:2])
    session = CloudSession(detector)
    session.process(request(detector, first, everything))
    changed = everything[::3].copy()
    partial = session.process(request(detector, second, changed))
    composed = net_input.copy()
    shard_codec.decode_into(composed, request(detector, second, changed).shards)
    fresh = CloudSession(detector)
    whole = fresh.process(request(detector, composed[:150, :200], everything))
    assert same(partial.detections, whole.detections)


def test_an_epoch_must_start_with_every_block(detector: Detector) -> None:
    image = SCENE.render(0)
    session = CloudSession(detector)
    some = np.array([0, 1], dtype=np.int32)
    with pytest.raises(InputError, match="first frame must bring every block"):
        session.process(request(detector, image, some))
    net_input, _ = detector.preprocess(image)
    session.process(request(detector, image, shard_codec.all_blocks(*net_input.shape[:2])))
    with pytest.raises(InputError, match="epoch 1"):
        session.process(request(detector, image, some, epoch=1))
    session.process(request(detector, image, some, epoch=0))


def test_a_full_cloud_refuses_new_robots_until_one_falls_silent(detector: Detector) -> None:
    service = CloudService(detector, max_sessions=2, idle_s=0.2)
    image = GeneratedScene(height=32, width=32, count=1).render(0)
    frame = request(detector, image, shard_codec.all_blocks(32, 32))

    def ask(robot: str) -> str:
        return service.handle(replace(frame, session=robot)).error

    assert [ask("a"), ask("b")] == ["", ""]
    assert "already serves 2 robots" in ask("c")
    assert ask("a") == "", "those served go on"
    time.sleep(0.25)
    assert ask("b") == ""
    assert ask("c") == "", "a's place was free"
    assert "already serves 2 robots" in ask("a")
