"""Robots spread over processes: answered bit for bit as by one; one's end hurts no others."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from fluxshard_core import cloud_processes
from fluxshard_core.cloud_process import ProcessSettings
from fluxshard_core.cloud_processes import CloudProcesses, ProcessLostError
from fluxshard_core.cloud_service import CloudService
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.models.detector import Detector
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.session import Engine

pytestmark = pytest.mark.timeout(300)  # processes that each load the model, on a busy machine

SIZE = 64, 96
ROBOTS = "abcd"
SETTINGS = ProcessSettings("yolo11n", 0, 2, [SIZE], max_sessions=8, max_memory_mb=1000, idle_s=60)


@pytest.fixture(scope="module")
def detector(random_engine: Callable[[str], Engine]) -> Detector:
    return random_engine("yolo11n").detector


@pytest.fixture(scope="module")
def cloud() -> Iterator[CloudProcesses]:
    with CloudProcesses(SETTINGS, 2) as cloud:
        yield cloud


def request(detector: Detector, robot: str, number: int, *, whole: bool = False) -> ShardFrame:
    """A frame of a robot whose pictures no other has, some blocks of it but for a ``whole`` one."""
    scene = GeneratedScene(height=SIZE[0], width=SIZE[1], count=8, seed=ord(robot))
    image, letterbox = detector.preprocess(scene.render(number))
    blocks = np.zeros((SIZE[0] // 16, SIZE[1] // 16), dtype=bool)
    blocks[1:3, number % 4 : number % 4 + 2] = True
    sent = np.ones_like(blocks) if whole else blocks
    shards = shard_codec.encode(image, np.flatnonzero(sent).astype(np.int32))
    return ShardFrame(
        *(robot, 0, number, 0, detector.model_hash, letterbox, 0.05, 0.7, shards),
        motion=None if whole else MotionField.zero(*SIZE),
        critical={} if whole else dict.fromkeys((2, 4, 8, 16, 32), blocks),
    )


def test_robots_are_spread_and_get_what_one_process_would_give_them(
    cloud: CloudProcesses, detector: Detector, random_engine: Callable[[str], Engine]
) -> None:
    alone = CloudService(random_engine("yolo11n"))
    answers: dict[tuple[str, int], InferenceResult] = {}
    answered = threading.Semaphore(0)
    worker = InferenceWorker(
        cloud.handle, 16, serve=cloud.serve, lanes=cloud.lanes, lane_of=cloud.lane_of
    )
    frames = [
        request(detector, robot, number, whole=number == 0)
        for number in range(3)
        for robot in ROBOTS
    ]

    def deliver(answer: InferenceResult) -> None:
        answers[answer.session, answer.number] = answer
        answered.release()
        left = [frame for frame in frames if frame.session == answer.session]
        if answer.number + 1 < len(left):
            worker.submit("peer", left[answer.number + 1], deliver)

    for frame in frames[: len(ROBOTS)]:
        worker.submit("peer", frame, deliver)
    worker.start()
    assert all(answered.acquire(timeout=30.0) for _ in frames)
    assert worker.drain(5.0)
    for frame in frames:
        got, expected = answers[frame.session, frame.number], alone.handle(frame)
        assert (got.error, got.checksum, got.dense) == ("", expected.checksum, expected.dense)
        np.testing.assert_array_equal(got.detections.boxes, expected.detections.boxes)
        np.testing.assert_array_equal(got.detections.scores, expected.detections.scores)
    assert [cloud.lane_of(robot) for robot in ROBOTS].count(0) == 2
    assert (cloud.status.sessions, cloud.status.frames) == (4, 12)
    assert list(cloud.serve([])) == []


def test_a_process_that_ends_costs_its_own_robots_one_frame(
    cloud: CloudProcesses, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_processes, "_REST_S", 0.0)
    for robot in ROBOTS:
        assert cloud.handle(request(detector, robot, 0, whole=True)).error == ""
    hit = cloud.lane_of("a")
    others = [robot for robot in ROBOTS if cloud.lane_of(robot) != hit]
    os.kill(cloud._processes[hit]._popen.pid, signal.SIGKILL)
    with pytest.raises(ProcessLostError, match="begins anew"):
        cloud.handle(request(detector, "a", 1))
    assert [cloud.handle(request(detector, robot, 1)).error for robot in others] == ["", ""]
    assert "first frame" in cloud.handle(request(detector, "a", 1)).error, "it runs, but knows none"
    assert cloud.handle(request(detector, "a", 2, whole=True)).error == ""
    assert cloud.handle(request(detector, "a", 3)).error == ""


def test_a_process_that_hangs_is_ended(
    cloud: CloudProcesses, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_processes, "_REST_S", 0.0)
    assert cloud.handle(request(detector, "a", 0, whole=True)).error == ""
    os.kill(cloud._processes[cloud.lane_of("a")]._popen.pid, signal.SIGSTOP)
    with monkeypatch.context() as patience:
        patience.setattr(cloud_processes, "_LONGEST_S", 0.5)
        with pytest.raises(ProcessLostError, match="begins anew"):
            cloud.handle(request(detector, "a", 1))
    assert cloud.handle(request(detector, "a", 2, whole=True)).error == ""


def test_a_process_that_cannot_start_is_an_error_that_leaves_nothing() -> None:
    unknown = ProcessSettings("yolo99x", 0, 1, [], max_sessions=1, max_memory_mb=1, idle_s=1)
    with pytest.raises(ProcessLostError), CloudProcesses(unknown, 1):
        pass
