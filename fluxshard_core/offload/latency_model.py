"""What either side would take for a frame: computing, the link, and what came true."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from fluxshard_core.errors import InputError
from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.ewma import Ewma
from fluxshard_core.offload.side_cost import SideCost


@dataclass(frozen=True)
class Workload:
    """What one frame would ask of each side.

    ``edge_ratio`` and ``cloud_ratio`` are the compute ratios of the edge's and the cloud's
    critical blocks, ``edge_dense`` and ``cloud_dense`` whether the side would compute the frame
    whole for its critical blocks' sake, ``cloud_whole`` whether the cloud always does;
    ``tx_bytes`` is what the cloud would be sent.
    """

    edge_ratio: float
    cloud_ratio: float
    tx_bytes: int
    edge_dense: bool = False
    cloud_dense: bool = False
    cloud_whole: bool = False

    def settled(self, rested: Literal["edge", "cloud"]) -> Workload:
        """Return what a frame like this one asks of a side that has caught up with the other.

        A side that has ``rested`` owes what it missed, but only once: from then on it computes and
        is sent what the other one does.
        """
        if rested == "edge":
            ratio = min(self.edge_ratio, self.cloud_ratio)
            return replace(self, edge_ratio=ratio, edge_dense=False)
        ratio = min(self.edge_ratio, self.cloud_ratio)
        share = ratio / self.cloud_ratio if self.cloud_ratio else 1.0
        return replace(
            self, cloud_ratio=ratio, tx_bytes=round(share * self.tx_bytes), cloud_dense=False
        )

    def __post_init__(self) -> None:
        """Refuse what no frame asks for."""
        for name in ("edge_ratio", "cloud_ratio", "tx_bytes"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"workload {name} is {value}; it cannot be negative or infinite")


class LatencyModel:
    """``T_edge = f_e(ratio)`` and ``T_cloud = f_c(ratio) + bytes / B + rtt + c``.

    ``f_e`` and ``f_c`` follow what computing really takes, ``c`` what neither computing nor the
    link explains (encoding, queues), as a moving average. Times are in milliseconds.
    """

    def __init__(
        self, edge: SideCost, cloud: SideCost, bandwidth: BandwidthEstimator, weight: float = 0.2
    ) -> None:
        self.edge, self.cloud = edge, cloud
        self.bandwidth = bandwidth
        self._overhead_ms = Ewma(weight)

    def edge_ms(self, work: Workload) -> float | None:
        """Return the latency to expect of the edge; None if nothing is known of it."""
        return self.edge.frame_ms(work.edge_ratio, dense=work.edge_dense)

    def cloud_ms(self, work: Workload, now_s: float, *, hopeful: bool = False) -> float | None:
        """Return the latency to expect of the cloud for a frame sent now; None as above.

        ``hopeful``: over a link that nobody has measured yet, the least that it could be.
        """
        computing = self._cloud_computing_ms(work)
        if computing is None:
            return None
        link = self.bandwidth.transfer_s(work.tx_bytes, now_s) * 1e3
        if hopeful and not self.bandwidth.measured:
            link = 0.0
        return computing + link + (self._overhead_ms.value or 0.0)

    def link_decides(self, work: Workload) -> bool:
        """Whether the cloud would be sooner than the edge if the link took no time."""
        edge_ms = self.edge_ms(work)
        cloud_ms = self._cloud_computing_ms(work)
        if edge_ms is None or cloud_ms is None:
            return False
        return cloud_ms + (self._overhead_ms.value or 0.0) < edge_ms

    def edge_took(self, work: Workload, latency_ms: float) -> None:
        """Learn from a frame that the edge ran."""
        self.edge.took(work.edge_ratio, work.edge_dense, latency_ms)

    def cloud_took(
        self, work: Workload, latency_ms: float, compute_ms: float, link_ms: float, now_s: float
    ) -> None:
        """Learn from a frame that the cloud ran: ``latency_ms`` in all, of which the cloud itself
        reports ``compute_ms`` and the message and its answer were on their way ``link_ms``.
        ``work`` holds the bytes that were really sent."""
        self.cloud.took(work.cloud_ratio, work.cloud_dense, compute_ms)
        self.bandwidth.add_transfer(work.tx_bytes, link_ms * 1e-3, now_s)
        self._overhead_ms.add(max(0.0, latency_ms - compute_ms - link_ms))

    def _cloud_computing_ms(self, work: Workload) -> float | None:
        dense = work.cloud_dense or work.cloud_whole
        return self.cloud.frame_ms(work.cloud_ratio, dense=dense)
