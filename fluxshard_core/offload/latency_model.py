"""What either side would take for a frame: measured profiles, the link, and what came true."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fluxshard_core.errors import InputError
from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.ewma import Ewma
from fluxshard_core.offload.latency_profile import LatencyProfile

_MOST = 20.0  # a realised time beyond so many predicted ones is an accident, not a correction


@dataclass(frozen=True)
class Workload:
    """What one frame would ask of each side.

    ``edge_ratio`` and ``cloud_ratio`` are the compute ratios of the edge's and the cloud's
    critical blocks, ``edge_dense`` and ``cloud_dense`` whether the side would compute the frame
    whole; ``tx_bytes`` is what the cloud would be sent.
    """

    edge_ratio: float
    cloud_ratio: float
    tx_bytes: int
    edge_dense: bool = False
    cloud_dense: bool = False

    def __post_init__(self) -> None:
        """Refuse what no frame asks for."""
        for name in ("edge_ratio", "cloud_ratio", "tx_bytes"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"workload {name} is {value}; it cannot be negative or infinite")


class LatencyModel:
    """``T_edge = a f_e(ratio)`` and ``T_cloud = b f_c(ratio) + bytes / B + rtt + c``.

    The factors ``a`` and ``b`` follow what computing really took over what the profiles say (a
    throttled robot, a busy cloud), ``c`` what neither computing nor the link explains (encoding,
    queues), all as moving averages. Times are in milliseconds.
    """

    def __init__(
        self,
        edge: LatencyProfile,
        cloud: LatencyProfile,
        bandwidth: BandwidthEstimator,
        weight: float = 0.2,
    ) -> None:
        self._edge, self._cloud = edge, cloud
        self.bandwidth = bandwidth
        self._edge_factor = Ewma(weight, 1.0)
        self._cloud_factor = Ewma(weight, 1.0)
        self._overhead_ms = Ewma(weight)

    def edge_ms(self, work: Workload) -> float:
        """Return the latency to expect of the edge."""
        return self._edge.frame_ms(work.edge_ratio, dense=work.edge_dense) * _of(self._edge_factor)

    def cloud_ms(self, work: Workload, now_s: float) -> float:
        """Return the latency to expect of the cloud for a frame sent now."""
        computing = self._cloud_compute_ms(work) * _of(self._cloud_factor)
        link = self.bandwidth.transfer_s(work.tx_bytes, now_s) * 1e3
        return computing + link + (self._overhead_ms.value or 0.0)

    def edge_took(self, work: Workload, latency_ms: float) -> None:
        """Learn from a frame that the edge ran."""
        expected = self._edge.frame_ms(work.edge_ratio, dense=work.edge_dense)
        self._edge_factor.add(min(latency_ms / expected, _MOST))

    def cloud_took(
        self, work: Workload, latency_ms: float, compute_ms: float, link_ms: float, now_s: float
    ) -> None:
        """Learn from a frame that the cloud ran: ``latency_ms`` in all, of which the cloud itself
        reports ``compute_ms`` and the message and its answer were on their way ``link_ms``.
        ``work`` holds the bytes that were really sent."""
        self._cloud_factor.add(min(compute_ms / self._cloud_compute_ms(work), _MOST))
        self.bandwidth.add_transfer(work.tx_bytes, link_ms * 1e-3, now_s)
        self._overhead_ms.add(max(0.0, latency_ms - compute_ms - link_ms))

    def _cloud_compute_ms(self, work: Workload) -> float:
        return self._cloud.frame_ms(work.cloud_ratio, dense=work.cloud_dense)


def _of(factor: Ewma) -> float:
    return 1.0 if factor.value is None else factor.value
