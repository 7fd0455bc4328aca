"""FluxShard without one of its parts at a time, each as a method of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fluxshard_core.baselines.bounded import Bounded
from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.fluxshard import FluxShard
from fluxshard_core.baselines.method import Method
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.session import SessionConfig
from fluxshard_core.sparse.executor import ExecutorOptions

_NEVER = 1_000_000  # frames, or pixels a frame

FULL = ReuseConfig()
WITHOUT_SALIENCE = replace(FULL, salience_threshold=1.0, background_threshold=FULL.fine_ease)
WITHOUT_REFRESH = replace(FULL, max_age=_NEVER)
WITHOUT_AGREEMENT = replace(FULL, agreement=0.0)
WITHOUT_HEAD_REACH = replace(FULL, head_reach=0)
WITHOUT_SPEED = replace(FULL, fast=_NEVER, whole_motion=_NEVER)


def _block(reuse: ReuseConfig = FULL, **session: object) -> Callable[[MethodContext], Method]:
    configured = SessionConfig("edge", reuse=reuse, reuse_profile=None, **session)  # type: ignore[arg-type]
    return lambda context: FluxShard(context, session=configured)


ABLATIONS: dict[str, Callable[[MethodContext], Method]] = {
    "fluxshard": _block(),
    "no_salience": _block(WITHOUT_SALIENCE),
    "no_refresh": _block(WITHOUT_REFRESH),
    "no_agreement": _block(WITHOUT_AGREEMENT),
    "no_head_reach": _block(WITHOUT_HEAD_REACH),
    "no_speed": _block(WITHOUT_SPEED),
    "no_remap": _block(motion="none"),
    "no_residual": _block(executor=ExecutorOptions(carry_residual=False)),
    "bounded": Bounded,
    "bounded_compact_rfap": lambda context: Bounded(context, rfap="compact"),
    "bounded_no_rfap": lambda context: Bounded(context, rfap="none"),
    "bounded_no_truncation": lambda context: Bounded(context, feature_threshold=0.0),
}
"""What `fluxshard eval --ablate` runs: block mode whole and without each part, bounded mode the
same way."""
