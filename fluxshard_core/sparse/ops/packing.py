"""PackedWeights: convolution weights in the orders that the library wants them."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

MAX_ORDERS = 4
_SLOW = 2.5  # times the best rate seen: more than any honest difference between batch sizes
_EQUAL = 1.3

Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class PackedWeights:
    """Weights reordered once instead of in every call.

    The library picks the order by the shape of the input, without saying which. Weights in another
    order are still right, but are reordered in every call by a slow path: up to ten times the cost
    of the convolution. A shape whose second call is far slower per cell than others therefore gets
    weights packed for itself; few orders exist, so few copies are made. The order never changes
    the result.
    """

    def __init__(self, pack: Callable[[torch.Tensor], torch.Tensor], call: Call) -> None:
        self._pack, self._call = pack, call
        self.orders: list[torch.Tensor] = []
        self._met: set[torch.Size] = set()
        self._chosen: dict[torch.Size, torch.Tensor] = {}
        self._best_rate = 0.0

    def convolve(self, images: torch.Tensor) -> torch.Tensor:
        """Convolve ``(n, C, h, w)``, channels-last in memory."""
        shape = images.shape
        if (weights := self._chosen.get(shape)) is not None:
            return self._call(images, weights)
        if not self.orders:
            self.orders.append(self._pack(images))
        if shape not in self._met:
            self._met.add(shape)  # the first call also builds the primitive: its time says nothing
            return self._call(images, self.orders[0])
        return self._choose(images)

    def _choose(self, images: torch.Tensor) -> torch.Tensor:
        out, elapsed = self._timed(images, self.orders[0])
        cells = images.shape[0] * images.shape[2] * images.shape[3]
        chosen = self.orders[0]
        if cells / elapsed * _SLOW < self._best_rate:
            chosen, elapsed = self._repack(images, elapsed)
        self._best_rate = max(self._best_rate, cells / elapsed)
        self._chosen[images.shape] = chosen
        return out

    def _repack(self, images: torch.Tensor, first: float) -> tuple[torch.Tensor, float]:
        fresh = self._pack(images)
        _, wanted = self._timed(images, fresh)
        times = [first, *(self._timed(images, order)[1] for order in self.orders[1:])]
        for order, elapsed in zip(self.orders, times, strict=True):
            if elapsed <= wanted * _EQUAL:
                return order, elapsed
        if len(self.orders) < MAX_ORDERS:
            self.orders.append(fresh)
            return fresh, wanted
        fastest = min(range(len(times)), key=times.__getitem__)
        return self.orders[fastest], times[fastest]

    def _timed(self, images: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
        started = time.perf_counter()
        out = self._call(images, weights)
        return out, max(time.perf_counter() - started, 1e-9)
