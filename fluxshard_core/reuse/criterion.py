"""How much each block of a frame differs from the pixels its cached features came from."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL, MotionField
from fluxshard_core.reuse.level_keys import is_trunk, source_of

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
_MAX_PIXEL = 255


def block_difference(image: UInt8, reference: UInt8) -> Float32:
    """Return the mean absolute difference of each block, ``(rows, cols)`` float32 in [0, 1].

    Both are ``(H, W, 3)`` uint8 with sides that are multiples of the block size.

    :raises InputError: if they are not.
    """
    height, width, channels = image.shape
    if image.shape != reference.shape or height % BLOCK_SIZE or width % BLOCK_SIZE:
        raise InputError(
            f"images of {image.shape} and {reference.shape} cannot be compared in blocks of "
            f"{BLOCK_SIZE} px: letterbox both to one size first"
        )
    apart = cv2.absdiff(image, reference)
    rows, cols = height // BLOCK_SIZE, width // BLOCK_SIZE
    # Sixteen bytes fit 16 bits, and adding whole rows is several times faster than adding cells.
    columns = apart.reshape(rows, BLOCK_SIZE, width * channels).sum(axis=1, dtype=np.uint16)
    total = columns.reshape(rows, cols, -1).sum(axis=2, dtype=np.uint32)
    mean: Float32 = total.astype(np.float32) / (BLOCK_SIZE * BLOCK_SIZE * channels * _MAX_PIXEL)
    return mean


def composed(moved: UInt8, image: UInt8, fresh: Bool) -> UInt8:
    """Return the pixels ``moved`` ``(H, W, 3)`` with those of ``image`` in the blocks ``fresh``
    ``(rows, cols)``: what an endpoint sees that gets only these blocks of a frame."""
    pixels = cv2.resize(fresh.astype(np.uint8), moved.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    made = moved.copy()
    cv2.copyTo(image, pixels, made)
    return made


class PixelReference:
    """The pixels each block's cached features were computed from, moved with the cache.

    ``moved`` follows the motion, ``take`` brings new pixels where features are recomputed. Blocks
    are copied by whole pixels and never blurred; what rounding left over is carried with the
    block, in quarter pixels, so that slow motion is not lost. ``image`` ``(H, W, 3)`` uint8 is
    never written to; ``age`` ``(rows, cols)`` int32 counts the frames since each block was new,
    ``owed`` for each branch (``level_keys.py``) the changes of the trunk that it did not follow.
    """

    def __init__(self, image: UInt8) -> None:
        """Start from a whole frame: everything is new."""
        height, width = image.shape[:2]
        rows, cols = height // BLOCK_SIZE, width // BLOCK_SIZE
        self.image = image
        self.age: Int32 = np.zeros((rows, cols), dtype=np.int32)
        self.owed: dict[int, Int32] = {}
        self._left: Int32 = np.zeros((rows, cols, 2), dtype=np.int32)
        self._pixels: npt.NDArray[np.int16] = np.stack(
            np.meshgrid(np.arange(width), np.arange(height)), axis=-1
        ).astype(np.int16)
        self._corners: Int32 = BLOCK_SIZE * np.stack(
            np.meshgrid(np.arange(cols), np.arange(rows)), axis=-1
        ).astype(np.int32)
        self._last: Int32 = np.array([width, height], dtype=np.int32) - BLOCK_SIZE

    def moved(self, motion: MotionField, frames: int = 1) -> tuple[PixelReference, Bool]:
        """Return the reference moved by ``motion``, counted over ``frames`` frames, and what is
        lost: the blocks ``(rows, cols)`` that have no source.

        Those are the blocks whose motion is unknown or whose source is not wholly in the frame.
        Their pixels and age are then those of the nearest source and mean nothing.
        """
        motion.check_image(*self.image.shape[:2])
        nearest = self._corners - motion.vectors // QUARTER_PEL + BLOCK_SIZE // 2
        source = np.clip(nearest // BLOCK_SIZE, 0, self._last // BLOCK_SIZE)
        at = source[..., 1], source[..., 0]
        total = motion.vectors + self._left[at]
        shift = (total + QUARTER_PEL // 2) // QUARTER_PEL
        start = self._corners - shift
        lost: Bool = ~motion.valid | ((start < 0) | (start > self._last)).any(axis=-1)
        after = copy(self)
        after._left = total - shift * QUARTER_PEL
        after.age = self.age[at] + frames
        after.owed = {key: changes[at] for key, changes in self.owed.items()}
        if shift.any():
            after.image = self._moved_pixels(shift)
        return after, lost

    def take(
        self, image: UInt8, fresh: Bool, levels: Mapping[int, Bool] = MappingProxyType({})
    ) -> None:
        """Be ``image`` from now on, its blocks ``fresh`` ``(rows, cols)`` new and in place.

        ``levels`` are all blocks recomputed, by level key, where there are branches to keep.
        """
        for key in levels:
            if not is_trunk(key):
                changes = self.owed.get(key, 0) + levels[source_of(key, levels)].astype(np.int32)
                self.owed[key] = np.where(levels[key], 0, changes)
        self.image = image
        self.age = np.where(fresh, 0, self.age)
        self._left = np.where(fresh[..., None], 0, self._left)

    def _moved_pixels(self, shift: Int32) -> UInt8:
        steps = shift.astype(np.int16).repeat(BLOCK_SIZE, axis=1).repeat(BLOCK_SIZE, axis=0)
        places = self._pixels - steps
        moved: UInt8 = np.empty_like(self.image)
        no_fractions: npt.NDArray[np.int16] = np.empty((0, 0), dtype=np.int16)
        cv2.remap(
            self.image,
            places,
            no_fractions,
            cv2.INTER_NEAREST,
            dst=moved,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return moved
