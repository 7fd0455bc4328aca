"""A window on the scene that follows the camera: every frame is aligned to one reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.baselines.placement import Float64, map_points, translation
from fluxshard_core.models.detections import UInt8
from fluxshard_core.models.letterbox import INPUT_MULTIPLE, PAD_VALUE
from fluxshard_core.motion.source import luma

MARGIN = INPUT_MULTIPLE // 2  # what snapping the window to whole cells can leave on each side
_MAX_POINTS = 400
_BORDER = 8
_MIN_INLIERS = 20
_MIN_INLIER_SHARE = 0.3
_RANSAC_PIXELS = 2.0
_LONGEST_STRAY = MARGIN  # pixels a frame's corner may leave the window before it starts anew


@dataclass(frozen=True, eq=False)
class WindowedFrame:
    """One frame as the network sees it.

    ``image`` is ``(H + 32, W + 32, 3)`` uint8; ``shift`` ``(dx, dy)`` is how far what the window
    still shows moved in it, whole multiples of 32 pixels; ``to_frame`` ``(3, 3)`` takes its pixels
    to the frame's. ``restarted`` says that nothing of the past was kept.
    """

    image: UInt8
    shift: tuple[int, int]
    to_frame: Float64
    restarted: bool


class CameraWindow:
    """Aligns frames by one homography each, as MotionDeltaCNN does (Parger et al., 2023).

    The frame is warped to where the reference saw its content; the window, slightly larger than a
    frame, moves after it in whole cells of the deepest level. What the camera no longer sees keeps
    its last pixels, so it causes no differences.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the reference: the next frame becomes it."""
        self._image: UInt8 = np.zeros((0, 0, 3), dtype=np.uint8)
        self._to_window = translation(MARGIN, MARGIN)

    def add(self, image: UInt8) -> WindowedFrame:
        """Align the next ``(H, W, 3)`` uint8 frame; a new reference starts when that fails."""
        height, width = image.shape[:2]
        if self._image.shape[:2] != (height + 2 * MARGIN, width + 2 * MARGIN):
            return self._restart(image)
        to_window = self._align(image)
        if to_window is None:
            return self._restart(image)
        middle = np.array([[[width / 2, height / 2]]])
        off = map_points(to_window[None], middle)[0, 0] - (middle[0, 0] + MARGIN)
        if not np.isfinite(off).all():
            return self._restart(image)
        dx, dy = (-INPUT_MULTIPLE * np.rint(off / INPUT_MULTIPLE)).astype(int).tolist()
        to_window = translation(dx, dy) @ to_window
        if not _stray(to_window, height, width) <= _LONGEST_STRAY:  # NaN is no alignment either
            return self._restart(image)
        self._image = _moved(self._image, dx, dy)
        self._to_window = to_window
        self._paste(image)
        return self._shown((dx, dy), restarted=False)

    def _restart(self, image: UInt8) -> WindowedFrame:
        height, width = image.shape[:2]
        shape = height + 2 * MARGIN, width + 2 * MARGIN, 3
        self._image = np.full(shape, PAD_VALUE, dtype=np.uint8)
        self._to_window = translation(MARGIN, MARGIN)
        self._paste(image)
        return self._shown((0, 0), restarted=True)

    def _shown(self, shift: tuple[int, int], *, restarted: bool) -> WindowedFrame:
        to_frame = np.asarray(np.linalg.inv(self._to_window), dtype=np.float64)
        return WindowedFrame(self._image.copy(), shift, to_frame, restarted)

    def _paste(self, image: UInt8) -> None:
        """Write what ``image`` shows into the window."""
        height, width = self._image.shape[:2]
        centres = translation(-0.5, -0.5) @ self._to_window @ translation(0.5, 0.5)
        cv2.warpPerspective(
            image,
            centres,
            (width, height),
            dst=self._image,
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )

    def _align(self, image: UInt8) -> Float64 | None:
        """Return the homography from ``image`` to the window, or None if too little agrees."""
        old = luma(self._image)
        new = np.pad(luma(image), MARGIN, mode="edge")
        found: Any = cv2.goodFeaturesToTrack(old, _MAX_POINTS, 0.01, 8, mask=self._inside(image))
        if found is None:
            return None
        points = np.asarray(found, dtype=np.float64).reshape(1, -1, 2)
        padded = translation(MARGIN, MARGIN)
        guess = map_points((padded @ np.linalg.inv(self._to_window))[None], points)[0]
        old_points, start = points[0].astype(np.float32), guess.astype(np.float32)
        new_points, status, _ = cv2.calcOpticalFlowPyrLK(
            old, new, old_points, start, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
        )
        tracked = np.asarray(status).reshape(-1) > 0
        homography = _homography(np.asarray(new_points, np.float32), old_points, tracked)
        return None if homography is None else homography @ padded

    def _inside(self, image: UInt8) -> UInt8:
        """Where the window shows the last frame, away from its border: that is no feature."""
        inner = np.zeros(image.shape[:2], dtype=np.uint8)
        inner[_BORDER:-_BORDER, _BORDER:-_BORDER] = 255
        size = self._image.shape[1], self._image.shape[0]
        return np.asarray(cv2.warpPerspective(inner, self._to_window, size), dtype=np.uint8)


def _homography(
    source: npt.NDArray[np.float32], target: npt.NDArray[np.float32], tracked: npt.NDArray[np.bool_]
) -> Float64 | None:
    if np.count_nonzero(tracked) < _MIN_INLIERS:
        return None
    cv2.setRNGSeed(0)  # RANSAC draws from OpenCV's global generator
    pairs = source[tracked], target[tracked]
    matrix: Any
    matrix, inliers = cv2.findHomography(*pairs, cv2.RANSAC, _RANSAC_PIXELS)
    if matrix is None:
        return None
    agreeing = np.count_nonzero(inliers)
    if agreeing < max(_MIN_INLIERS, _MIN_INLIER_SHARE * len(tracked)):
        return None
    return np.asarray(matrix, dtype=np.float64)


def _moved(image: UInt8, dx: int, dy: int) -> UInt8:
    """Shift ``(H, W, 3)`` by whole pixels; uncovered ones are padding."""
    height, width = image.shape[:2]
    moved = np.full_like(image, PAD_VALUE)
    if abs(dx) < width and abs(dy) < height:
        top, left = max(0, dy), max(0, dx)
        bottom, right = min(height, height + dy), min(width, width + dx)
        moved[top:bottom, left:right] = image[top - dy : bottom - dy, left - dx : right - dx]
    return moved


def _stray(to_window: Float64, height: int, width: int) -> float:
    """How far, in pixels, the frame's corners lie from where an upright frame has them."""
    corners = np.array([[[0, 0], [width, 0], [0, height], [width, height]]], dtype=np.float64)
    placed = map_points(to_window[None], corners) - (corners + MARGIN)
    return float(np.abs(placed).max()) - MARGIN
