"""How long to wait before the next attempt after attempts that failed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass
class Backoff:
    """Doubles from ``first_s`` to ``cap_s``; jitter keeps many robots from returning at once."""

    first_s: float = 0.05
    cap_s: float = 2.0
    random: random.Random = field(default_factory=random.Random)
    failures: int = 0

    def next_delay(self) -> float:
        """Return seconds to wait, drawn from the upper half of the current step."""
        step = min(self.cap_s, self.first_s * 2.0 ** min(self.failures, 32))
        self.failures += 1
        return step * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start again from the shortest step, after a success."""
        self.failures = 0
