"""Images whose motion is known exactly, and streams made of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest

HEIGHT, WIDTH = 128, 192


def _texture(seed, waves=24):
    """Return a function of real coordinates: a sum of sine waves, so any shift is exact."""
    rng = np.random.default_rng(seed)
    frequency = np.exp(rng.uniform(np.log(0.05), np.log(0.7), waves))
    angle, phase = rng.uniform(0, 2 * np.pi, (2, waves))
    amplitude = frequency**-0.5
    amplitude *= 60 / np.sqrt((amplitude**2).sum() / 2)

    def luma(x, y):
        total = np.full(np.broadcast(x, y).shape, 128.0)
        for k, a, p, h in zip(frequency, angle, phase, amplitude, strict=True):
            total += h * np.sin(k * (x * np.cos(a) + y * np.sin(a)) + p)
        return total

    return luma


def _rgb(luma):
    image = np.clip(np.rint(luma), 0, 255).astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2)


@pytest.fixture
def texture() -> Callable:
    """Return ``make(seed) -> luma(x, y)``."""
    return _texture


@pytest.fixture
def rgb() -> Callable:
    """Return the conversion of a real-valued luma plane to a uint8 RGB image."""
    return _rgb


@pytest.fixture
def pan() -> Callable:
    """Return ``make(vector, count, seed, size)``: images moving by ``vector`` (dx, dy) a frame."""

    def make(vector, count=4, seed=3, size=(HEIGHT, WIDTH)):
        y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float64)
        luma = _texture(seed)
        return [_rgb(luma(x - vector[0] * t, y - vector[1] * t)) for t in range(count)]

    return make


@pytest.fixture
def encode() -> Callable:
    """Return ``make(images, encoder, **options) -> packets``, Annex B bytes in coding order."""

    def make(images, encoder="libx264", pix_fmt="yuv420p", **options):
        context = av.CodecContext.create(encoder, "w")
        context.height, context.width = images[0].shape[:2]
        context.pix_fmt = pix_fmt
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.thread_count = 1
        if encoder == "libx265":
            options["x265-params"] = f"log-level=none:pools=1:{options.pop('params', '')}"
        else:
            options["x264-params"] = f"log-level=none:{options.pop('params', '')}"
        context.options = {"crf": "8", "preset": "veryfast", **options}
        packets = []
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = index
            packets += context.encode(frame)
        return [bytes(packet) for packet in packets + context.encode(None)]

    return make
