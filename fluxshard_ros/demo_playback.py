"""The processes of a demo, from their start to the last frame's answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import yaml
from rclpy.executors import SingleThreadedExecutor
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fluxshard_core.errors import FluxShardError
from fluxshard_ros.child_processes import ChildProcesses
from fluxshard_ros.demo_recorder import DemoRecorder

RANDOM_SEED = 0
_START_TIMEOUT_S = 120.0
_QUIET_S = 10.0  # longer than three of Fast DDS's heartbeats, which repair lost messages
_SPIN_S = 0.05


@dataclass(frozen=True)
class DemoOptions:
    """What to play, through what, and where to write; ``rate`` 0 plays every frame in turn."""

    video: str
    model: str
    path: str
    transport: str
    out: Path
    rate: float
    max_frames: int
    confidence: float
    cloud_timeout: float
    random_weights: bool
    reuse: bool
    whole_if_sooner: bool
    codec: str
    bag_topic: str


def expected_frames(count: int | None, max_frames: int) -> int | None:
    """How many frames will be played, if that can be known."""
    if count is None:
        return max_frames or None
    return min(count, max_frames) if max_frames else count


class Playback:
    """Starts the cloud node, the edge node and the camera, and follows the frames."""

    def __init__(
        self,
        options: DemoOptions,
        children: ChildProcesses,
        recorder: DemoRecorder,
        namespace: str,
    ) -> None:
        self._options = options
        self._children = children
        self._recorder = recorder
        self._namespace = namespace
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(recorder)

    def start_nodes(self) -> None:
        """Start both ends and wait until they are active and heard."""
        options = self._options
        model = {
            "model": options.model,
            "random_seed": RANDOM_SEED if options.random_weights else -1,
        }
        nodes = ["edge_node"]
        port = _free_port()
        if options.path != "edge":
            nodes.insert(0, "cloud_node")
            self._start("cloud_node", {**model, "transport": options.transport, "port": port})
        link = {"transport": options.transport, "cloud_port": port}
        edge = {
            "path": options.path,
            "confidence": options.confidence,
            "cloud_timeout": options.cloud_timeout,
            "reuse": options.reuse,
            "whole_if_sooner": options.whole_if_sooner,
            "codec": options.codec,
            **(link if "cloud_node" in nodes else {"transport": "none"}),
        }
        self._start("edge_node", {**model, **edge})
        with _progress() as progress:
            task = progress.add_task("starting nodes", total=len(nodes) + 1)
            for node in nodes:
                self._await(lambda node=node: self._recorder.is_active(node), f"{node} to start")
                progress.advance(task)
            self._await(self._recorder.hears_edge, "the edge node's topics")
            progress.advance(task)

    def play(self, expected: int | None) -> None:
        """Play the video to its end and wait for the answers still under way."""
        options = self._options
        camera = {
            "source": options.video,
            "bag_topic": options.bag_topic,
            "max_frames": options.max_frames,
            "rate": options.rate,
            "lockstep": options.rate == 0,
        }
        self._start("camera_player", camera)
        with _progress() as progress:
            task = progress.add_task("frames", total=expected)
            while self._children.running("camera_player"):
                self._spin()
                progress.update(task, completed=self._recorder.frames_out)
            self._drain()
            progress.update(task, completed=self._recorder.frames_out)

    def _drain(self) -> None:
        """Wait until every frame has ended one way or another, or none has for a while."""
        quiet_since, ended = monotonic(), self._recorder.frames_ended
        while ended < self._recorder.frames_in and monotonic() - quiet_since < _QUIET_S:
            self._spin()
            if self._recorder.frames_ended > ended:
                quiet_since, ended = monotonic(), self._recorder.frames_ended

    def _start(self, name: str, parameters: dict[str, Any]) -> None:
        """Start a node of the package; a parameter file keeps every value's type."""
        file = self._options.out / "logs" / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": parameters}}), encoding="utf-8")
        arguments = ["--ros-args", "-r", f"__ns:={self._namespace}", "--params-file", str(file)]
        self._children.start(name, f"fluxshard_ros.{name}", arguments)

    def _spin(self) -> None:
        self._executor.spin_once(timeout_sec=_SPIN_S)
        self._children.check()

    def _await(self, reached: Callable[[], bool], what: str) -> None:
        deadline = monotonic() + _START_TIMEOUT_S
        while not reached():
            self._spin()
            if monotonic() > deadline:
                raise FluxShardError(f"waited {_START_TIMEOUT_S:g} s for {what}; see the logs")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
