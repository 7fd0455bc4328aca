"""One robot of the soak test: a real edge session over TCP, at a steady frame rate."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator

import torch

from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.frame import Frame
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.session import EdgeSession, SessionConfig

SCENE_FRAMES = 240
"""Of one way through the scene: its objects then move slowly, and little is active."""

CLOCKS_APART = 0.01
"""The largest difference of a period from the mean, as a share of it."""


def pictures(size: tuple[int, int], offset: int) -> Iterator[Frame]:
    """Yield frames of a generated scene for ever, to and fro, from another one for each offset."""
    scene = GeneratedScene(
        height=size[0], width=size[1], count=SCENE_FRAMES, pan=0.0, seed=offset % 4
    )
    there_and_back = [*range(SCENE_FRAMES), *range(SCENE_FRAMES - 2, 0, -1)]
    number = offset * 29
    while True:
        yield Frame(scene.render(there_and_back[number % len(there_and_back)]), number)
        number += 1


def period_s(fps: float, offset: int) -> float:
    """Return the seconds between two frames of one robot.

    Cameras have clocks of their own. With one for all, the robot whose frames come right after
    another's would wait for it each time, for as long as the test takes.
    """
    return (1.0 + CLOCKS_APART * (offset * 3 % 8 - 3.5) / 3.5) / fps


def main() -> None:
    """Print one JSON object a frame until the time is up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=int, nargs=2, required=True)
    parser.add_argument("--offset", type=int, required=True)
    parser.add_argument("--fps", type=float, required=True)
    parser.add_argument("--random-weights", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seed = 0 if options.random_weights else None
    detector = Detector.load(options.model, random_seed=seed)
    config = SessionConfig(path="cloud", cloud_timeout_s=5.0)
    frames = pictures(tuple(options.size), options.offset)
    with EdgeSession(detector, config, TcpTransport("127.0.0.1", options.port)) as session:
        due = time.monotonic() + options.offset * 0.13
        for frame in frames:
            time.sleep(max(0.0, due - time.monotonic()))
            started = time.monotonic()
            result = session.process(frame)
            ended = time.monotonic()
            due = max(due + period_s(options.fps, options.offset), ended)
            line = {
                "at": started,
                "ms": (ended - started) * 1e3,
                "path": result.path,
                "ratio": result.compute_ratio,
                "cloud_ms": sum(
                    spent for name, spent in result.stage_ms.items() if name.startswith("cloud.")
                ),
                "reason": result.fallback_reason,
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
