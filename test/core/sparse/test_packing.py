"""Packed weights: right in any order, repacked where an order is slow, never without bound."""

from __future__ import annotations

import time

import torch

from fluxshard_core.sparse.ops.packing import MAX_ORDERS, PackedWeights


class Library:
    """Wants another order of weights for every height of the image, and is slow without it."""

    def __init__(self) -> None:
        self.packed: list[int] = []
        self.slow_calls = 0

    def pack(self, images: torch.Tensor) -> torch.Tensor:
        self.packed.append(images.shape[2])
        return torch.tensor(images.shape[2])

    def call(self, images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        suited = int(weights) == images.shape[2]
        self.slow_calls += not suited
        time.sleep(0.001 if suited else 0.02)
        return images * 2


def image(height: int) -> torch.Tensor:
    return torch.ones(1, 1, height, 64 // height)


def test_a_shape_that_is_slow_gets_its_own_order() -> None:
    library = Library()
    weights = PackedWeights(library.pack, library.call)
    for _ in range(3):
        assert torch.equal(weights.convolve(image(1)), image(1) * 2)
    for _ in range(3):
        assert torch.equal(weights.convolve(image(2)), image(2) * 2)
    library.slow_calls = 0
    weights.convolve(image(1))
    weights.convolve(image(2))
    assert library.slow_calls == 0
    assert library.packed == [1, 2]


def test_the_number_of_orders_is_bounded() -> None:
    library = Library()
    weights = PackedWeights(library.pack, library.call)
    for height in (1, 2, 4, 8, 16, 32, 64):
        for _ in range(3):
            assert torch.equal(weights.convolve(image(height)), image(height) * 2)
    assert len(weights.orders) == MAX_ORDERS
