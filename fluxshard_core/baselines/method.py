"""What the evaluation asks of every method, FluxShard included."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections


@dataclass(frozen=True)
class MethodResult:
    """What came of one frame, and what it cost.

    ``executed`` and ``dense`` are multiply-accumulates: those of every network that ran, on either
    side, and those of the evaluated network on the whole frame. ``reuse_ratio`` is the share of
    the frame's area whose features or results are old ones. ``tx_bytes`` is what the robot sends
    for this frame, headers included; 0 for a method that stays on the robot.
    """

    detections: Detections
    executed: int
    dense: int
    reuse_ratio: float = 0.0
    tx_bytes: int = 0

    @property
    def compute_ratio(self) -> float:
        """Executed over dense multiply-accumulates."""
        return self.executed / max(1, self.dense)


class Method(Protocol):
    """One way to get detections for every frame of a sequence.

    Both endpoints live inside: what a cloud would infer from is what this method decoded from the
    bytes it counted.
    """

    def reset(self) -> None:
        """Forget all earlier frames: the next one starts a new sequence."""
        ...

    def process(self, frame: Frame) -> MethodResult:
        """Infer the next frame of the sequence; returns when the result could be published."""
        ...
