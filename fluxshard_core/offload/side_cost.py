"""What a frame costs one side: by its measured profile, or by what its frames took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fluxshard_core.offload.ewma import Ewma
from fluxshard_core.offload.latency_profile import LatencyProfile

_MOST = 20.0  # a profile is never believed to be further off
_ACCIDENT = 4.0
"""A frame counts as so many expected ones at most: a process that was stopped for a while must not
be taken for a slow side that is never tried again. One that stays slow is believed soon enough."""
_ENOUGH = 3
_KEPT = 0.8
"""Weight of a frame when the next one is taken in."""
_SPREAD = 0.01
"""Variance of the ratios from which their latencies tell more of the slope than its prior."""


class SideCost(Protocol):
    """Expected milliseconds of frames by their compute ratio."""

    def frame_ms(self, ratio: float, *, dense: bool) -> float | None:
        """Return what a frame computed whole, or at ``ratio``, should take; None if unknown."""
        ...

    def took(self, ratio: float, dense: bool, spent_ms: float) -> None:
        """Learn from a frame."""
        ...

    @property
    def wants_whole(self) -> bool:
        """Whether a frame should be computed whole to see what that takes."""
        ...


class ProfiledCost:
    """A profile times what frames really took over what it says (a throttled or busy machine)."""

    def __init__(self, profile: LatencyProfile, weight: float = 0.2) -> None:
        self._profile = profile
        self._factor = Ewma(weight, 1.0)

    def frame_ms(self, ratio: float, *, dense: bool) -> float:
        """As :meth:`SideCost.frame_ms`; always known."""
        assert self._factor.value is not None
        return self._profile.frame_ms(ratio, dense=dense) * self._factor.value

    @property
    def wants_whole(self) -> bool:
        """The profile says what a whole frame takes."""
        return False

    def took(self, ratio: float, dense: bool, spent_ms: float) -> None:
        """Learn from a frame."""
        assert self._factor.value is not None
        factor = spent_ms / self._profile.frame_ms(ratio, dense=dense)
        self._factor.add(min(factor, _MOST, _ACCIDENT * self._factor.value))


@dataclass
class _Line:
    """``ms = intercept + slope * ratio`` by least squares over points that fade."""

    weight: float = 0.0
    ratio: float = 0.0
    ms: float = 0.0
    squares: float = 0.0
    products: float = 0.0

    def add(self, ratio: float, ms: float) -> None:
        self.weight = _KEPT * self.weight + 1.0
        self.ratio = _KEPT * self.ratio + ratio
        self.ms = _KEPT * self.ms + ms
        self.squares = _KEPT * self.squares + ratio * ratio
        self.products = _KEPT * self.products + ratio * ms

    def at(self, ratio: float, prior_slope: float | None) -> float:
        """Return the line's value; where the ratios hardly differ, its slope is the prior one, by
        default that of a line through the origin."""
        mean_ratio, mean_ms = self.ratio / self.weight, self.ms / self.weight
        prior = mean_ms / max(mean_ratio, 0.01) if prior_slope is None else prior_slope
        variance = self.squares / self.weight - mean_ratio**2
        covariance = self.products / self.weight - mean_ratio * mean_ms
        slope = (covariance + _SPREAD * prior) / (variance + _SPREAD)
        return max(mean_ms + max(slope, 0.0) * (ratio - mean_ratio), 0.05 * mean_ms)


class LearnedCost:
    """Sparse frames on a line over their ratio, whole ones apart.

    The first frame does not count: plans, caches and kernels are made during it.
    """

    def __init__(self) -> None:
        self._warm = False
        self._line = _Line()
        self._sparse_frames = 0
        self._dense = Ewma(0.2)

    @property
    def wants_whole(self) -> bool:
        """Whether it is time to see what a whole frame takes."""
        return self._dense.value is None and self._sparse_frames >= _ENOUGH

    def frame_ms(self, ratio: float, *, dense: bool) -> float | None:
        """As :meth:`SideCost.frame_ms`."""
        if dense and self._dense.value is not None:
            return self._dense.value
        if self._line.weight:
            return self._line.at(1.0 if dense else ratio, self._dense.value)
        return None if self._dense.value is None else ratio * self._dense.value

    def took(self, ratio: float, dense: bool, spent_ms: float) -> None:
        """Learn from a frame."""
        if not self._warm:
            self._warm = True
            return
        expected = self.frame_ms(ratio, dense=dense)
        if expected is not None:
            spent_ms = min(spent_ms, _ACCIDENT * expected)
        if dense:
            self._dense.add(spent_ms)
        else:
            self._sparse_frames += 1
            self._line.add(ratio, spent_ms)
