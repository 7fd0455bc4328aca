"""What every motion source gives: a frame as inference sees it, and its MotionField."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField

UInt8 = npt.NDArray[np.uint8]
Frame = TypeVar("Frame", contravariant=True)


@dataclass(frozen=True)
class MotionFrame:
    """One frame and how it moved.

    ``image`` ``(height, width, 3)`` uint8 RGB is the frame inference must see: ``field`` says how
    it moved since the ``image`` of the source's previous ``MotionFrame``. ``pts`` is the
    presentation time in the stream's own units where the source has one.
    """

    image: UInt8
    field: MotionField
    pts: int | None = None


class MotionSource(Protocol[Frame]):
    """Where motion comes from. ``Frame`` is an RGB image, or packet bytes for a codec stream."""

    def next(self, frame: Frame, /) -> MotionFrame:
        """Take the next frame of the sequence and return it with its motion.

        The field is invalid everywhere on the first frame, after ``reset`` and when the image
        size changes.

        :raises InputError: if the frame cannot be used.
        """
        ...

    def reset(self) -> None:
        """Forget the previous frame: the next one starts a new sequence."""
        ...


ImageSource = MotionSource[UInt8]


def check_image(image: UInt8) -> UInt8:
    """Return ``image`` as contiguous memory after checking it is ``(height, width, 3)`` uint8.

    :raises InputError: if it is not.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InputError(
            f"image is {image.dtype} {image.shape}; expected (height, width, 3) uint8 RGB"
        )
    return np.ascontiguousarray(image)


def luma(image: UInt8) -> UInt8:
    """Return the ``(height, width)`` uint8 BT.601 luma of a checked RGB image."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
