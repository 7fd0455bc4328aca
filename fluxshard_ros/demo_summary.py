"""What a demo run came to, as JSON and as a table."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fluxshard_msgs.msg import FrameStats
from fluxshard_ros.demo_recorder import DemoRecorder

_PACKAGES = ("fluxshard", "torch", "ultralytics", "av", "numpy", "ros-jazzy-rclpy")


def summarise(recorder: DemoRecorder, *, weights: str) -> dict[str, Any]:
    """Return the fields of summary.json; latencies are from image in to results out, in ms."""
    stats = recorder.stats
    total_ms = [one.total_ms for one in stats]
    on_cloud = sum(one.path == FrameStats.PATH_CLOUD for one in stats)
    return {
        "frames_in": recorder.frames_in,
        "frames_out": len(stats),
        "frames_dropped": recorder.frames_dropped,
        "frames_incomplete": recorder.frames_incomplete,
        "detections": recorder.detections,
        "fps": round((len(stats) - 1) / recorder.seconds, 2) if recorder.seconds else 0.0,
        "latency_ms_p50": _percentile(total_ms, 50),
        "latency_ms_p95": _percentile(total_ms, 95),
        "tx_bytes_per_frame": round(sum(s.tx_bytes for s in stats) / max(1, len(stats))),
        "compute_ratio": _mean([one.compute_ratio for one in stats]),
        "reuse_ratio": _mean([one.reuse_ratio for one in stats]),
        "frames_edge": len(stats) - on_cloud,
        "frames_cloud": on_cloud,
        "frames_fallback": sum(bool(one.fallback_reason) for one in stats),
        "weights": weights,
        "versions": _versions(),
    }


def write(summary: dict[str, Any], file: Path) -> None:
    """Write summary.json."""
    file.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def show(summary: dict[str, Any], out: Path) -> None:
    """Print the summary as a table, and where the files are."""
    table = Table(title="FluxShard demo", show_header=False)
    for name, value in summary.items():
        if name != "versions":
            table.add_row(name, str(value))
    console = Console()
    console.print(table)
    for file in ("annotated.mp4", "detections.jsonl", "summary.json"):
        console.print(str(out / file), highlight=False, soft_wrap=True)


def _percentile(values: Sequence[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 1) if values else 0.0


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 3) if values else 0.0


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package.removeprefix("ros-jazzy-")] = version(package)
        except PackageNotFoundError:
            continue  # ROS from a distribution carries no Python metadata of that name
    return found
