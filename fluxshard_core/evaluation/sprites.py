"""RGBA pictures of things a COCO detector knows, drawn four times too large and averaged down."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
_SUPERSAMPLING = 4


def _canvas(height: int, width: int) -> UInt8:
    return np.zeros((height * _SUPERSAMPLING, width * _SUPERSAMPLING, 4), dtype=np.uint8)


def _finished(canvas: UInt8, height: int, width: int) -> UInt8:
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)


def _octagon(centre: float, radius: float) -> npt.NDArray[np.int32]:
    angles = np.pi / 8 + np.arange(8) * np.pi / 4
    points = centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.rint(points).astype(np.int32)


def stop_sign(size: int) -> UInt8:
    """Return a ``(2 * size, size, 4)`` red octagon reading STOP on a grey post."""
    canvas = _canvas(2 * size, size)
    side = size * _SUPERSAMPLING
    post = side // 20
    cv2.rectangle(
        canvas,
        (side // 2 - post, side // 2),
        (side // 2 + post, 2 * side),
        (140, 140, 140, 255),
        -1,
    )
    cv2.fillPoly(canvas, [_octagon(side / 2, side * 0.50)], (245, 245, 245, 255))
    cv2.fillPoly(canvas, [_octagon(side / 2, side * 0.46)], (190, 20, 30, 255))
    scale, thickness = side / 92, max(1, side // 22)
    (text_width, text_height), _ = cv2.getTextSize(
        "STOP", cv2.FONT_HERSHEY_SIMPLEX, scale, thickness
    )
    origin = ((side - text_width) // 2, (side + text_height) // 2)
    cv2.putText(
        canvas,
        "STOP",
        origin,
        cv2.FONT_HERSHEY_SIMPLEX,
        scale,
        (250, 250, 250, 255),
        thickness,
        cv2.LINE_AA,
    )
    return _finished(canvas, 2 * size, size)


def sports_ball(size: int) -> UInt8:
    """Return a ``(size, size, 4)`` shaded basketball."""
    canvas = _canvas(size, size)
    side = size * _SUPERSAMPLING
    rows, cols = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    shade = np.clip(1.15 - 1.2 * np.hypot(cols + 0.15, rows + 0.15), 0.3, 1.0)[..., None]
    canvas[..., :3] = (np.array([225, 120, 45], dtype=np.float32) * shade).astype(np.uint8)
    line, half = max(1, side // 40), side // 2
    ink = (40, 25, 15, 255)
    cv2.line(canvas, (half, 0), (half, side), ink, line)
    cv2.line(canvas, (0, half), (side, half), ink, line)
    for centre in (-side // 8, side + side // 8):
        cv2.ellipse(canvas, (centre, half), (side // 3, side // 2), 0, 0, 360, ink, line)
    canvas[..., 3] = np.where(np.hypot(cols, rows) < 0.495, 255, 0)
    return _finished(canvas, size, size)


def clock(size: int) -> UInt8:
    """Return a ``(size, size, 4)`` wall clock at ten past ten."""
    canvas = _canvas(size, size)
    side = size * _SUPERSAMPLING
    middle = (side // 2, side // 2)
    cv2.circle(canvas, middle, round(side * 0.49), (35, 30, 30, 255), -1)
    cv2.circle(canvas, middle, round(side * 0.44), (248, 246, 238, 255), -1)
    for hour in range(1, 13):
        angle = np.pi / 6 * hour - np.pi / 2
        text, scale = str(hour), side / 400
        (width, height), _ = cv2.getTextSize(
            text, cv2.FONT_HERSHEY_SIMPLEX, scale, max(1, side // 100)
        )
        x = side / 2 + side * 0.36 * np.cos(angle) - width / 2
        y = side / 2 + side * 0.36 * np.sin(angle) + height / 2
        cv2.putText(
            canvas,
            text,
            (round(x), round(y)),
            cv2.FONT_HERSHEY_SIMPLEX,
            scale,
            (20, 20, 20, 255),
            max(1, side // 100),
            cv2.LINE_AA,
        )
    for turns, length, width in (
        (10 / 12 + 10 / 720, 0.22, max(1, side // 30)),
        (10 / 60, 0.31, max(1, side // 45)),
    ):
        angle = 2 * np.pi * turns - np.pi / 2
        tip = (
            round(side / 2 + side * length * np.cos(angle)),
            round(side / 2 + side * length * np.sin(angle)),
        )
        cv2.line(canvas, middle, tip, (20, 20, 20, 255), width, cv2.LINE_AA)
    return _finished(canvas, size, size)


def traffic_light(size: int) -> UInt8:
    """Return a ``(size, size // 2, 4)`` traffic light showing red."""
    width = size // 2
    canvas = _canvas(size, width)
    high, wide = canvas.shape[:2]
    cv2.rectangle(canvas, (wide // 12, 0), (wide - wide // 12, high), (38, 40, 38, 255), -1)
    lamps = ((235, 40, 35, 255), (80, 65, 25, 255), (25, 70, 40, 255))
    for index, colour in enumerate(lamps):
        centre = (wide // 2, round(high * (0.19 + 0.31 * index)))
        cv2.circle(canvas, centre, round(wide * 0.30), (15, 15, 15, 255), -1)
        cv2.circle(canvas, centre, round(wide * 0.26), colour, -1)
    return _finished(canvas, size, width)
