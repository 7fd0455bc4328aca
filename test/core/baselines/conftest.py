"""What the tests of the rivals share: a small model with random weights and moving pictures."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.frame import Frame
from fluxshard_core.models.detector import Detector

UInt8 = npt.NDArray[np.uint8]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """These inputs are tiny: waking a second thread costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def context() -> MethodContext:
    """Random weights: what is found means nothing, but any change of the input changes it."""
    return MethodContext(Detector.load("yolo11n-seg", random_seed=7), random_seed=7)


@pytest.fixture(scope="session")
def texture() -> UInt8:
    """A 256x384 RGB picture with detail at several scales, larger than any frame."""
    rng = np.random.default_rng(5)
    picture = np.zeros((256, 384, 3), dtype=np.float32)
    for cell in (64, 16, 6):
        noise = rng.uniform(0, 85, (256 // cell + 2, 384 // cell + 2, 3)).astype(np.float32)
        picture += cv2.resize(noise, (384, 256), interpolation=cv2.INTER_CUBIC)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def pan(texture: UInt8) -> list[Frame]:
    """Five 64x96 frames of a camera that moves 4 pixels right and 2 down a frame."""
    return [
        Frame(
            np.ascontiguousarray(texture[50 + 2 * n : 114 + 2 * n, 60 + 4 * n : 156 + 4 * n]),
            number=n,
        )
        for n in range(5)
    ]


@pytest.fixture(scope="session")
def still(texture: UInt8) -> Frame:
    """One 96x128 frame."""
    return Frame(np.ascontiguousarray(texture[:96, :128]))
