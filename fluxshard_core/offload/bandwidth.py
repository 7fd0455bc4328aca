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
    old measurement fades. ``weight``: of the newest transfer, in (0, 1], where it took ``usual_s``
    seconds or less; a longer one saw more of the link and weighs as that many. ``change``: factor
    by which two transfers in a row must differ from what is believed, to the same side, for the
    second to be believed alone. ``half_life_s``: idle time after which half of what was measured
    is forgotten. ``min_bytes``: a smaller transfer tells of latency, not of bandwidth.
    """

    assumed: float = 25e6 / 8
    weight: float = 0.3
    usual_s: float = 0.1
    change: float = 2.0
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
        if self.change < 1:
            raise InputError(f"bandwidth change is {self.change}; use a factor of 1 or more")


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
        self._departure = 0  # of the last transfer from what was believed: slower 1, faster -1
        self.rtt_s = 0.0

    @property
    def doubtful(self) -> bool:
        """Whether the last transfer contradicts what is believed; another one would tell."""
        return self._departure != 0

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
        if size >= self._config.min_bytes:
            # One within the round trip says that the link is fast, not that it is infinite.
            self._transfer(size, max(seconds - self.rtt_s, 0.1 * seconds, 1e-6), now_s)

    def add_probe(self, size: int, seconds: float, now_s: float) -> None:
        """Take in ``size`` bytes whose end arrived ``seconds`` after their beginning.

        :raises InputError: as :meth:`add_transfer`.
        """
        if size <= 0 or not (math.isfinite(seconds) and seconds >= 0):
            raise InputError(f"a probe of {size} bytes in {seconds} s cannot be learned from")
        self._transfer(size, max(seconds, 1e-6), now_s)

    def add_tcp_info(self, info: TcpInfo, now_s: float) -> None:
        """Take in what the kernel says after a transfer: its round trip always, its delivery rate
        unless the sender was too idle to fill the path and the rate is below the estimate."""
        self.rtt_s = info.min_rtt_s
        if info.delivery_rate <= 0:
            return
        if not info.app_limited or info.delivery_rate > self.bytes_per_s(now_s):
            self._add(1.0 / info.delivery_rate, self._config.weight, now_s)

    def bytes_per_s(self, now_s: float) -> float:
        """Return the rate to expect of a transfer that starts now, in bytes per second."""
        return 1.0 / self._faded(now_s)

    def transfer_s(self, size: float, now_s: float) -> float:
        """Return the seconds from sending ``size`` bytes to the answer, the cloud's own time and
        the answer's size not counted."""
        return self.rtt_s + size * self._faded(now_s)

    def _transfer(self, size: int, seconds: float, now_s: float) -> None:
        """Take in ``size`` bytes that were on the wire for ``seconds``, without the round trip.

        A link that was exchanged for another is believed at the second transfer that says so; one
        may be an accident.
        """
        usual = max(1.0, seconds / self._config.usual_s)
        weight = 1.0 - (1.0 - self._config.weight) ** usual
        ratio = seconds / size / self._faded(now_s)
        departure = (ratio > self._config.change) - (ratio * self._config.change < 1)
        agreed = departure != 0 and departure == self._departure
        self._departure = 0 if agreed or not self.measured else departure
        self._add(seconds / size, 1.0 if agreed else weight, now_s)

    def _add(self, seconds_per_byte: float, weight: float, now_s: float) -> None:
        known = self._faded(now_s)
        weight = weight if self.measured else 1.0
        self._seconds_per_byte = known + weight * (seconds_per_byte - known)
        self._measured_at_s = now_s

    def _faded(self, now_s: float) -> float:
        if self._measured_at_s is None:
            return self._seconds_per_byte
        idle_s = max(0.0, now_s - self._measured_at_s)
        kept = math.pow(0.5, idle_s / self._config.half_life_s)
        assumed = 1.0 / self._config.assumed
        return assumed + kept * (self._seconds_per_byte - assumed)
