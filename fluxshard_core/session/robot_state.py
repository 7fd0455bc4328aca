"""What a robot's session remembers of past frames of one size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.detections import Detections
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.factory import open_source
from fluxshard_core.motion.field import BLOCK_SIZE
from fluxshard_core.motion.source import ImageSource
from fluxshard_core.reuse.completion import completed
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.contested import Contests, coding_ease
from fluxshard_core.reuse.profile import MotionIntensity
from fluxshard_core.reuse.salience import Salience, SalientBlocks
from fluxshard_core.session.config import SessionConfig, Side
from fluxshard_core.session.endpoint import Endpoint, Extent, Proposal
from fluxshard_core.session.engine import Engine
from fluxshard_core.session.findings import boxes_in_input
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.schedule import BlockScheduler

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


class RobotState:
    """The motion, the results of past frames, and both endpoints."""

    def __init__(self, engine: Engine, size: tuple[int, int], config: SessionConfig) -> None:
        """``size`` is the height and width of the network's input."""
        self.size = size
        self._engine = engine
        self._plan = engine.plan(*size)
        self._options = config.executor
        self._source: ImageSource = open_source(config.motion)
        self._salience = Salience(config.reuse or ReuseConfig())
        self._contests = Contests()
        self._salient: SalientBlocks | None = None
        self._intensity = MotionIntensity()
        self._proposals: dict[Side, Proposal] = {}
        self._endpoints: dict[Side, Endpoint] = {}
        self._executor: Executor | None = None

    @property
    def executor(self) -> Executor:
        """The edge's, made when it is first needed."""
        if self._executor is None:
            self._executor = self._engine.executor(*self.size, self._options)
        return self._executor

    def follow(self, image: UInt8) -> None:
        """Take in the motion of a new frame ``(H, W, 3)`` uint8."""
        step = completed(self._source.next(image).field)
        self._intensity.observe(step)
        self._salience.follow(step)
        self._contests.follow(step)
        self._salient = None
        self._proposals = {}
        for endpoint in self._endpoints.values():
            endpoint.absorb(step)

    @property
    def motion(self) -> float:
        """How much the scene has been moving, in pixels a frame."""
        return self._intensity.value

    def propose(
        self,
        side: Side,
        image: UInt8,
        config: ReuseConfig | None,
        extent: Callable[[Proposal], Extent] | None = None,
    ) -> Proposal:
        """Return what the frame just followed makes critical on one side, extended to what
        ``extent``, asked once a frame, says of it."""
        if self._salient is None:
            self._salience.config = config or self._salience.config
            rows, cols = self.size[0] // BLOCK_SIZE, self.size[1] // BLOCK_SIZE
            contest = self._contests.highest(self._salience.config.large)
            self._salient = replace(self._salience.blocks(rows, cols), contest=contest)
        if side not in self._proposals:
            proposal = self.endpoint(side).propose(image, self._salient, config)
            if extent is not None:
                proposal = self.endpoint(side).extended(proposal, extent(proposal))
            if side == "cloud":
                proposal = replace(proposal, ease=self.coding_ease(proposal))
            self._proposals[side] = proposal
        return self._proposals[side]

    @property
    def confidence(self) -> Float32:
        """That of the surest object near each block of the last frame, ``(rows, cols)``."""
        if self._salient is None:
            return np.zeros((self.size[0] // BLOCK_SIZE, self.size[1] // BLOCK_SIZE), np.float32)
        return self._salient.confidence

    def coding_ease(self, proposal: Proposal) -> Float32 | None:
        """Return how little care each block ``(rows, cols)`` needs when it is sent, in [-1, 2].

        None, all of it, where every block is critical: all later frames build on that.
        """
        important = proposal.important
        if important.all() or self._salient is None:
            return None
        return coding_ease(self._salient, self._contests.ease(*important.shape), important)

    def endpoint(self, side: Side) -> Endpoint:
        """Return what one side holds."""
        if side not in self._endpoints:
            scheduler = self.executor.scheduler if side == "edge" else BlockScheduler(self._plan)
            self._endpoints[side] = Endpoint(scheduler, self._plan.level_keys, self.size)
        return self._endpoints[side]

    def settle(self, side: Side, proposal: Proposal, seen: UInt8, image: UInt8) -> None:
        """Remember that one side ran ``proposal`` on ``seen``, which it saw of ``image``."""
        self.endpoint(side).settle(proposal, seen)
        if proposal.cut:
            self._begin_scene(image)

    def _begin_scene(self, image: UInt8) -> None:
        """Go on as if ``image`` were the first frame: nothing is left of another scene's objects,
        of how it moved, and of what its pictures did to the motion search."""
        self._source.reset()
        self._source.next(image)
        self._salience = Salience(self._salience.config)
        self._contests = Contests()
        self._intensity = MotionIntensity()

    def learn(self, found: Detections, letterbox: Letterbox) -> None:
        """Take in the results of a frame, weak ones too."""
        boxes = boxes_in_input(found, letterbox)
        self._salience.update(boxes, found.scores)
        self._contests.update(boxes, found.scores, found.class_ids)
