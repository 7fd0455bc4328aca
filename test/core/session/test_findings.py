"""What the policy is told of results: boxes and mask points, in the network's input."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.session.findings import boxes_in_input, mask_points


def test_boxes_go_back_to_where_the_network_saw_them() -> None:
    letterbox = Letterbox.fit(100, 200, (96, 128))
    seen = np.array([[10, 40, 60, 70]], dtype=np.float32)
    original = letterbox.boxes_to_original(seen)
    found = Detections(boxes=original)
    np.testing.assert_allclose(boxes_in_input(found, letterbox), seen, rtol=1e-5)


@pytest.mark.parametrize("side", [(64, 128), (32, 64)], ids=["same size", "half size"])
def test_points_of_a_mask_lie_on_it_every_eight_pixels_of_the_input(side: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(64, 128, side)
    mask = np.zeros((32, 48), dtype=np.bool_)
    mask[:, 16:] = True
    found = Detections(masks=(InstanceMask.pack(24, 8, mask),))
    (points,) = mask_points(found, letterbox) or []
    scale = side[0] / 64
    assert points.min(axis=0).tolist() == [40 * scale, 8 * scale]
    assert sorted(set(np.diff(np.unique(points[:, 0])).tolist())) == [8]
    assert points.max(axis=0)[0] >= 72 * scale - 8


def test_a_mask_the_grid_misses_still_has_a_point() -> None:
    mask = np.zeros((5, 5), dtype=np.bool_)
    mask[3, 3] = True
    found = Detections(masks=(InstanceMask.pack(20, 30, mask),))
    assert mask_points(found, Letterbox.fit(64, 64))[0].tolist() == [[20, 30]]
    assert mask_points(Detections(), Letterbox.fit(64, 64)) is None
