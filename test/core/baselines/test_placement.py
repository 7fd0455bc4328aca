"""Boxes, masks and keypoints under transforms, by hand."""

from __future__ import annotations

import numpy as np

from fluxshard_core.baselines.placement import place, to_original, translation
from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox

ELL = np.array([[True, False], [True, True], [True, True]])


def one(masks: bool = True) -> Detections:
    return Detections(
        np.array([[4, 6, 6, 9]], dtype=np.float32),
        np.array([0.5], dtype=np.float32),
        np.array([3], dtype=np.int32),
        (InstanceMask.pack(4, 6, ELL),) if masks else None,
        np.array([[[5, 7, 0.8]]], dtype=np.float32),
    )


def whole(mask: InstanceMask, height: int, width: int) -> np.typing.NDArray[np.bool_]:
    frame = np.zeros((height, width), dtype=np.bool_)
    frame[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width] = mask.unpack()
    return frame


def test_staying_changes_nothing() -> None:
    placed = place(one(), np.eye(3)[None], 20, 20)
    assert np.array_equal(placed.boxes, one().boxes)
    assert placed.masks is not None
    assert np.array_equal(placed.masks[0].unpack(), ELL)


def test_a_shift_moves_box_mask_and_keypoints() -> None:
    placed = place(one(), translation(3, -2)[None], 20, 20)
    assert placed.boxes.tolist() == [[7, 4, 9, 7]]
    assert placed.masks is not None
    expected = np.zeros((20, 20), dtype=np.bool_)
    expected[4:7, 7:9] = ELL
    assert np.array_equal(whole(placed.masks[0], 20, 20), expected)
    assert placed.keypoints is not None
    assert np.allclose(placed.keypoints, [[[8, 5, 0.8]]])
    assert placed.class_ids.tolist() == [3]


def test_what_leaves_the_image_is_cut_off() -> None:
    placed = place(one(), translation(-5, 0)[None], 20, 20)
    assert placed.boxes.tolist() == [[0, 6, 1, 9]]
    assert placed.masks is not None
    assert whole(placed.masks[0], 20, 20).sum() == 2, "the column of two cells is left"
    gone = place(one(), translation(100, 0)[None], 20, 20)
    assert gone.masks is not None
    assert gone.masks[0].unpack().size == 0


def test_a_zoom_doubles_areas() -> None:
    placed = place(one(), np.diag([2.0, 2.0, 1.0])[None], 40, 40)
    assert placed.boxes.tolist() == [[8, 12, 12, 18]]
    assert placed.masks is not None
    assert whole(placed.masks[0], 40, 40).sum() == 4 * ELL.sum()


def test_nothing_found_stays_nothing() -> None:
    assert len(place(Detections(), np.zeros((0, 3, 3)), 20, 20)) == 0


def test_network_input_maps_back_as_the_letterbox_does() -> None:
    letterbox = Letterbox.fit(100, 150, (192, 192))
    points = np.array([[40.0, 60.0], [100.0, 120.0]], dtype=np.float32)
    mapped = points @ to_original(letterbox)[:2, :2].T + to_original(letterbox)[:2, 2]
    assert np.allclose(mapped, letterbox.points_to_original(points), atol=1e-3)
