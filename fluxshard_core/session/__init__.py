"""The per-frame story of both ends: `EdgeSession` on the robot, `CloudSession` for each robot."""

from fluxshard_core.session.cloud import CloudSession
from fluxshard_core.session.config import BackgroundConfig, FrameResult, SessionConfig
from fluxshard_core.session.edge import EdgeSession
from fluxshard_core.session.engine import Engine

__all__ = [
    "BackgroundConfig",
    "CloudSession",
    "EdgeSession",
    "Engine",
    "FrameResult",
    "SessionConfig",
]
