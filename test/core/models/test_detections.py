"""Detections and the best of them."""

from __future__ import annotations

import numpy as np
import pytest

from fluxshard_core.models.detections import Detections


def test_those_above_a_confidence_are_kept_with_all_they_have() -> None:
    found = Detections(
        np.zeros((3, 4), np.float32),
        np.array([0.9, 0.3, 0.05], np.float32),
        np.zeros(3, np.int32),
        keypoints=np.zeros((3, 17, 3), np.float32),
    )
    kept = found.above(0.1)
    assert kept.scores.tolist() == pytest.approx([0.9, 0.3])
    assert len(kept.boxes) == len(kept.class_ids) == len(kept.keypoints) == 2
