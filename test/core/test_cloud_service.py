"""Many robots on one cloud: served together as if alone, bounded, each resumed or evicted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from fluxshard_core.cloud_service import CloudService
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.models.detections import Detections
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.client_config import ClientConfig
from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.session import EdgeSession, Engine, SessionConfig
from fluxshard_core.session.cloud import session_bytes

SIZE = 128, 160
SMALL = 64, 96
STRIDES = (2, 4, 8, 16, 32)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def engine(random_engine: Callable[[str], Engine]) -> Engine:
    engine = random_engine("yolo11n")
    for size in (SIZE, SMALL):
        engine.binding(*size)  # what is captured once must not count as silence
    return engine


def request(
    engine: Engine,
    robot: str,
    number: int,
    critical: np.ndarray | None = None,
    size: tuple[int, int] = SIZE,
) -> ShardFrame:
    """Frame ``number`` of a robot whose pictures no other robot has; whole unless ``critical``."""
    scene = GeneratedScene(height=size[0], width=size[1], count=8, seed=sum(robot.encode()))
    image, letterbox = engine.detector.preprocess(scene.render(number))
    blocks = np.ones((size[0] // 16, size[1] // 16), dtype=bool) if critical is None else critical
    shards = shard_codec.encode(image, np.flatnonzero(blocks).astype(np.int32))
    return ShardFrame(
        *(robot, 0, number, 0, engine.detector.model_hash, letterbox, 0.05, 0.7, shards),
        motion=None if critical is None else MotionField.zero(*size),
        critical={} if critical is None else dict.fromkeys(STRIDES, critical),
    )


def some_blocks(seed: int) -> np.ndarray:
    """Four neighbouring blocks somewhere."""
    blocks = np.zeros((SIZE[0] // 16, SIZE[1] // 16), dtype=bool)
    top, left = np.random.default_rng(seed).integers(0, (SIZE[0] // 16 - 1, SIZE[1] // 16 - 1))
    blocks[top : top + 2, left : left + 2] = True
    return blocks


def near(one: Detections, two: Detections) -> bool:
    return np.array_equal(one.class_ids, two.class_ids) and np.allclose(
        one.boxes, two.boxes, rtol=1e-4, atol=1e-3
    )


def test_robots_served_together_get_what_each_would_get_alone(engine: Engine) -> None:
    together, alone = CloudService(engine), CloudService(engine)
    robots = ["a", "b", "c", "d"]
    for number in range(4):
        blocks = [some_blocks(10 * number + index) for index in range(len(robots))]
        frames = [
            request(engine, robot, number, None if number == 0 or robot == "d" else critical)
            for robot, critical in zip(robots, blocks, strict=True)
        ]
        for result, frame in zip(together.handle_many(frames), frames, strict=True):
            expected = alone.handle(frame)
            assert (result.session, result.number, result.error) == (frame.session, number, "")
            assert result.checksum == expected.checksum
            assert result.dense == expected.dense == (not frame.critical)
            assert near(result.detections, expected.detections)
            assert len(result.detections) > 0
    assert together.status.frames == alone.status.frames == 16
    assert together.status.passes == 4 + 3 * 2, "three share a pass, the fourth runs whole"


@pytest.mark.parametrize("threads", [1, 3])
def test_robots_served_in_lanes_get_bit_for_bit_what_each_would_get_alone(
    engine: Engine, threads: int
) -> None:
    torch.set_num_threads(threads)
    laned, alone = CloudService(engine), CloudService(engine)
    torch.set_num_threads(1)
    worker = InferenceWorker(laned.handle, 64, serve=laned.serve, lanes=3)
    answers: dict[tuple[str, int], InferenceResult] = {}
    rounds = threading.Semaphore(0)

    def deliver(result: InferenceResult) -> None:
        answers[result.session, result.number] = result
        rounds.release()

    frames: list[ShardFrame] = []
    worker.start()
    for number in range(6):
        for index, robot in enumerate("abcdef"):
            whole = number == 0 or index == number
            critical = None if whole else some_blocks(10 * number + index)
            frames.append(request(engine, robot, number, critical))
            worker.submit(robot, frames[-1], deliver)
        assert all(rounds.acquire(timeout=20.0) for _ in "abcdef")
    assert worker.drain(5.0)
    for frame in frames:
        got, expected = answers[frame.session, frame.number], alone.handle(frame)
        assert (got.error, got.checksum) == ("", expected.checksum)
        for name in ("boxes", "scores", "class_ids"):
            ours, theirs = getattr(got.detections, name), getattr(expected.detections, name)
            np.testing.assert_array_equal(ours, theirs)
    assert laned.status.frames == len(frames)


def test_a_robot_whose_frame_is_being_served_is_not_silent(engine: Engine) -> None:
    service = CloudService(engine, idle_s=0.05)
    service.handle(request(engine, "a", 0))
    serving = service.serve([request(engine, "a", 1), request(engine, "b", 1)])
    next(serving)
    time.sleep(0.1)
    assert list(service.serve([])) == []
    assert service.status.evicted == 0
    assert [answer.error for _, answer in serving] == [""]


def test_the_whole_frame_of_one_robot_keeps_no_other_waiting(engine: Engine) -> None:
    service = CloudService(engine)
    service.handle_many([request(engine, robot, 0) for robot in "abc"])
    critical = some_blocks(0)
    frames = [
        request(engine, "a", 1),
        request(engine, "b", 1, critical),
        request(engine, "c", 1, critical),
    ]
    assert [index for index, _ in service.serve(frames)] == [1, 2, 0]


def test_what_one_robot_gets_wrong_is_an_error_of_that_robot_only(engine: Engine) -> None:
    service = CloudService(engine)
    service.handle_many([request(engine, robot, 0) for robot in "ab"])
    critical = some_blocks(0)
    wrong = [
        replace(request(engine, "b", 1, critical), epoch=7),
        request(engine, "new", 1, critical),
        replace(request(engine, "other", 0), model_hash="0" * 16),
    ]
    good = request(engine, "a", 1, critical)
    answers = service.handle_many([wrong[0], good, *wrong[1:]])
    assert [bool(answer.error) for answer in answers] == [True, False, True, True]
    assert service.status.sessions == 2, "who never got an answer has no place"


def test_two_frames_of_one_session_are_answered_in_order(engine: Engine) -> None:
    service = CloudService(engine)
    frames = [request(engine, "a", 0), request(engine, "a", 1, some_blocks(1))]
    assert [answer.error for answer in service.handle_many(frames)] == ["", ""]


def test_memory_is_known_and_beyond_the_cap_a_new_robot_is_refused(engine: Engine) -> None:
    one_mb = session_bytes(engine, SMALL) / 2**20
    service = CloudService(engine, max_memory_mb=2.5 * one_mb)
    assert [service.handle(request(engine, name, 0, size=SMALL)).error for name in "ab"] == ["", ""]
    assert service.status.memory_mb == pytest.approx(2 * one_mb, abs=0.1)
    refused = service.handle(request(engine, "c", 0, size=SMALL))
    assert "no memory for another robot" in refused.error
    assert "max_memory_mb" in refused.error
    larger = service.handle(request(engine, "a", 1, size=SIZE))
    assert "no memory" in larger.error, "a size that no longer fits is refused as well"
    assert service.handle(request(engine, "b", 1, size=SMALL)).error == ""
    assert (service.status.sessions, service.status.refused) == (2, 2)


def test_memory_that_is_stated_is_memory_that_is_held(engine: Engine) -> None:
    executor = engine.executor(*SIZE)
    assert engine.binding(*SIZE).cache_bytes() == executor.cache_bytes


def test_a_silent_robot_is_evicted_after_the_grace_time(engine: Engine) -> None:
    service = CloudService(engine, idle_s=0.3)
    service.handle_many([request(engine, robot, 0) for robot in "ab"])
    time.sleep(0.2)
    critical = some_blocks(1)
    assert service.handle(request(engine, "a", 1, critical)).error == ""
    time.sleep(0.2)
    assert list(service.serve([])) == []
    assert (service.status.sessions, service.status.evicted) == (1, 1)
    assert "first frame" in service.handle(request(engine, "b", 1, critical)).error


def test_a_session_goes_on_after_its_connection_broke_between_two_frames(engine: Engine) -> None:
    """No dense frame, no new epoch: one frame falls back while the link is down, no more."""
    service = CloudService(engine)
    scene = list(GeneratedScene(height=SMALL[0], width=SMALL[1], count=8))
    config = SessionConfig(path="cloud", confidence=0.05, cloud_timeout_s=30.0)
    server = InferenceServer(service.handle, serve=service.serve)
    server.start()
    transport = TcpTransport("127.0.0.1", server.port, ClientConfig(max_retry_s=0.1))
    with EdgeSession(engine, config, transport) as session:
        assert [session.process(frame).path for frame in scene[:3]] == ["cloud"] * 3
        server.stop()
        wait_until(lambda: not transport.connected)
        assert session.process(scene[3]).path == "edge"
        server = InferenceServer(service.handle, port=server.port, serve=service.serve)
        with server:
            wait_until(lambda: transport.connected)
            results = [session.process(frame) for frame in scene[4:]]
    assert [result.path for result in results] == ["cloud"] * 4
    assert {result.dense_reason for result in results} <= {"", "most of the frame is active"}
    assert results[-1].resyncs == 0
    assert service.status.sessions == 1


def wait_until(happened: object) -> None:
    assert callable(happened)
    deadline = time.monotonic() + 10.0
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_names_the_frame_it_is_of(engine: Engine) -> None:
    frames = [request(engine, robot, 0) for robot in "ab"]
    answers: list[InferenceResult] = CloudService(engine).handle_many(frames)
    assert [(answer.session, answer.number) for answer in answers] == [("a", 0), ("b", 0)]
