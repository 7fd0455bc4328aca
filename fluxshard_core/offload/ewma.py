"""Exponentially weighted moving average."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ewma:
    """``value += weight * (sample - value)``, starting at the first sample.

    ``weight`` is in (0, 1]; ``value`` is ``None`` before the first sample.
    """

    weight: float
    value: float | None = None

    def add(self, sample: float) -> None:
        """Take in one sample."""
        if self.value is None:
            self.value = sample
        else:
            self.value += self.weight * (sample - self.value)
