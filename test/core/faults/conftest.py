"""Clouds, robots and cables as processes, which a test can kill, cut and stall."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import shard_codec, wire
from fluxshard_core.offload.header import Kind
from fluxshard_core.offload.hello import hello
from fluxshard_core.offload.link_probe import padding
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.wire import Message

FOLDER = Path(__file__).parent


def wait_until(condition: Callable[[], Any], what: str, within_s: float = 20.0) -> None:
    """Poll until ``condition`` holds; fail with ``what`` did not happen.

    Time in which this process did not run either, because the machine slept, does not count.
    """
    waited_s, last_s = 0.0, time.monotonic()
    while not condition():
        now_s = time.monotonic()
        waited_s, last_s = waited_s + min(now_s - last_s, 0.1), now_s
        assert waited_s < within_s, f"did not happen in time: {what}"
        time.sleep(0.01)


class Child:
    """A cloud or a robot: its process id and what it says."""

    def __init__(self, pid: int, out: Path) -> None:
        self.pid = pid
        self.out = out
        self._read_bytes = 0
        self._lines: list[dict[str, Any]] = []

    def said(self, key: str) -> list[Any]:
        """Return every value it gave for ``key`` so far."""
        return [one[key] for one in self._everything() if key in one]

    def frames(self) -> list[dict[str, Any]]:
        """Return what a robot said of each frame."""
        return [one for one in self._everything() if "digest" in one]

    def _everything(self) -> list[dict[str, Any]]:
        with self.out.open("rb") as file:
            file.seek(self._read_bytes)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        self._lines += map(json.loads, whole.splitlines())
        return self._lines

    def kill(self) -> None:
        """End it as a power cut would."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(self.pid), "its end")

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return int(psutil.Process(self.pid).memory_info().rss)

    @property
    def errors(self) -> str:
        """Everything it wrote to its standard error."""
        return self.out.with_name(self.out.name + ".err").read_text()


class Robot(Child):
    """A robot that works until it is told to stop."""

    def wait_for(self, path: str, count: int = 1) -> None:
        """Wait for ``count`` more frames answered by ``path``."""
        start = len(self.frames())
        wait_until(
            lambda: sum(frame["path"] == path for frame in self.frames()[start:]) >= count,
            f"{count} frames by the {path}",
        )

    def finish(self) -> list[dict[str, Any]]:
        """Stop it after its frame; return all frames, none of which may be missing."""
        self.out.with_suffix(".stop").touch()
        wait_until(lambda: self.said("done"), f"the robot's end: {self.errors}")
        assert "Traceback" not in self.errors
        frames = self.frames()
        assert [frame["number"] for frame in frames] == list(range(len(frames)))
        return frames


class Nursery:
    """Starts children from the one process that has loaded the network."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert self._read() == "ready"

    def cloud(self, port: int = 0, **settings: Any) -> tuple[Child, int]:
        """Start a cloud; return it and its port."""
        cloud = self._start(Child, role="cloud", port=port, **settings)
        wait_until(lambda: cloud.said("port"), "the cloud's start")
        return cloud, cloud.said("port")[0]

    def robot(self, port: int, path: str = "cloud", **settings: Any) -> Robot:
        """Start a robot that asks the cloud at ``port``."""
        return self._start(Robot, role="robot", port=port, path=path, **settings)

    def end_children(self) -> None:
        """Kill whatever still runs."""
        for child in self._children:
            if psutil.pid_exists(child.pid):
                child.kill()
        self._children.clear()

    def close(self) -> None:
        """End everything."""
        self.end_children()
        self._process.kill()
        self._process.communicate()

    def _start(self, kind: type[Any], **settings: Any) -> Any:
        out = self._folder / f"{len(list(self._folder.iterdir()))}-{settings['role']}.jsonl"
        stop = str(out.with_suffix(".stop"))
        assert self._process.stdin is not None
        order = {**settings, "out": str(out), "stop": stop}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = kind(int(self._read()), out)
        wait_until(out.exists, "the start")
        self._children.append(child)
        return child

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def nursery_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The one process, for all tests of the folder."""
    nursery = Nursery(tmp_path_factory.mktemp("nursery"))
    yield nursery
    nursery.close()


@pytest.fixture
def nursery(nursery_process: Nursery) -> Iterator[Nursery]:
    """Children of a test end with it."""
    yield nursery_process
    nursery_process.end_children()


@pytest.fixture(scope="session")
def edge_only(nursery_process: Nursery) -> list[str]:
    """The digests of the scene's frames on a robot that has no cloud."""
    robot = nursery_process.robot(0, path="edge", frames=6)
    robot.wait_for("edge", 6)
    frames = robot.finish()
    assert all(frame["count"] > 0 for frame in frames)
    assert len({frame["digest"] for frame in frames}) > 1
    return [frame["digest"] for frame in frames]


@pytest.fixture(scope="session")
def assert_right(edge_only: list[str]) -> Callable[[list[dict[str, Any]]], None]:
    """Check that every frame has the result a robot alone would have, whoever made it."""

    def check(frames: list[dict[str, Any]]) -> None:
        assert frames
        for frame in frames:
            assert frame["digest"] == edge_only[frame["number"] % len(edge_only)], frame
            assert (frame["path"] == "cloud") != bool(frame["reason"]), frame

    return check


class Cable:
    """The relay process between robots and a cloud."""

    def __init__(self, port: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(FOLDER / "cable.py"), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def set(self, mode: str) -> None:
        """Do ``mode`` from now on; see cable.py."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(mode + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"


@pytest.fixture
def lay_cable() -> Iterator[Callable[[int], Cable]]:
    """``lay_cable(port)`` puts a cable in front of a cloud."""
    cables: list[Cable] = []

    def lay(port: int) -> Cable:
        cables.append(Cable(port))
        return cables[-1]

    yield lay
    for cable in cables:
        cable.process.kill()
        cable.process.communicate()


@pytest.fixture
def until() -> Callable[..., None]:
    """``until(condition, what, within_s)`` waits, for tests."""
    return wait_until


@pytest.fixture(scope="session")
def frames_of_every_kind() -> dict[str, bytes]:
    """One valid frame of every kind on the wire, small."""
    image = np.random.default_rng(5).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    critical = np.zeros((2, 4), dtype=np.bool_)
    critical[1, 2] = True
    sparse = ShardFrame(
        session="robot",
        epoch=1,
        number=2,
        stamp_ns=3,
        model_hash="0f" * 32,
        letterbox=Letterbox.fit(32, 64, (32, 64)),
        confidence=0.25,
        iou=0.7,
        shards=shard_codec.encode(image, np.flatnonzero(critical).astype(np.int32), "jpeg"),
        motion=MotionField.zero(32, 64),
        critical={8: critical, 16: critical, 32: critical},
    )
    found = Detections(
        boxes=np.ones((2, 4), np.float32),
        scores=np.ones(2, np.float32),
        class_ids=np.zeros(2, np.int32),
        masks=(InstanceMask.pack(0, 0, np.eye(5) > 0), InstanceMask.pack(3, 4, np.eye(7) > 0)),
    )
    messages: dict[str, Message] = {
        "SHARD_FRAME": sparse,
        "RESULT": InferenceResult("robot", 1, 2, 3, found, {"model": 1.0}),
        "REFUSAL": Refusal("no place"),
    }
    frames = {name: bytes(wire.encode(message)) for name, message in messages.items()}
    frames["HELLO"] = bytes(hello(bytes(range(32))))
    frames["PROBE"] = bytes(padding(5, 100))
    assert set(frames) == {kind.name for kind in Kind}
    return frames
