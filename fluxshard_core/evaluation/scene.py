"""A generated street scene: panning textured background, moving objects, exact ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.evaluation import sprites
from fluxshard_core.frame import Frame

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class MovingObject:
    """A sprite, its centre in the first frame and its own velocity, all in image pixels."""

    name: str
    picture: UInt8
    x: float
    y: float
    dx: float
    dy: float

    def box(self, number: int) -> tuple[float, float, float, float]:
        """Return ``x1, y1, x2, y2`` in frame ``number``."""
        height, width = self.picture.shape[:2]
        x, y = self.x + self.dx * number, self.y + self.dy * number
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2


class GeneratedScene:
    """``count`` frames of ``height`` x ``width``, the same for the same ``seed``.

    The background moves by ``pan`` pixels a frame (to the left for positive values); every object
    moves by its own velocity.
    """

    def __init__(
        self,
        *,
        height: int = 480,
        width: int = 864,
        count: int = 60,
        pan: float = 3.0,
        fps: float = 24.0,
        seed: int = 0,
    ) -> None:
        self.name = "scene"
        self.height, self.width, self.pan, self.fps = height, width, pan, fps
        self.count: int | None = count
        self._frames = count
        canvas_width = width + int(np.ceil(abs(pan) * count)) + 2
        self._canvas = _background(height, canvas_width, np.random.default_rng(seed))
        self.objects = _objects(height, width, count)

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self._frames):
            yield Frame(self.render(number), round(number * 1e9 / self.fps), number)

    def render(self, number: int) -> UInt8:
        """Return frame ``number`` as uint8 RGB ``(height, width, 3)``."""
        left = self.pan * number if self.pan >= 0 else -self.pan * (self._frames - number)
        shift = np.array([[1, 0, -left], [0, 1, 0]], dtype=np.float64)
        size = (self.width, self.height)
        image = np.asarray(
            cv2.warpAffine(self._canvas, shift, size, flags=cv2.INTER_LINEAR), dtype=np.uint8
        )
        for thing in self.objects:
            _paste(image, thing, number)
        return image


def _paste(image: UInt8, thing: MovingObject, number: int) -> None:
    """Blend an RGBA sprite into ``image`` at a sub-pixel position, in place."""
    x1, y1, _, _ = thing.box(number)
    shift = np.array([[1, 0, x1], [0, 1, y1]], dtype=np.float64)
    height, width = image.shape[:2]
    layer = cv2.warpAffine(thing.picture, shift, (width, height), flags=cv2.INTER_LINEAR)
    alpha = layer[..., 3:].astype(np.float32) / 255.0
    image[:] = np.rint(image * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)


def _objects(height: int, width: int, count: int) -> tuple[MovingObject, ...]:
    """Objects a COCO detector knows, crossing the scene at different speeds."""
    unit = height / 480
    span = 1.0 / max(count, 1)
    return (
        MovingObject(
            "stop sign",
            sprites.stop_sign(round(130 * unit)),
            0.30 * width,
            0.36 * height,
            0.25 * width * span,
            0.0,
        ),
        MovingObject(
            "sports ball",
            sprites.sports_ball(round(90 * unit)),
            0.85 * width,
            0.72 * height,
            -0.55 * width * span,
            0.04 * height * span,
        ),
        MovingObject(
            "clock",
            sprites.clock(round(110 * unit)),
            0.62 * width,
            0.26 * height,
            -0.08 * width * span,
            0.16 * height * span,
        ),
        MovingObject(
            "traffic light",
            sprites.traffic_light(round(150 * unit)),
            0.10 * width,
            0.50 * height,
            0.06 * width * span,
            0.0,
        ),
    )


def _background(height: int, width: int, rng: np.random.Generator) -> UInt8:
    """A sky over a ground, textured at every scale so that motion can be found anywhere."""
    texture = np.zeros((height, width), dtype=np.float32)
    for cell, weight in ((128, 0.35), (48, 0.25), (16, 0.25), (6, 0.15)):
        rows, cols = height // cell + 2, width // cell + 2
        noise = rng.random((rows, cols), dtype=np.float32)
        texture += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    horizon = round(0.55 * height)
    sky = np.array([150, 185, 225], dtype=np.float32)
    ground = np.array([120, 112, 100], dtype=np.float32)
    base = np.where(np.arange(height)[:, None, None] < horizon, sky, ground)
    image = base * (0.65 + 0.6 * texture[..., None])
    return np.asarray(np.clip(np.rint(image), 0, 255), dtype=np.uint8)
