"""Exponentially weighted moving average."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ewma:
    """``value += (1 - (1 - weight) ** steps) * (sample - value)``, starting at the first sample.

    ``weight`` in (0, 1] is that of a sample taken every step; a sample that comes ``steps`` later
    than the one before counts for all of them, so a rarely measured value does not lag behind.
    ``value`` is ``None`` before the first sample.
    """

    weight: float
    value: float | None = None

    def add(self, sample: float, steps: int = 1) -> None:
        """Take in one sample, ``steps`` (at least 1) after the last."""
        if self.value is None:
            self.value = sample
        else:
            self.value += (1.0 - (1.0 - self.weight) ** steps) * (sample - self.value)
