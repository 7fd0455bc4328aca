"""What the tests of the evaluation share: a small model with random weights, and a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.evaluation.scene import GeneratedScene
from fluxshard_core.models.detector import Detector


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These inputs are tiny: waking a second thread costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def context() -> MethodContext:
    """Random weights; what they find means nothing, but they are sure of it."""
    detector = Detector.load("yolo11n-seg", random_seed=7)
    for convolution in detector.network.class_convolutions():
        assert isinstance(convolution.bias, torch.nn.Parameter)
        convolution.bias.data += 2.0
    return MethodContext(detector, random_seed=7)


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    """Four 64x96 frames of `walk` with annotations of all but the third, as DAVIS 2016 has them."""
    images, annotations = tmp_path / "walk/JPEGImages", tmp_path / "walk/Annotations"
    images.mkdir(parents=True)
    annotations.mkdir()
    for frame in GeneratedScene(height=64, width=96, count=4):
        cv2.imwrite(str(images / f"{frame.number:05d}.jpg"), frame.image[..., ::-1])
        mask = np.zeros((64, 96), dtype=np.uint8)
        mask[10:40, 20:60] = 255
        if frame.number != 2:
            cv2.imwrite(str(annotations / f"{frame.number:05d}.png"), mask)
    return tmp_path / "walk"
