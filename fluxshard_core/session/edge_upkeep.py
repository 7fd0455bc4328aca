"""EdgeUpkeep: spare cycles of the robot bring its own stale blocks up to date."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.network import network_bytes
from fluxshard_core.session.config import BackgroundConfig
from fluxshard_core.session.endpoint import Proposal
from fluxshard_core.session.robot_state import RobotState
from fluxshard_core.session.upkeep import next_piece

UInt8 = npt.NDArray[np.uint8]
_END = object()


class EdgeUpkeep:
    """Pieces of work for the robot's own executor, taken one operator at a time."""

    def __init__(self, state: RobotState) -> None:
        self._state = state
        self._proposal: Proposal | None = None
        self._seen: UInt8
        self._steps: Iterator[None] = iter(())
        self._settled = False
        self._blocks = 0

    def step(self, image: UInt8, config: BackgroundConfig) -> bool:
        """Do one operator for ``image``, the last frame; False if there is nothing to do."""
        if self._proposal is None:
            self._start(image, config)
        if self._proposal is None:
            return False
        try:
            if next(self._steps, _END) is _END:
                self._end()
        except BaseException:
            self._drop()
            raise
        return True

    def preempt(self) -> None:
        """A frame is here: what began with the last one is dropped, or rests if that would cost
        the features it has moved."""
        if self._proposal is None or self._settled:
            return
        if self._proposal.schedule.still and not self._proposal.dense_reason:
            self._proposal = None
            self._steps = iter(())
        else:
            self._settle()

    def make_way(self) -> None:
        """The frame is computed here: end what rests, at most one piece; a whole frame that rests
        is dropped, for the new one is computed whole then."""
        if self._proposal is None:
            return
        if self._proposal.dense_reason:
            self._drop()
            return
        for _ in self._steps:
            pass
        self._end()

    def taken(self) -> int:
        """Return the blocks brought up to date since this was asked last."""
        blocks, self._blocks = self._blocks, 0
        return blocks

    def _start(self, image: UInt8, config: BackgroundConfig) -> None:
        endpoint = self._state.endpoint("edge")
        if endpoint.empty:
            self._proposal = endpoint.start(image)
        else:
            self._proposal = next_piece(
                endpoint, image, self._state.confidence, config, config.piece_blocks
            )
        if self._proposal is None:
            return
        self._seen = self._proposal.composed(image)
        self._settled = False
        self._steps = self._state.executor.refresh(
            network_bytes(self._seen), self._proposal.schedule
        )

    def _settle(self) -> None:
        assert self._proposal is not None
        self._state.endpoint("edge").settle(self._proposal, self._seen)
        self._settled = True

    def _end(self) -> None:
        assert self._proposal is not None
        if not self._settled:
            self._settle()
        self._blocks += int(np.count_nonzero(self._proposal.critical))
        self._proposal = None

    def _drop(self) -> None:
        self._proposal = None
        self._steps = iter(())
        self._state.executor.reset()
        self._state.endpoint("edge").reset()
