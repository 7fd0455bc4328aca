"""Background: what a session does while no frame waits, on both sides, and how much it was."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.session.cloud_upkeep import CloudUpkeep
from fluxshard_core.session.config import BackgroundWork, SessionConfig
from fluxshard_core.session.edge_upkeep import EdgeUpkeep
from fluxshard_core.session.link import CloudLink
from fluxshard_core.session.robot_state import RobotState

UInt8 = npt.NDArray[np.uint8]

_POLL_S = 0.001


class Background:
    """Works on the last frame, a small step at a time, until the next one is there."""

    def __init__(self, state: RobotState, link: CloudLink | None, model_hash: str) -> None:
        self._edge = EdgeUpkeep(state)
        self._cloud = None if link is None else CloudUpkeep(state, link, model_hash)
        self._last: tuple[UInt8, Letterbox] | None = None

    def follow(self, image: UInt8, letterbox: Letterbox) -> None:
        """From now on work on this frame, whose result is out."""
        self._last = image, letterbox

    def work(self, arrived: Callable[[], bool], config: SessionConfig) -> None:
        """Do what there is to do until ``arrived()``; return early when nothing is left."""
        if self._last is None or config.reuse is None:
            return
        while not arrived():
            if not self._step(*self._last, config):
                if self._cloud is None or not self._cloud.waits:
                    return
                time.sleep(_POLL_S)

    def preempt(self) -> BackgroundWork:
        """Make way for a frame that is here; return what was done since the one before."""
        self._last = None
        self._edge.preempt()
        if self._cloud is None:
            return BackgroundWork(self._edge.taken())
        self._cloud.preempt()
        return BackgroundWork(self._edge.taken(), *self._cloud.taken())

    def make_way_on_edge(self) -> None:
        """Leave the robot's executor to the frame."""
        self._edge.make_way()

    def _step(self, image: UInt8, letterbox: Letterbox, config: SessionConfig) -> bool:
        busy = False
        sends = config.background.cloud and config.path != "edge"
        if self._cloud is not None and (sends or self._cloud.waits):
            busy = self._cloud.step(image, letterbox, config)
        if config.background.edge:
            busy |= self._edge.step(image, config.background)
        return busy
