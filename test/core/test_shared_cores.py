"""Who computes alone has all threads if the work is worth it, of several each has its part."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import pytest
import torch

from fluxshard_core.shared_cores import MAX_LANES, SharedCores
from fluxshard_core.threads import compute_threads

MUCH = 1e12


@pytest.fixture
def six_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("six_threads")
def test_threads_are_divided_among_those_who_compute_and_given_back() -> None:
    cores = SharedCores()
    assert (cores.threads, cores.lanes) == (6, MAX_LANES)
    seen: list[int] = []

    def compute() -> None:
        torch.set_num_threads(5)
        with cores.lane():
            seen.append(compute_threads())
            with cores.wide(MUCH):
                seen.append(compute_threads())
            seen.append(compute_threads())
        seen.append(compute_threads())

    with cores.lane(), cores.wide(MUCH):
        seen.append(compute_threads())
        other = threading.Thread(target=compute)
        other.start()
        other.join()
    assert seen == [6, 1, 3, 1, 5]
    with contextlib.suppress(ZeroDivisionError), cores.lane(), cores.wide(MUCH):
        raise ZeroDivisionError
    with cores.lane(), cores.wide(MUCH):
        assert compute_threads() == 6
    assert compute_threads() == 6


@pytest.mark.usefixtures("six_threads")
@pytest.mark.parametrize(("work", "threads"), [(0, 1), (199, 1), (200, 2), (450, 4), (1e9, 6)])
def test_little_work_gets_few_threads(work: float, threads: int) -> None:
    cores = SharedCores(worth_a_thread=100)
    with cores.lane(), cores.wide(work):
        assert compute_threads() == threads


@pytest.mark.usefixtures("six_threads")
def test_more_who_compute_than_threads_get_one_each() -> None:
    cores = SharedCores()
    with contextlib.ExitStack() as lanes:
        for _ in range(8):
            lanes.enter_context(cores.lane())
        with cores.wide(MUCH):
            assert compute_threads() == 1
