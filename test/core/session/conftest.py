"""Two engines for all session tests: a plan is captured once for each size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from fluxshard_core.models.detector import Detector
from fluxshard_core.session import Engine


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector.load("yolo11n-seg", random_seed=0)


@pytest.fixture(scope="session")
def engine(detector: Detector) -> Engine:
    return Engine(detector)


@pytest.fixture(scope="session")
def cloud_engine(detector: Detector) -> Engine:
    """For a server in this process: what an engine makes runs on one thread at a time."""
    return Engine(detector)
