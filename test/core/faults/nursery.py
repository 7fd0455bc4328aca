"""A program: loads the network once and forks clouds and robots from it, which start at once.

Every line on its standard input is a JSON object that names the ``role`` and its settings, and is
answered with the process id. A role writes JSON lines to its file ``out``.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fluxshard_core.cloud_service import CloudService
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.client_config import ClientConfig
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.security import ClientSecurity, ServerSecurity
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.session import EdgeSession, Engine, SessionConfig

HEIGHT, WIDTH, SCENE_FRAMES = 32, 64, 6
PR_SET_PDEATHSIG = 1


class Out:
    """A file of JSON lines, written whole."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __call__(self, **values: Any) -> None:
        os.write(self._file, json.dumps(values).encode() + b"\n")


def digest(found: Detections) -> str:
    """Return what two results share exactly when they are the same to the last bit."""
    arrays = (found.boxes, found.scores, found.class_ids)
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:16]


def run_cloud(engine: Engine, say: Out, settings: dict[str, Any]) -> None:
    """A cloud until it is killed; it says when each frame begins, and may take its time."""
    service = CloudService(engine)

    def serve(frames: Sequence[ShardFrame]) -> Iterator[tuple[int, InferenceResult]]:
        for frame in frames:
            say(begun=frame.number)
            time.sleep(settings.get("slow_s", 0.0))
        yield from service.serve(frames)

    security = ServerSecurity.of_paths(*settings["tls"]) if settings.get("tls") else None
    config = ServerConfig(**settings.get("config", {}))
    server = InferenceServer(
        service.handle, port=settings["port"], config=config, security=security, serve=serve
    )
    with server:
        say(port=server.port)
        while True:
            time.sleep(0.2)
            say(stats=vars(server.stats))


def run_robot(engine: Engine, say: Out, settings: dict[str, Any]) -> None:
    """A robot: one frame after another until the file ``stop`` is there; says how each went."""
    transport = None
    if settings["path"] != "edge":
        security = ClientSecurity.of_paths(*settings["tls"]) if settings.get("tls") else None
        config = ClientConfig(**settings.get("client", {}))
        transport = TcpTransport("localhost", settings["port"], config, security)
    session_config = SessionConfig(
        settings["path"],
        confidence=0.05,
        cloud_timeout_s=settings.get("timeout_s", 1.0),
        reuse=None,
    )
    stop = Path(settings["stop"])
    with EdgeSession(engine, session_config, transport) as session:
        scene = list(GeneratedScene(height=HEIGHT, width=WIDTH, count=SCENE_FRAMES))
        for number in range(settings.get("frames", 10**9)):
            if stop.exists():
                break
            result = session.process(scene[number % SCENE_FRAMES])
            say(
                number=result.number,
                path=result.path,
                reason=result.fallback_reason,
                digest=digest(result.detections),
                count=len(result.detections),
                waited_s=result.stage_ms.get("cloud", 0.0) / 1e3,
            )
            time.sleep(settings.get("pause_s", 0.0))
        say(done=True, counters=vars(transport.counters) if transport else {})


def main() -> None:
    """Fork a child for every line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    torch.set_num_threads(1)
    engine = Engine(Detector.load("yolo11n", random_seed=0))
    engine.plan(HEIGHT, WIDTH)
    print("ready", flush=True)
    for line in sys.stdin:
        settings = json.loads(line)
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no orphans, whatever happens
        errors = os.open(settings["out"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(errors, 2)
        os.close(0)
        os.close(1)
        {"cloud": run_cloud, "robot": run_robot}[settings["role"]](
            engine, Out(settings["out"]), settings
        )
        os._exit(0)


if __name__ == "__main__":
    main()
