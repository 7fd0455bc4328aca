"""Image encodings as ROS names them, turned into RGB after checking that the data fits."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError

UInt8 = npt.NDArray[np.uint8]

MAX_PIXELS = 1 << 26
"""Frames larger than this (8192 x 8192) are refused: no camera sends them, a bad header does."""


def _to_rgb(code: int) -> Callable[[UInt8], UInt8]:
    return lambda image: np.asarray(cv2.cvtColor(image, code), dtype=np.uint8)


# encoding -> (bytes per sample, channels, conversion of a (height, width, channels) array).
_FORMATS: dict[str, tuple[int, int, Callable[[UInt8], UInt8]]] = {
    "rgb8": (1, 3, np.ascontiguousarray),
    "bgr8": (1, 3, _to_rgb(cv2.COLOR_BGR2RGB)),
    "rgba8": (1, 4, _to_rgb(cv2.COLOR_RGBA2RGB)),
    "bgra8": (1, 4, _to_rgb(cv2.COLOR_BGRA2RGB)),
    "8UC3": (1, 3, _to_rgb(cv2.COLOR_BGR2RGB)),
    "mono8": (1, 1, _to_rgb(cv2.COLOR_GRAY2RGB)),
    "8UC1": (1, 1, _to_rgb(cv2.COLOR_GRAY2RGB)),
    "mono16": (2, 1, _to_rgb(cv2.COLOR_GRAY2RGB)),
    "bayer_rggb8": (1, 1, _to_rgb(cv2.COLOR_BayerRGGB2RGB)),
    "bayer_bggr8": (1, 1, _to_rgb(cv2.COLOR_BayerBGGR2RGB)),
    "bayer_gbrg8": (1, 1, _to_rgb(cv2.COLOR_BayerGBRG2RGB)),
    "bayer_grbg8": (1, 1, _to_rgb(cv2.COLOR_BayerGRBG2RGB)),
    "uyvy": (1, 2, _to_rgb(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422": (1, 2, _to_rgb(cv2.COLOR_YUV2RGB_UYVY)),
    "yuyv": (1, 2, _to_rgb(cv2.COLOR_YUV2RGB_YUY2)),
    "yuv422_yuy2": (1, 2, _to_rgb(cv2.COLOR_YUV2RGB_YUY2)),
}

ENCODINGS = tuple(_FORMATS)


def image_to_rgb(
    data: bytes | bytearray | memoryview | UInt8,
    *,
    height: int,
    width: int,
    encoding: str,
    step: int,
    big_endian: bool = False,
) -> UInt8:
    """Return uint8 RGB ``(height, width, 3)`` from the fields of a ``sensor_msgs/Image``.

    ``step`` is the length of a row in bytes, padding included. Raises :class:`InputError` when
    the encoding is unknown or the sizes do not fit together.
    """
    if encoding not in _FORMATS:
        raise InputError(f"unknown image encoding {encoding!r}; known: {', '.join(ENCODINGS)}")
    sample_bytes, channels, convert = _FORMATS[encoding]
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise InputError(f"image of {width} x {height} pixels: sides must be >= 1 and sane")
    row_bytes = width * channels * sample_bytes
    if step < row_bytes:
        raise InputError(
            f"image step is {step} bytes, {encoding} at width {width} needs {row_bytes}"
        )
    samples = np.frombuffer(data, dtype=np.uint8)
    # The last row's padding may be missing: some drivers stop at the last pixel.
    if samples.size < step * (height - 1) + row_bytes:
        raise InputError(
            f"truncated image: {samples.size} bytes, {width} x {height} {encoding} with step "
            f"{step} needs {step * (height - 1) + row_bytes}"
        )
    rows = np.lib.stride_tricks.as_strided(samples, (height, row_bytes), (step, 1), writeable=False)
    pixels = rows.reshape(height, width, channels * sample_bytes)
    if sample_bytes == 2:
        pixels = pixels[..., 0 if big_endian else 1]  # the high byte is the 8-bit value
    return convert(np.ascontiguousarray(pixels))


def compressed_to_rgb(data: bytes | bytearray | memoryview | UInt8) -> UInt8:
    """Return uint8 RGB from a JPEG or PNG file's bytes, or raise :class:`InputError`."""
    encoded = np.frombuffer(data, dtype=np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise InputError(f"{encoded.size} bytes are not an image that can be decoded (JPEG, PNG)")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)
