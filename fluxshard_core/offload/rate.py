"""How much of something one peer may use a second."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class TokenBucket:
    """Lets ``per_s`` units a second through, and a burst of ``burst_s`` seconds' worth at once.

    What has already happened is taken even when it exceeds the rate; the debt says how long to
    hold the peer back. Times are seconds of one monotonic clock.
    """

    per_s: float
    burst_s: float = 1.0
    _spent: float = field(default=0.0, init=False)
    _updated_s: float = field(default=0.0, init=False)

    def take(self, units: float, now_s: float) -> float:
        """Use ``units`` and return how many seconds to wait before using more."""
        refilled = (now_s - self._updated_s) * self.per_s
        self._spent = max(0.0, self._spent - refilled) + units
        self._updated_s = now_s
        return max(0.0, self._spent / self.per_s - self.burst_s)
