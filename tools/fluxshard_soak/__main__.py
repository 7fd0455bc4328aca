"""Run a real `fluxshard cloud` with many robot processes for minutes and print what came of it."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fluxshard_soak.report import RobotRow, Soak
from fluxshard_soak.throughput import measure

WARM_UP_S = 20.0
SAMPLE_S = 2.0
_PAGE_BYTES = 4096
_FLUXSHARD = "from fluxshard_core.cli import main; main()"


class Lines:
    """Collects the JSON lines a process prints, on a thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.found: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.found.append(json.loads(line))

    def wait_for(self, event: str, timeout_s: float) -> dict[str, Any]:
        """Return the first line of that event."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in list(self.found):
                if line.get("event") == event:
                    return line
            time.sleep(0.05)
        raise SystemExit(f"the cloud process did not say {event!r}; see what it printed above")


@contextmanager
def running(*arguments: str) -> Iterator[Lines]:
    """Run Python with these arguments until the block ends."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield Lines(process)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> int:
    """Return 1 when a bound was not kept."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to stop"))  # not without the robots
    size = options.size[0], options.size[1]
    weights = ["--random-weights"] if options.random_weights else []
    seed = 0 if options.random_weights else None
    speed = measure(
        options.model, size, options.robots, options.throughput_frames, random_seed=seed
    )
    cloud_arguments = [
        *("-c", _FLUXSHARD, "cloud", "--model", options.model, *weights),
        *("--port", "0", "--json", "--status-every", "5"),
        *("--processes", str(len(os.sched_getaffinity(0)))),
        *("--size", f"{size[0]}x{size[1]}"),
    ]
    with running(*cloud_arguments) as cloud:
        port = str(cloud.wait_for("ready", 120.0)["port"])
        robots, memory, started = _replay(options, port, cloud.process.pid)
        status = [line for line in cloud.found if line.get("event") == "status"][-1]
    soak = Soak(
        options.minutes,
        [_row(robot, started + WARM_UP_S) for robot in robots],
        memory,
        status["mean_batch"],
        status["session_mb"],
        speed,
        {key: str(value) for key, value in vars(options).items()},
    )
    print("\n".join(soak.lines()))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(soak.as_dict(), indent=1))
    return int(bool(soak.broken))


def _replay(
    options: argparse.Namespace, port: str, cloud_pid: int
) -> tuple[list[list[dict[str, Any]]], list[tuple[float, float]], float]:
    """Let the robots drive; return their lines, the cloud's memory, and when all were driving."""
    memory: list[tuple[float, float]] = []
    with ExitStack() as stack:
        robots = [stack.enter_context(_robot(options, port, n)) for n in range(options.robots)]
        while not all(robot.found for robot in robots):
            if any(robot.process.poll() is not None for robot in robots):
                raise SystemExit("a robot ended before its first frame")
            time.sleep(0.1)
        started = time.monotonic()
        while (now := time.monotonic() - started) < options.minutes * 60 + WARM_UP_S:
            if now > WARM_UP_S:
                memory.append((now, _resident_mb(cloud_pid)))
            time.sleep(SAMPLE_S)
        return [list(robot.found) for robot in robots], memory, started


def _robot(options: argparse.Namespace, port: str, number: int) -> AbstractContextManager[Lines]:
    return running(
        *("-m", "fluxshard_soak.robot", "--port", port, "--model", options.model),
        *("--size", str(options.size[0]), str(options.size[1])),
        *("--offset", str(number), "--fps", str(options.fps)),
        *(["--random-weights"] if options.random_weights else []),
    )


def _row(lines: list[dict[str, Any]], since: float) -> RobotRow:
    counted = [line for line in lines if line["at"] >= since]
    times = np.array([line["ms"] for line in counted])
    for reason in {line["reason"] for line in counted if line["reason"]}:
        print(f"fallback: {reason}", file=sys.stderr)
    return RobotRow(
        len(counted),
        sum(line["path"] == "edge" for line in counted),
        float(np.percentile(times, 50)),
        float(np.percentile(times, 95)),
        float(np.mean([line["ratio"] for line in counted])),
    )


def _resident_mb(pid: int) -> float:
    """Memory of a process and of those it has started, MB."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    children = (process / "task" / str(pid) / "children").read_text().split()
    return pages * _PAGE_BYTES / 2**20 + sum(_resident_mb(int(child)) for child in children)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--robots", type=int, default=8)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=2.0, help="of each robot")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 384), metavar=("H", "W"))
    parser.add_argument("--random-weights", action="store_true", help="need no weight file")
    parser.add_argument("--throughput-frames", type=int, default=20)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
