"""Deep convolutions: their weights are read slice by slice, and no sum is another for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.nodes import Conv
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.threads import computing


def convolved(plan: Plan, dtype: torch.dtype, threads: int) -> torch.Tensor:
    executor = Executor(plan, CompiledBackend(dtype))
    spec = plan.tensors["image"]
    generator = torch.Generator().manual_seed(3)
    frame = torch.randn((1, spec.channels, spec.height, spec.width), generator=generator)
    with computing(threads):
        (out,) = executor.run(frame, None, np.ones((1, 1), dtype=np.bool_)).outputs
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "size", "threads"), [(900, 13, 1), (1800, 5, 3)])
def test_channels_computed_beside_others_have_the_sums_they_have_alone(
    plan_builder: Any, channels: int, size: int, threads: int, dtype: torch.dtype
) -> None:
    """A panel of one vector is cut into slices four times as deep, or not at all."""
    wide = plan_builder(channels, size, size)
    outputs = convolved(wide.build(wide.conv("image", 72)), dtype, threads)
    (node,) = wide.nodes
    assert isinstance(node, Conv)
    assert node.bias is not None
    for first in (0, 16, 68):
        part = slice(first, first + 4)
        narrow = plan_builder(channels, size, size)
        plan = narrow.build(narrow.conv("image", 4))
        (alone,) = narrow.nodes
        alone.weight[:], alone.bias[:] = node.weight[part], node.bias[part]
        assert torch.equal(convolved(plan, dtype, 1), outputs[:, part])
