"""Forms of a convolution whose last bits differ are found and avoided."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.ops.kernels import ImageKernel
from fluxshard_core.sparse.ops.primitive import Primitive
from fluxshard_core.sparse.ops.stability import Stability


class MoodyKernel(ImageKernel):
    """Adds up as it should in batches of 16 alone, like a library that picks by shape."""

    def __init__(self, primitive: Primitive) -> None:
        super().__init__(primitive)
        self.calls: list[int] = []

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(patches))
        out = super().__call__(patches)
        return out if len(patches) == self.reference_batch else out * (1 + 2**-20)


def primitive() -> Primitive:
    weight = torch.randn((4, 8, 3, 3), generator=torch.Generator().manual_seed(0))
    return Primitive(weight, None)


def test_a_batch_that_adds_up_otherwise_is_computed_in_reference_batches() -> None:
    patches = torch.randn((37, 5, 5, 8), generator=torch.Generator().manual_seed(1))
    expected = torch.cat([primitive().batch(patches[i : i + 1]) for i in range(37)])
    stability, kernel = Stability(), MoodyKernel(primitive())
    assert torch.equal(stability.convolve(kernel, patches), expected)
    kernel.calls.clear()
    assert torch.equal(stability.convolve(kernel, patches), expected)
    assert kernel.calls == [16, 16, 16]


def test_patches_of_zeros_prove_nothing() -> None:
    patches = torch.randn((37, 5, 5, 8), generator=torch.Generator().manual_seed(1))
    expected = torch.cat([primitive().batch(patches[i : i + 1]) for i in range(37)])
    stability, kernel = Stability(), MoodyKernel(primitive())
    stability.convolve(kernel, torch.zeros_like(patches))
    assert torch.equal(stability.convolve(kernel, patches), expected)


def test_a_stable_batch_is_one_call_once_it_is_known() -> None:
    patches = torch.randn((37, 5, 5, 8), generator=torch.Generator().manual_seed(1))

    class Counting(ImageKernel):
        calls = 0

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return super().__call__(batch)

    stability, kernel = Stability(), Counting(primitive())
    first = stability.convolve(kernel, patches)
    before = kernel.calls
    assert torch.equal(stability.convolve(kernel, patches), first)
    assert kernel.calls == before + 1


def test_a_whole_map_that_differs_from_its_tiles_is_found() -> None:
    shape, padding, tile = (1, 20, 20, 8), (1, 1, 1, 1), (3, 3)
    honest = primitive()
    assert Stability().whole_is_stable(honest, ImageKernel(honest), shape, padding, tile)
    other = Primitive(honest.weight * (1 + 2**-20), None)
    assert not Stability().whole_is_stable(other, ImageKernel(honest), shape, padding, tile)
