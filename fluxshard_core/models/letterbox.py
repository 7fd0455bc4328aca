"""Fit an image into the network's input rectangle, and bring results back to its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Float32, UInt8

INPUT_MULTIPLE = 32  # the deepest stride of every model
BLOCK = 16  # the content starts on a block, so blocks of the image are blocks of the input
PAD_VALUE = 114
MAX_SIDE = 8192


@dataclass(frozen=True)
class Letterbox:
    """How one image size maps into one input size, both in pixels.

    The image is scaled by ``scale`` and placed with its top-left pixel at ``(pad_x, pad_y)``.
    """

    original_height: int
    original_width: int
    input_height: int
    input_width: int
    scale: float
    pad_x: int
    pad_y: int

    @classmethod
    def fit(cls, height: int, width: int, input_size: tuple[int, int] | None = None) -> Letterbox:
        """Fit a ``height`` x ``width`` image into ``input_size`` ``(height, width)``.

        Without ``input_size`` the image keeps its pixels and is padded to multiples of 32.

        :raises InputError: for sides that are not in 1..8192, or an input size that is not made
            of multiples of 32.
        """
        _check_side("image height", height)
        _check_side("image width", width)
        if input_size is None:
            input_height, input_width = _round_up(height), _round_up(width)
            scale = 1.0
        else:
            input_height, input_width = input_size
            _check_input_side("input height", input_height)
            _check_input_side("input width", input_width)
            scale = min(input_height / height, input_width / width)
        content_height, content_width = _scaled(height, scale), _scaled(width, scale)
        return cls(
            original_height=height,
            original_width=width,
            input_height=input_height,
            input_width=input_width,
            scale=scale,
            pad_x=_centred(input_width - content_width),
            pad_y=_centred(input_height - content_height),
        )

    @property
    def content_height(self) -> int:
        """Height of the scaled image inside the input."""
        return _scaled(self.original_height, self.scale)

    @property
    def content_width(self) -> int:
        """Width of the scaled image inside the input."""
        return _scaled(self.original_width, self.scale)

    def apply(self, image: UInt8) -> UInt8:
        """Return the ``(input_height, input_width, 3)`` uint8 input of a uint8 RGB image.

        The result never shares memory with ``image``. Resizing is bilinear, padding is grey 114.

        :raises InputError: if ``image`` is not uint8 of the size this letterbox was made for.
        """
        expected = (self.original_height, self.original_width, 3)
        if image.dtype != np.uint8 or image.shape != expected:
            raise InputError(
                f"image is {image.dtype} {image.shape}, expected uint8 {expected}: "
                "fit a new letterbox when the camera changes size"
            )
        height, width = self.content_height, self.content_width
        if (height, width) != image.shape[:2]:
            resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
            image = np.asarray(resized, dtype=np.uint8)
        if (height, width) == (self.input_height, self.input_width):
            return np.array(image, dtype=np.uint8, order="C")
        framed = np.full((self.input_height, self.input_width, 3), PAD_VALUE, dtype=np.uint8)
        framed[self.pad_y : self.pad_y + height, self.pad_x : self.pad_x + width] = image
        return framed

    def boxes_to_original(self, boxes: Float32) -> Float32:
        """Map ``(N, 4)`` ``x1, y1, x2, y2`` input pixels to original pixels, clipped to them."""
        corners = self.points_to_original(boxes.reshape(-1, 2, 2))
        return corners.reshape(-1, 4)

    def points_to_original(self, points: Float32) -> Float32:
        """Map ``(..., 2)`` ``x, y`` input pixels to original pixels, clipped to the image."""
        pad = np.array([self.pad_x, self.pad_y], dtype=np.float32)
        size = np.array([self.original_width, self.original_height], dtype=np.float32)
        content = np.array([self.content_width, self.content_height], dtype=np.float32)
        mapped = (points - pad) / (content / size)
        return np.clip(mapped, np.float32(0), size).astype(np.float32, copy=False)


def _round_up(side: int) -> int:
    return -(-side // INPUT_MULTIPLE) * INPUT_MULTIPLE


def _scaled(side: int, scale: float) -> int:
    return max(round(side * scale), 1)


def _centred(free: int) -> int:
    """The padding before the content: half of the free pixels, down to a whole block."""
    return free // 2 // BLOCK * BLOCK


def _check_side(what: str, side: int) -> None:
    if not 1 <= side <= MAX_SIDE:
        raise InputError(f"{what} {side} is outside 1..{MAX_SIDE}")


def _check_input_side(what: str, side: int) -> None:
    _check_side(what, side)
    if side % INPUT_MULTIPLE:
        raise InputError(
            f"{what} {side} is not a multiple of {INPUT_MULTIPLE}: use {_round_up(side)}"
        )
