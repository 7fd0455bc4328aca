"""How fast the uplink is now, from what was really sent. Time is passed in; nothing is measured
here."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from fluxshard_core.errors import InputError
from fluxshard_core.offload.tcp_info import TcpInfo


@dataclass(frozen=True)
class BandwidthConfig:
    """How transfers are judged.

    ``assumed``: bytes per second believed of a link that was never measured, and towards which an
    old measurement fades. ``weight``: of the newest transfer, in (0, 1]. ``half_life_s``: idle
    time after which half of what was measured is forgotten. ``min_bytes``: a smaller transfer
    tells of latency, not of bandwidth.
    """

    assumed: float = 25e6 / 8
    weight: float = 0.3
    half_life_s: float = 30.0
    min_bytes: int = 4096

    def __post_init__(self) -> None:
        """Refuse settings that would make an estimate impossible."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise InputError(f"bandwidth {field.name} is {value}; use a positive number")
        if self.weight > 1:
            raise InputError(f"bandwidth weight is {self.weight}; use at most 1")


class BandwidthEstimator:
    """An exponentially weighted average of transfer times per byte, fading while the link rests.

    Averaging time per byte, not bytes per time, gives the rate that predicts how long the next
    transfer takes: one slow transfer counts as much as it cost.
    """

    def __init__(self, config: BandwidthConfig | None = None) -> None:
        self._config = config or BandwidthConfig()
        self.reset()

    def reset(self) -> None:
        """Forget everything measured: another network."""
        self._seconds_per_byte = 1.0 / self._config.assumed
        self._measured_at_s: float | None = None
        self.rtt_s = 0.0

    @property
    def measured(self) -> bool:
        """Whether anything was ever measured."""
        return self._measured_at_s is not None

    def add_transfer(self, size: int, seconds: float, now_s: float) -> None:
        """Take in a request of ``size`` bytes that was on its way for ``seconds``, the answer's
        way back included and the cloud's own time not; ``now_s`` is any monotonic clock.

        :raises InputError: for a size or time that no transfer has.
        """
        if size < 0 or not (math.isfinite(seconds) and seconds >= 0):
            raise InputError(f"a transfer of {size} bytes in {seconds} s cannot be learned from")
        if size < self._config.min_bytes:
            return
        # A transfer within the round trip says that the link is fast, not that it is infinite.
        on_the_wire = max(seconds - self.rtt_s, 0.1 * seconds, 1e-6)
        self._add(on_the_wire / size, now_s)

    def add_tcp_info(self, info: TcpInfo, now_s: float) -> None:
        """Take in what the kernel says after a transfer: its round trip always, its delivery rate
        unless the sender was too idle to fill the path and the rate is below the estimate."""
        self.rtt_s = info.min_rtt_s
        if info.delivery_rate <= 0:
            return
        if not info.app_limited or info.delivery_rate > self.bytes_per_s(now_s):
            self._add(1.0 / info.delivery_rate, now_s)

    def bytes_per_s(self, now_s: float) -> float:
        """Return the rate to expect of a transfer that starts now, in bytes per second."""
        return 1.0 / self._faded(now_s)

    def transfer_s(self, size: float, now_s: float) -> float:
        """Return the seconds from sending ``size`` bytes to the answer, the cloud's own time and
        the answer's size not counted."""
        return self.rtt_s + size * self._faded(now_s)

    def _add(self, seconds_per_byte: float, now_s: float) -> None:
        known = self._faded(now_s)
        first = self._measured_at_s is None
        weight = 1.0 if first else self._config.weight
        self._seconds_per_byte = known + weight * (seconds_per_byte - known)
        self._measured_at_s = now_s

    def _faded(self, now_s: float) -> float:
        if self._measured_at_s is None:
            return self._seconds_per_byte
        idle_s = max(0.0, now_s - self._measured_at_s)
        kept = math.pow(0.5, idle_s / self._config.half_life_s)
        assumed = 1.0 / self._config.assumed
        return assumed + kept * (self._seconds_per_byte - assumed)
