"""Detections drawn over the image, for people who would rather look."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.models.detections import Detections, InstanceMask

UInt8 = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MASK_OPACITY = 0.45
_KEYPOINT_CONFIDENCE = 0.5
_HUE_STEP = 31  # of OpenCV's 180 hues, coprime with them: neighbouring classes differ clearly


def class_colour(class_id: int) -> Colour:
    """Return the RGB colour of a class, the same in every frame and every process."""
    hue = class_id * _HUE_STEP % 180
    red, green, blue = cv2.cvtColor(
        np.array([[[hue, 200, 240]]], dtype=np.uint8), cv2.COLOR_HSV2RGB
    )[0, 0]
    return int(red), int(green), int(blue)


def draw(
    image: UInt8, detections: Detections, class_names: Sequence[str], caption: str = ""
) -> UInt8:
    """Return a copy of uint8 RGB ``image`` with masks, boxes, labels, keypoints and a caption."""
    canvas = image.copy()
    for index in range(len(detections)):
        colour = class_colour(int(detections.class_ids[index]))
        if detections.masks is not None:
            _tint(canvas, detections.masks[index], colour)
        _box(canvas, detections, index, colour, class_names)
        if detections.keypoints is not None:
            _points(canvas, detections.keypoints[index], colour)
    if caption:
        _label(canvas, caption, 0, 0, (40, 40, 40))
    return canvas


def _tint(canvas: UInt8, mask: InstanceMask, colour: Colour) -> None:
    region = canvas[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
    inside = mask.unpack()
    blended = region[inside] * (1 - _MASK_OPACITY) + np.array(colour) * _MASK_OPACITY
    region[inside] = np.rint(blended).astype(np.uint8)


def _box(
    canvas: UInt8, found: Detections, index: int, colour: Colour, class_names: Sequence[str]
) -> None:
    x1, y1, x2, y2 = (round(float(side)) for side in found.boxes[index])
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
    class_id = int(found.class_ids[index])
    name = class_names[class_id] if class_id < len(class_names) else str(class_id)
    _label(canvas, f"{name} {found.scores[index]:.2f}", x1, y1 - 18, colour)


def _label(canvas: UInt8, text: str, x: int, y: int, colour: Colour) -> None:
    """Write ``text`` on a filled box whose top-left corner is ``(x, y)``, kept inside."""
    (width, height), _ = cv2.getTextSize(text, _FONT, 0.5, 1)
    x = max(0, min(x, canvas.shape[1] - width - 6))
    y = max(0, y)
    cv2.rectangle(canvas, (x, y), (x + width + 6, y + height + 8), colour, -1)
    ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
    cv2.putText(canvas, text, (x + 3, y + height + 3), _FONT, 0.5, ink, 1, cv2.LINE_AA)


def _points(canvas: UInt8, keypoints: npt.NDArray[np.float32], colour: Colour) -> None:
    for x, y, confidence in keypoints:
        if confidence >= _KEYPOINT_CONFIDENCE:
            cv2.circle(canvas, (round(float(x)), round(float(y))), 3, colour, -1, cv2.LINE_AA)
