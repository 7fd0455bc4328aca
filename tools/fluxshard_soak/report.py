"""What came of a soak: one row a robot, the server's memory, and whether the bounds were kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fluxshard_soak.throughput import Throughput

FAIRNESS = 1.5
GAIN = 1.5
LEAK_MB_PER_MINUTE = 1.0


@dataclass(frozen=True)
class RobotRow:
    """One robot after the warm-up; milliseconds from a frame to its result."""

    frames: int
    fallbacks: int
    p50_ms: float
    p95_ms: float
    compute_ratio: float


@dataclass(frozen=True)
class Soak:
    """``memory`` holds (seconds, MB of resident memory) of the cloud process."""

    minutes: float
    robots: list[RobotRow]
    memory: list[tuple[float, float]]
    mean_batch: float
    session_mb: float
    throughput: Throughput
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def fairness(self) -> float:
        """Worst p95 over best p95."""
        p95 = [row.p95_ms for row in self.robots]
        return max(p95) / min(p95)

    @property
    def leak_mb_per_minute(self) -> float:
        """Slope of the memory over the last half of the time.

        Before that the library still meets batch sizes it has not prepared for.
        """
        times, sizes = np.array(self.memory).T
        late = times >= (times[0] + times[-1]) / 2
        return float(np.polyfit(times[late] / 60.0, sizes[late], 1)[0])

    @property
    def broken(self) -> list[str]:
        """The bounds that were not kept."""
        checks = {
            f"unfair: worst p95 is {self.fairness:.2f} of the best": self.fairness <= FAIRNESS,
            f"memory grows by {self.leak_mb_per_minute:.2f} MB a minute": (
                self.leak_mb_per_minute <= LEAK_MB_PER_MINUTE
            ),
            f"serving together gains {self.throughput.gain:.2f}": self.throughput.gain >= GAIN,
            "frames fell back to the edge": not any(row.fallbacks for row in self.robots),
        }
        return [text for text, kept in checks.items() if not kept]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON would have it."""
        derived = {
            "fairness": self.fairness,
            "leak_mb_per_minute": self.leak_mb_per_minute,
            "throughput_gain": self.throughput.gain,
            "broken": self.broken,
        }
        return {**asdict(self), **derived}

    def lines(self) -> Sequence[str]:
        """Return the table for people."""
        rows = [
            f"{index:5d} {row.frames:7d} {row.fallbacks:9d} {row.p50_ms:8.1f} {row.p95_ms:8.1f}"
            f" {row.compute_ratio:8.3f}"
            for index, row in enumerate(self.robots)
        ]
        first, last = self.memory[0][1], self.memory[-1][1]
        speed = self.throughput
        return [
            "robot  frames fallbacks  p50 ms   p95 ms  compute",
            *rows,
            f"fairness (worst/best p95) {self.fairness:.2f}, mean batch {self.mean_batch:.2f}",
            f"cloud memory {first:.0f} -> {last:.0f} MB, {self.leak_mb_per_minute:+.2f} MB a "
            f"minute; sessions {self.session_mb:.0f} MB",
            f"{speed.robots} robots at compute ratio {speed.compute_ratio:.3f}: "
            f"{speed.together_fps:.1f} frames a second together, one by one {speed.worth_fps:.1f}, "
            f"on all cores {speed.all_cores_fps:.1f}, gain {speed.gain:.2f}",
            *(f"NOT KEPT: {text}" for text in self.broken),
        ]
