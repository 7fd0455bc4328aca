"""CloudUpkeep: spare bandwidth carries stale blocks to the cloud, one message at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload.transport import LinkError
from fluxshard_core.session.config import SessionConfig
from fluxshard_core.session.link import CloudLink, Posted
from fluxshard_core.session.robot_state import RobotState
from fluxshard_core.session.upkeep import next_piece

UInt8 = npt.NDArray[np.uint8]

_FEWEST = 4
"""Blocks below which a message is mostly header."""


class CloudUpkeep:
    """Sends the cloud what it will need, small enough never to be in a frame's way for long.

    The cloud does what it is sent in order, so a piece that has left is there before the next
    frame, answered or not; one that has not is taken back.
    """

    def __init__(self, state: RobotState, link: CloudLink, model_hash: str) -> None:
        self._state = state
        self._link = link
        self._model_hash = model_hash
        self._posted: Posted | None = None
        self._settled = False
        self._done = 0, 0

    @property
    def waits(self) -> bool:
        """Whether an answer is still to come."""
        return self._posted is not None

    def step(self, image: UInt8, letterbox: Letterbox, config: SessionConfig) -> bool:
        """Take in an answer, or send a piece of ``image``, the last frame; False if neither."""
        if self._posted is not None:
            return self._collect(self._posted)
        room = self._link.blocks_within(config.background.most_send_ms, config)
        blocks = min(config.background.piece_blocks, room)
        if blocks < _FEWEST:
            return False
        endpoint = self._state.endpoint("cloud")
        piece = next_piece(endpoint, image, self._state.confidence, config.background, blocks)
        if piece is None or piece.dense_reason:
            return False
        epoch, self._settled = self._link.epoch, False
        try:
            self._posted = self._link.post(piece, image, letterbox, self._model_hash, config)
        except LinkError:
            self._reset_after(epoch)
        return self._posted is not None

    def preempt(self) -> None:
        """A frame is here: what has not left is taken back."""
        posted = self._posted
        if posted is None or self._collect(posted) or self._settled:
            return
        if self._link.withdraw(posted):
            self._posted = None
        else:
            self._settle(posted)

    def taken(self) -> tuple[int, int]:
        """Return the blocks and bytes sent since this was asked last."""
        done, self._done = self._done, (0, 0)
        return done

    def _collect(self, posted: Posted) -> bool:
        """Take in the answer, if it is here, or give up what went down with its epoch."""
        if posted.epoch != self._link.epoch:
            self._posted = None
            return True
        if not self._link.over(posted):
            return False
        self._posted = None
        try:
            self._link.collect(posted)
        except LinkError:
            self._reset_after(posted.epoch)
        else:
            if not self._settled:
                self._settle(posted)
        return True

    def _reset_after(self, epoch: int) -> None:
        if self._link.epoch != epoch:
            self._state.endpoint("cloud").reset()

    def _settle(self, posted: Posted) -> None:
        self._state.endpoint("cloud").settle(posted.proposal, posted.seen)
        self._settled = True
        blocks, sent = self._done
        fresh = int(np.count_nonzero(posted.proposal.pixels))
        self._done = blocks + fresh, sent + posted.request.size
