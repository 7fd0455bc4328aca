"""What the policy is told of results, boxes in the network's input."""

from __future__ import annotations

import numpy as np

from fluxshard_core.models.detections import Detections
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.session.findings import boxes_in_input


def test_boxes_go_back_to_where_the_network_saw_them() -> None:
    letterbox = Letterbox.fit(100, 200, (96, 128))
    seen = np.array([[10, 40, 60, 70]], dtype=np.float32)
    original = letterbox.boxes_to_original(seen)
    found = Detections(boxes=original)
    np.testing.assert_allclose(boxes_in_input(found, letterbox), seen, rtol=1e-5)
