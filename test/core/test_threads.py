"""PyTorch's operators run alone while large ones are shared, and nobody keeps a borrowed number."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from fluxshard_core import threads
from fluxshard_core.threads import compute_threads, computing


@pytest.fixture(autouse=True)
def five_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(5)
    yield
    torch.set_num_threads(before)


def numbers() -> tuple[int, int]:
    return compute_threads(), torch.get_num_threads()


def test_with_compiled_kernels_pytorch_has_one_thread() -> None:
    seen = [numbers()]
    with computing(4):
        seen.append(numbers())
        with computing(2):
            seen.append(numbers())
        seen.append(numbers())
    with pytest.raises(ZeroDivisionError), computing(3):
        raise ZeroDivisionError
    assert [*seen, numbers()] == [(5, 5), (4, 1), (2, 1), (4, 1), (5, 5)]


def test_without_them_pytorch_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "load_if_possible", lambda: None)
    with computing(4):
        assert numbers() == (4, 4)
    assert numbers() == (5, 5)


def test_every_thread_has_its_own_number() -> None:
    seen = []

    def other() -> None:
        torch.set_num_threads(3)
        seen.append(numbers())

    with computing(4):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen == [(3, 3)]
