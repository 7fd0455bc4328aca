"""The methods that `netlab` can run across a real link, each one an edge session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fluxshard_core.baselines.coach import SIMILAR, structural_similarity
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.netlab.decisions import ToldSession
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.motion.source import luma
from fluxshard_core.offload.transport import Transport
from fluxshard_core.session import (
    BackgroundConfig,
    EdgeSession,
    Engine,
    FrameResult,
    SessionConfig,
)
from fluxshard_core.session.config import AUTO_CODEC

# Rivals look at no motion, so none is searched for.
_DENSE = SessionConfig(reuse=None, motion="none", cloud_timeout_s=10.0)
_REUSE = SessionConfig(cloud_timeout_s=10.0)

_CONFIGS = {
    "edge_only": replace(_DENSE, path="edge"),
    "full_offload": replace(_DENSE, path="cloud"),
    "coach": replace(_DENSE, path="cloud", codec="jpeg"),
    "fluxshard": replace(_REUSE, path="auto", codec=AUTO_CODEC),
    "fluxshard_background": replace(
        _REUSE, path="auto", codec=AUTO_CODEC, background=BackgroundConfig(edge=True, cloud=True)
    ),
    "fluxshard_critical": replace(_REUSE, path="auto", codec=AUTO_CODEC, cloud_compute="critical"),
    "fluxshard_whole": replace(_REUSE, path="cloud", codec=AUTO_CODEC, cloud_compute="whole"),
    "fluxshard_edge": replace(_REUSE, path="edge"),
    "fluxshard_cloud": replace(_REUSE, path="cloud", codec=AUTO_CODEC),
}
METHODS = tuple(_CONFIGS)


@dataclass(frozen=True)
class Specification:
    """A method's name and how it runs: ``name`` or ``name:codec``."""

    text: str
    config: SessionConfig

    @classmethod
    def parse(cls, text: str) -> Specification:
        """:raises InputError: for a method or a codec that does not exist."""
        name, _, codec = text.partition(":")
        if name not in _CONFIGS:
            raise InputError(f"unknown method {name!r}; choose from: {', '.join(METHODS)}")
        if not codec:
            return cls(text, _CONFIGS[name])
        return cls(text, replace(_CONFIGS[name], codec=codec))

    @property
    def needs_cloud(self) -> bool:
        """Whether any frame may be sent."""
        return self.config.path != "edge"

    def open(
        self,
        engine: Engine,
        transport: Transport | None,
        told: Sequence[Detections] | None = None,
    ) -> Runner:
        """Return the method, ready for its first frame; ``told`` is what is in each frame, where
        the network's own results mean nothing."""
        if told is None:
            session = EdgeSession(engine, self.config, transport)
        else:
            session = ToldSession(engine, self.config, transport, told)
        return _Coach(session) if self.text.startswith("coach") else Runner(session)


class Runner:
    """Frames in, results out."""

    def __init__(self, session: EdgeSession) -> None:
        self.session = session

    def process(self, frame: Frame) -> FrameResult:
        """Infer one frame; returns when its result could be published."""
        return self.session.process(frame)


class _Coach(Runner):
    """Sends a frame only if it differs from the last one sent, and repeats that result else."""

    def __init__(self, session: EdgeSession) -> None:
        super().__init__(session)
        self._last: tuple[Frame, FrameResult] | None = None

    def process(self, frame: Frame) -> FrameResult:
        if self._last is not None:
            then, result = self._last
            if structural_similarity(luma(frame.image), luma(then.image)) >= SIMILAR:
                return replace(result, tx_bytes=0, compute_ratio=0.0, reuse_ratio=1.0)
        result = super().process(frame)
        self._last = frame, result
        return result
