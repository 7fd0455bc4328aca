"""Motion by SAD block matching on the CPU, in numpy: for raw frames without an encoder."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL, MotionField
from fluxshard_core.motion.sad_refine import CandidateMatcher
from fluxshard_core.motion.sad_search import sad_search
from fluxshard_core.motion.source import MotionFrame, UInt8, check_image, luma

COARSEST_BLOCK = 4  # px; below this a block's SAD says little
MAX_BLOCK_SIZE = 256
MAX_RADIUS = 512


@dataclass(frozen=True)
class MatchingOptions:
    """How blocks are searched.

    ``radius`` is the window, in pixels each way per axis. ``exhaustive`` tries every whole-pixel
    vector of it, exact and slow; otherwise the search goes from a quarter of the resolution to
    the full one. ``quarter_pel`` refines the whole-pixel match by interpolation. A block whose
    best match differs by more than ``max_cost`` (mean luma difference per pixel in [0, 1]) is
    invalid; the default is twice the difference at which a block counts as changed.
    """

    block_size: int = BLOCK_SIZE
    radius: int = 32
    exhaustive: bool = False
    quarter_pel: bool = True
    max_cost: float = 0.05

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 1 <= self.block_size <= MAX_BLOCK_SIZE:
            raise InputError(f"block size is {self.block_size}; use 1 to {MAX_BLOCK_SIZE} px")
        if not 0 <= self.radius <= MAX_RADIUS:
            raise InputError(f"search radius is {self.radius}; use 0 to {MAX_RADIUS} px")
        if not 0 <= self.max_cost <= 1:
            raise InputError(f"max_cost is {self.max_cost}; luma differences lie in [0, 1]")


class BlockMatchingMotion:
    """Matches the luma of each frame against the raw frame before, and returns it untouched.

    ``field.cost`` is the match's mean absolute luma difference. Zero motion is always a candidate
    and wins ties, and sources reaching outside the frame never match. A scene cut, known by how
    few blocks match, makes the whole field invalid.
    """

    def __init__(self, options: MatchingOptions | None = None) -> None:
        """Start with no previous frame."""
        self._options = options or MatchingOptions()
        self._previous: UInt8 | None = None

    def next(self, image: UInt8, /) -> MotionFrame:
        """Return ``image`` and its motion since the last call."""
        image = check_image(image)
        height, width = image.shape[:2]
        current, previous = luma(image), self._previous
        self._previous = current
        if previous is None or previous.shape != current.shape:
            field = MotionField.invalid(height, width, self._options.block_size)
        else:
            field = match_blocks(current, previous, self._options)
        return MotionFrame(image, field)

    def reset(self) -> None:
        """Forget the previous frame."""
        self._previous = None


def match_blocks(current: UInt8, previous: UInt8, options: MatchingOptions) -> MotionField:
    """Return the motion of ``current`` since ``previous``, both ``(height, width)`` uint8 luma."""
    size, radius = options.block_size, options.radius
    if options.exhaustive:
        matcher = CandidateMatcher(current, previous, size, radius)
        vectors, _ = sad_search(current, previous, size, radius)
        matcher.propose(vectors.reshape(-1, 2) * QUARTER_PEL)
    else:
        matcher = _coarse_to_fine(current, previous, size, radius)
    if options.quarter_pel:
        matcher.search_around(2)
        matcher.search_around(1)
        matcher.propose_neighbours()
    cost = (matcher.sads / matcher.areas / 255).astype(np.float32).reshape(matcher.grid)
    valid = cost <= options.max_cost
    vectors = np.where(valid[..., None], matcher.vectors.reshape(*matcher.grid, 2), 0)
    cost[~valid] = np.nan
    return MotionField(vectors.astype(np.int16), valid, cost, size).invalid_if_cut()


def _coarse_to_fine(
    current: UInt8, previous: UInt8, block_size: int, radius: int
) -> CandidateMatcher:
    """Match whole pixels from the coarsest level up, doubling the resolution each time."""
    matcher = CandidateMatcher(current, previous, block_size, radius)
    half = block_size // 2
    if block_size % 2 or half < COARSEST_BLOCK:
        vectors, _ = sad_search(current, previous, block_size, radius)
        matcher.propose(vectors.reshape(-1, 2) * QUARTER_PEL)
    else:
        coarse = _coarse_to_fine(_halve(current), _halve(previous), half, -(-radius // 2))
        matcher.propose(coarse.vectors * 2)
        matcher.search_around(QUARTER_PEL)
    matcher.propose_neighbours()
    return matcher


def _halve(plane: UInt8) -> UInt8:
    """Return the plane averaged over 2x2 pixels, an odd last row or column repeated."""
    height, width = plane.shape
    even = cv2.copyMakeBorder(plane, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = (even.shape[1] // 2, even.shape[0] // 2)
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
