"""Ways to send a whole image: what the cloud decodes, and the bytes it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from PIL import Image

from fluxshard_core.baselines.h264_stream import H264Stream
from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import UInt8
from fluxshard_core.pixel_formats import compressed_to_rgb

_COLOURS, _COLOUR_BITS = 64, 6


@dataclass(frozen=True)
class Received:
    """An image after the link: ``(H, W, 3)`` uint8 RGB, and the payload's length in bytes."""

    image: UInt8
    payload_bytes: int


class ImageCodec(Protocol):
    """An encoder on the robot and its decoder in the cloud."""

    def reset(self) -> None:
        """Start a new stream."""
        ...

    def transmit(self, image: UInt8) -> Received:
        """Encode and decode a ``(H, W, 3)`` uint8 RGB image with even sides."""
        ...


class RawImages:
    """RGB bytes as they are."""

    def reset(self) -> None:
        """Nothing to forget: every image stands alone."""

    def transmit(self, image: UInt8) -> Received:
        """Return the image itself."""
        return Received(image, image.nbytes)


class QuantisedImages:
    """Every pixel one of 64 colours chosen for the image: 6 bits of 24, a quarter of the bytes."""

    def reset(self) -> None:
        """Nothing to forget: every image stands alone."""

    def transmit(self, image: UInt8) -> Received:
        """Return the image in its palette (octree quantisation, no dithering)."""
        indexed = Image.fromarray(image).quantize(
            _COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
        palette = np.zeros((_COLOURS, 3), dtype=np.uint8)
        colours = np.array(indexed.getpalette() or [], dtype=np.uint8).reshape(-1, 3)[:_COLOURS]
        palette[: len(colours)] = colours
        bits = np.unpackbits(np.asarray(indexed, dtype=np.uint8).reshape(-1, 1), axis=1)
        payload = np.packbits(bits[:, -_COLOUR_BITS:])
        codes = np.unpackbits(payload, count=_COLOUR_BITS * indexed.width * indexed.height)
        indices = np.packbits(codes.reshape(-1, _COLOUR_BITS), axis=1) >> (8 - _COLOUR_BITS)
        decoded = palette[indices[:, 0]].reshape(image.shape)
        return Received(decoded, payload.nbytes + palette.nbytes)


class JpegImages:
    """Every image a JPEG of its own; ``quality`` 1 to 100."""

    def __init__(self, quality: int = 90) -> None:
        if not 1 <= quality <= 100:
            raise InputError(f"JPEG quality is {quality}; use 1 to 100")
        self._quality = quality

    def reset(self) -> None:
        """Nothing to forget: every image stands alone."""

    def transmit(self, image: UInt8) -> Received:
        """Return the image after one JPEG round trip."""
        options = [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        done, payload = cv2.imencode(".jpg", image[..., ::-1], options)
        if not done:
            raise InputError(f"OpenCV could not write a JPEG of a {image.shape} image")
        return Received(compressed_to_rgb(payload.tobytes()), payload.nbytes)


class H264Images:
    """One H.264 stream without delay; ``crf`` 0 to 51, lower is better.

    ``halved``: chroma has half the size.
    """

    def __init__(self, crf: int = 23, *, halved: bool = False) -> None:
        if not 0 <= crf <= 51:
            raise InputError(f"H.264 CRF is {crf}; use 0 to 51")
        self._crf, self._halved = crf, halved
        self._stream: H264Stream | None = None

    def reset(self) -> None:
        """Start a new stream: its first picture is an intra one."""
        self._stream = None

    def transmit(self, image: UInt8) -> Received:
        """Return the picture a receiver of the stream shows."""
        if self._stream is None or self._stream.shape != image.shape[:2]:
            height, width = image.shape[:2]
            self._stream = H264Stream(height, width, self._crf, halved=self._halved)
        return Received(*self._stream.round_trip(image))
