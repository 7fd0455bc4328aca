"""`motion_deltacnn`: the window that follows the camera, and deltas inside it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fluxshard_core.baselines.camera_window import MARGIN, CameraWindow
from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.deltacnn import DeltaCnn
from fluxshard_core.baselines.edge_only import EdgeOnly
from fluxshard_core.baselines.motion_deltacnn import MotionDeltaCnn
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import UInt8


def view(texture: UInt8, x: int, y: int, height: int = 96, width: int = 160) -> UInt8:
    return np.ascontiguousarray(texture[y : y + height, x : x + width])


def test_the_first_frame_stands_in_the_middle_of_the_window(texture: UInt8) -> None:
    image = view(texture, 0, 0)
    shown = CameraWindow().add(image)
    assert shown.restarted
    assert shown.image.shape == (96 + 2 * MARGIN, 160 + 2 * MARGIN, 3)
    assert np.array_equal(shown.image[MARGIN:-MARGIN, MARGIN:-MARGIN], image)
    assert shown.to_frame @ [MARGIN, MARGIN, 1] == pytest.approx([0, 0, 1])


def test_a_pan_moves_the_window_in_whole_cells_and_its_content_stays(texture: UInt8) -> None:
    window = CameraWindow()
    travelled = np.zeros(2, dtype=int)
    for x in range(0, 60, 12):
        shown = window.add(view(texture, x, 0))
        assert shown.restarted == (x == 0)
        travelled += shown.shift
        assert travelled[0] % 32 == 0
        assert abs(x + travelled[0]) <= MARGIN
        # A pixel of the window shows the texture where it was first seen.
        left = MARGIN + x + travelled[0]
        seen = shown.image[MARGIN + 4 : -MARGIN - 4, left + 4 : left + 156].astype(int)
        assert np.abs(seen - view(texture, x + 4, 4, 88, 152)).mean() < 4
        point = shown.to_frame @ [left + 50, MARGIN + 40, 1]
        assert point[:2] / point[2] == pytest.approx([50, 40], abs=1.0)
    assert travelled.tolist() == [-32, 0]


def test_a_rotation_is_aligned(texture: UInt8) -> None:
    window = CameraWindow()
    window.add(view(texture, 100, 80))
    turn = cv2.getRotationMatrix2D((180, 128), 3.0, 1.0)
    turned = np.asarray(cv2.warpAffine(texture, turn, (384, 256)), dtype=np.uint8)
    shown = window.add(view(turned, 100, 80))
    assert not shown.restarted
    inner = slice(MARGIN + 12, -MARGIN - 12)
    difference = np.abs(shown.image[inner, inner].astype(int) - view(texture, 112, 92, 72, 136))
    assert difference.mean() < 4


def test_a_cut_and_a_change_of_size_start_a_new_reference(texture: UInt8) -> None:
    window = CameraWindow()
    window.add(view(texture, 0, 0))
    noise = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    assert window.add(noise).restarted
    assert window.add(view(texture, 0, 0, 64, 96)).restarted


def test_a_pan_changes_fewer_pixels_than_at_fixed_coordinates(
    context: MethodContext, pan: list[Frame]
) -> None:
    fixed, following = DeltaCnn(context), MotionDeltaCnn(context)
    # With a border, so that both methods see pictures of one size.
    bordered = [Frame(np.pad(frame.image, ((16, 16), (16, 16), (0, 0)))) for frame in pan]
    at_fixed = [1 - fixed.process(frame).reuse_ratio for frame in bordered]
    while_following = [1 - following.process(frame).reuse_ratio for frame in pan]
    assert sum(while_following[1:]) < 0.6 * sum(at_fixed[1:])


def test_results_come_back_to_the_frames_own_pixels(
    context: MethodContext, pan: list[Frame]
) -> None:
    """Without thresholds the window's inference is dense; away from its border it agrees."""
    method = MotionDeltaCnn(context, 0.0, 0.0)
    results = [method.process(frame) for frame in pan[:2]]
    window = np.pad(pan[0].image, ((16, 16), (16, 16), (0, 0)), constant_values=114)
    expected = EdgeOnly(context).process(Frame(window)).detections
    boxes = (expected.boxes - 16).clip(0, [96, 64, 96, 64])
    assert np.allclose(results[0].detections.boxes, boxes, atol=0.05)
    assert results[0].compute_ratio > 1.0, "the window is larger than the frame"


def test_a_still_camera_changes_next_to_nothing(context: MethodContext, pan: list[Frame]) -> None:
    method = MotionDeltaCnn(context)
    method.process(pan[0])
    repeated = method.process(pan[0])
    assert repeated.reuse_ratio > 0.99
    assert repeated.compute_ratio < 0.5
