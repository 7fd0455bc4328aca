"""Detectors shared by the tests of this room: seeded random weights, and the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from fluxshard_core.models.detector import Detector


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are tiny: waking a second thread costs more than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def random_detector() -> Callable[[str], Detector]:
    """Load a model with random weights, once per name."""
    return cache(lambda name: Detector.load(name, random_seed=7))


@pytest.fixture(scope="session")
def scene() -> npt.NDArray[np.uint8]:
    """A 160x224 RGB image with structure at several scales."""
    generator = np.random.default_rng(3)
    image = np.zeros((160, 224, 3), dtype=np.float32)
    for cells in (4, 16, 80):
        coarse = generator.uniform(0, 85, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (224, 160), interpolation=cv2.INTER_NEAREST)
    return image.astype(np.uint8)


@pytest.fixture(scope="session")
def weights_directory(fluxshard_home: Path) -> Path:
    """The directory of the real weights, absolute."""
    return fluxshard_home / "weights"


@pytest.fixture(scope="session")
def street(fluxshard_home: Path) -> npt.NDArray[np.uint8]:
    """A real 854x480 RGB frame with persons."""
    path = fluxshard_home / "data/davis/soapbox/JPEGImages/00010.jpg"
    image = cv2.imread(str(path))
    assert image is not None, path
    return np.ascontiguousarray(image[:, :, ::-1])
