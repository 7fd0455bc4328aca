"""Who computes alone has all threads, of several each its part, and nobody keeps a borrowed one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
import torch

from fluxshard_core.shared_cores import SharedCores


@pytest.fixture
def six_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("six_threads")
def test_threads_are_divided_among_those_who_compute_and_given_back() -> None:
    cores = SharedCores()
    assert (cores.threads, cores.lanes) == (6, 4)
    seen: list[int] = []

    def compute() -> None:
        torch.set_num_threads(5)
        with cores.taken():
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    with cores.taken():
        seen.append(torch.get_num_threads())
        other = threading.Thread(target=compute)
        other.start()
        other.join()
    with contextlib.suppress(ZeroDivisionError), cores.taken():
        seen.append(torch.get_num_threads())
        raise ZeroDivisionError
    assert seen == [6, 3, 5, 6]
    assert torch.get_num_threads() == 6


def test_more_who_compute_than_threads_get_one_each() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cores = SharedCores()
        with cores.taken(), cores.taken():
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
