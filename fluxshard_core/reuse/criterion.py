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
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import load_if_possible

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]
UInt32 = npt.NDArray[np.uint32]
_CHANNELS = 3
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
    sums = _block_sums(np.ascontiguousarray(image), np.ascontiguousarray(reference))
    mean: Float32 = sums.astype(np.float32) / (BLOCK_SIZE * BLOCK_SIZE * channels * _MAX_PIXEL)
    return mean


def _block_sums(image: UInt8, reference: UInt8) -> UInt32:
    """Sum of absolute differences of each block ``(rows, cols)`` of two contiguous frames."""
    if image.shape[2] == _CHANNELS and (library := load_if_possible()):
        return library.pixels.compare_blocks(image, reference, BLOCK_SIZE, compute_threads())
    return block_sums_plainly(image, reference)


def block_sums_plainly(image: UInt8, reference: UInt8) -> UInt32:
    """Do what the compiled kernel does, in numpy."""
    height, width, channels = image.shape
    apart = cv2.absdiff(image, reference)
    rows, cols = height // BLOCK_SIZE, width // BLOCK_SIZE
    # Sixteen bytes fit 16 bits, and adding whole rows is several times faster than adding cells.
    columns = apart.reshape(rows, BLOCK_SIZE, width * channels).sum(axis=1, dtype=np.uint16)
    total: UInt32 = columns.reshape(rows, cols, -1).sum(axis=2, dtype=np.uint32)
    return total


def composed(moved: UInt8, image: UInt8, fresh: Bool) -> UInt8:
    """Return the pixels ``moved`` ``(H, W, 3)`` with those of ``image`` in the blocks ``fresh``
    ``(rows, cols)``: what an endpoint sees that gets only these blocks of a frame."""
    if library := load_if_possible():
        frames = np.ascontiguousarray(image), np.ascontiguousarray(moved)
        blocks = np.ascontiguousarray(fresh)
        return library.pixels.compose_blocks(*frames, blocks, BLOCK_SIZE, compute_threads())
    return composed_plainly(moved, image, fresh)


def composed_plainly(moved: UInt8, image: UInt8, fresh: Bool) -> UInt8:
    """Do what :func:`composed` does, without compiled code."""
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
            after.image = moved_pixels(self.image, shift)
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


def moved_pixels(image: UInt8, shift: Int32) -> UInt8:
    """Return the frame ``(H, W, 3)`` whose blocks come from ``shift`` ``(rows, cols, 2)``,
    ``(dx, dy)`` pixels, before them; outside, the outermost pixels go on."""
    if library := load_if_possible():
        frame, shifts = np.ascontiguousarray(image), np.ascontiguousarray(shift, dtype=np.int32)
        return library.pixels.move_blocks(frame, shifts, BLOCK_SIZE, compute_threads())
    return moved_pixels_plainly(image, shift)


def moved_pixels_plainly(image: UInt8, shift: Int32) -> UInt8:
    """Do what :func:`moved_pixels` does, without compiled code."""
    height, width = image.shape[:2]
    steps = shift.astype(np.int16).repeat(BLOCK_SIZE, axis=1).repeat(BLOCK_SIZE, axis=0)
    places = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.int16)
    moved: UInt8 = np.empty_like(image)
    no_fractions: npt.NDArray[np.int16] = np.empty((0, 0), dtype=np.int16)
    cv2.remap(
        image,
        places - steps,
        no_fractions,
        cv2.INTER_NEAREST,
        dst=moved,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return moved
