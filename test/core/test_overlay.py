"""The overlay shows masks, boxes and labels where they are and leaves the image alone."""

import numpy as np

from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.overlay import class_colour, draw


def test_masks_and_boxes_are_drawn_in_their_class_colour() -> None:
    image = np.full((120, 160, 3), 90, dtype=np.uint8)
    mask = np.zeros((30, 40), dtype=np.bool_)
    mask[10:20, 10:30] = True
    found = Detections(
        boxes=np.array([[50, 60, 90, 90]], dtype=np.float32),
        scores=np.array([0.9], dtype=np.float32),
        class_ids=np.array([2], dtype=np.int32),
        masks=(InstanceMask.pack(50, 60, mask),),
    )
    drawn = draw(image, found, ["a", "b", "c"])
    assert (image == 90).all(), "the input is not touched"
    assert tuple(drawn[75, 50]) == class_colour(2), "the box's edge"
    tinted = np.rint(90 * 0.55 + np.array(class_colour(2)) * 0.45)
    assert np.abs(drawn[75, 70] - tinted).max() <= 1, "inside the mask"
    assert (drawn[65, 70] == 90).all(), "inside the box, outside the mask"
    assert (drawn[110, 20] == 90).all(), "elsewhere"


def test_boxes_that_leave_the_image_and_unknown_classes_are_drawn() -> None:
    image = np.zeros((40, 40, 3), dtype=np.uint8)
    found = Detections(
        boxes=np.array([[-30, -30, 90, 90]], dtype=np.float32),
        scores=np.array([0.5], dtype=np.float32),
        class_ids=np.array([99], dtype=np.int32),
        keypoints=np.array([[[-5, 500, 1.0], [20, 20, 1.0]]], dtype=np.float32),
    )
    assert draw(image, found, ["a"], "edge").any()
