"""Placement: where each frame of a robot is computed, and how much, from what frames took."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, perf_counter

import numpy as np

from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.dispatcher import Decision, Dispatcher
from fluxshard_core.offload.latency_model import LatencyModel, Workload
from fluxshard_core.offload.proxy import H264, RAW
from fluxshard_core.offload.side_cost import LearnedCost, ProfiledCost
from fluxshard_core.session.config import SessionConfig, Side
from fluxshard_core.session.endpoint import COMPUTES_WHOLE, Extent, Proposal
from fluxshard_core.session.link import CloudLink, Exchange
from fluxshard_core.session.whole_frames import WholeFrames
from fluxshard_core.sparse.frame_run import FrameRun

Propose = Callable[[Side], Proposal]
WORTH_MS = 10.0
"""How much longer the cloud may take for a frame computed whole: a third of a frame at 30 Hz."""


class Placement:
    """Chooses for each frame the side, and all of it or its critical blocks.

    Per frame: ``decide``, then ``edge_took`` or ``cloud_took`` for the side that ran it.
    ``propose`` returns what the frame asks of one side, which takes time to find out.
    """

    def __init__(self, link: CloudLink | None, config: SessionConfig) -> None:
        self._link = link
        bandwidth = BandwidthEstimator() if link is None else link.bandwidth
        profiles = config.profiles
        edge = ProfiledCost(profiles.edge) if profiles else LearnedCost()
        cloud = ProfiledCost(profiles.cloud) if profiles else LearnedCost()
        self._dispatcher = Dispatcher(LatencyModel(edge, cloud, bandwidth))
        self._whole = WholeFrames(edge)
        self._whole_in_cloud = WholeFrames(cloud, WORTH_MS)

    def decide(self, config: SessionConfig, propose: Propose) -> Decision:
        """Return the side that runs the frame; the link may be measured meanwhile."""
        if config.path == "auto" and self._link is not None:
            decision = self._dispatch(self._link, config, propose)
            if decision.path == "edge" and self._link.available:
                matters = config.background.probe and self._dispatcher.link_decides
                self._link.watch(matters=matters)
            return decision
        side: Side = "cloud" if config.path == "cloud" else "edge"
        return Decision(side, None, None, "configured")

    def rests(self, config: SessionConfig) -> bool:
        """Whether the frame will be computed whole here, so that nothing need be followed."""
        here = self._link is None or config.path == "edge"
        return here and config.whole_if_sooner and self._whole.rests

    def whole_here(self, config: SessionConfig, proposal: Proposal) -> bool:
        """Whether to compute on the edge all of a frame that ``proposal`` does not."""
        if proposal.dense_reason or not config.whole_if_sooner:
            return False
        return self._whole.choose(proposal.schedule.compute_ratio)

    def extent(self, config: SessionConfig, proposal: Proposal) -> Extent:
        """Return what the cloud computes of a frame; to be asked once for each."""
        if config.cloud_compute == "auto":
            # Without loss the cloud is to say what the robot would, to the bit.
            whole = config.codec != RAW and self._whole_in_cloud.choose(proposal.critical_ratio)
        else:
            whole = config.cloud_compute == "whole"
        if not whole:
            return Extent.CRITICAL
        return Extent.STREAM if config.codec == H264 else Extent.WHOLE

    def edge_took(self, run: FrameRun, realised_ms: float) -> None:
        """Learn from a frame that the edge ran."""
        whole = bool(run.dense_reason)
        self._dispatcher.record("edge", realised_ms, ratio=run.compute_ratio, dense=whole)
        self._whole.took(whole, realised_ms)

    def cloud_took(self, exchange: Exchange, realised_ms: float) -> None:
        """Learn from a frame that the cloud ran."""
        self._dispatcher.record(
            "cloud",
            realised_ms,
            now_s=monotonic(),
            compute_ms=exchange.compute_ms,
            link_ms=exchange.link_ms,
            tx_bytes=exchange.tx_bytes,
            ratio=exchange.answer.compute_ratio,
            dense=exchange.answer.dense,
        )
        self._whole_in_cloud.took(exchange.answer.dense, exchange.compute_ms)

    def _dispatch(self, link: CloudLink, config: SessionConfig, propose: Propose) -> Decision:
        """Choose the sooner side; look at the one that rests only where it may matter."""
        reachable = link.available
        if side := self._dispatcher.side if reachable else "edge":
            start = perf_counter()
            same = propose(side)
            look_ms = (perf_counter() - start) * 1e3
            least = self._workload(link, config, same, same)
            if not reachable:
                return self._dispatcher.decide(monotonic(), least, reachable=False)
            if stays := self._dispatcher.stay(monotonic(), least, look_ms):
                return stays
        work = self._workload(link, config, propose("edge"), propose("cloud"))
        return self._dispatcher.decide(monotonic(), work)

    def _workload(
        self, link: CloudLink, config: SessionConfig, edge: Proposal, cloud: Proposal
    ) -> Workload:
        """Return what these proposals would ask of either side."""
        blocks = int(np.count_nonzero(cloud.pixels))
        return Workload(
            edge.critical_ratio,
            cloud.critical_ratio,
            link.expected_bytes(blocks, config),
            edge_dense=edge.critical_ratio >= 1
            or (config.whole_if_sooner and self._whole.better(edge.critical_ratio)),
            cloud_dense=cloud.critical_ratio >= 1,
            cloud_whole=config.cloud_compute == "whole" or cloud.dense_reason == COMPUTES_WHOLE,
        )
