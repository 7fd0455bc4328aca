"""The engine of all session tests, which run on one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from fluxshard_core.session import Engine


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def engine(random_engine: Callable[[str], Engine]) -> Engine:
    return random_engine("yolo11n-seg")


@pytest.fixture(scope="session")
def cloud_engine(engine: Engine) -> Engine:
    """That of a server in this process: executors of one engine run on any threads."""
    return engine
