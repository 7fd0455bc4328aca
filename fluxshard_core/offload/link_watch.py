"""LinkWatch: measures a link that no frame uses. Time is passed in."""

from __future__ import annotations

from typing import Final

from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.transport import Probing, Transport

_PAUSE_S: Final = 2.0
_SHARE: Final = 0.2
"""Of the link's time that probes may take: a slow one is asked less often."""
_AGAIN_S: Final = 0.25
"""After a probe that contradicts what was believed: the next one decides."""


class LinkWatch:
    """One probe at a time, its result in ``bandwidth``."""

    def __init__(self, transport: Transport, bandwidth: BandwidthEstimator) -> None:
        self._transport = transport
        self._bandwidth = bandwidth
        self._under_way: Probing | None = None
        self._due_s = 0.0

    def step(self, now_s: float, *, matters: bool) -> None:
        """Take in a probe that is done; begin one when it is due, if what the link can do
        ``matters`` now. Call it after every frame that was not sent; it waits for nothing."""
        if self._under_way is not None:
            if not self._under_way.done():
                return
            self._take_in(self._under_way, now_s)
        if matters and now_s >= self._due_s:
            self._under_way = self._transport.probe()
            self._due_s = now_s + _PAUSE_S

    def _take_in(self, probing: Probing, now_s: float) -> None:
        self._under_way = None
        if probed := probing.result():
            self._bandwidth.add_probe(probed.size, probed.seconds, now_s)
            pause = _AGAIN_S if self._bandwidth.doubtful else _PAUSE_S
            self._due_s = now_s + max(pause, probed.seconds / _SHARE)
