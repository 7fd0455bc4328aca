"""One look at outputs, in compiled code, against PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.models import survey as module
from fluxshard_core.models.survey import survey, survey_plainly
from fluxshard_core.threads import computing
from fluxshard_kernels.cpu.library import load


@pytest.fixture(scope="module", autouse=True)
def compiled() -> Iterator[list[int]]:
    """The kernels are there; how many maps they looked at."""
    load()
    calls: list[int] = []
    before = module._survey_compiled

    def counted(library: Any, cells: Any, peaked: Any) -> Any:
        calls.append(len(cells))
        return before(library, cells, peaked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_survey_compiled", counted)
        yield calls


def output(channels: int, height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, height, width, channels, generator=generator).permute(0, 3, 1, 2)


@given(
    sizes=st.lists(
        st.tuples(st.integers(1, 100), st.integers(1, 40), st.integers(1, 40)), max_size=4
    ),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_peaks_are_those_of_pytorch(
    compiled: list[int], sizes: list[tuple[int, int, int]], threads: int, seed: int
) -> None:
    outputs = [output(*size, seed + i) - 3.0 for i, size in enumerate(sizes)]
    peaked = range(0, len(outputs), 2)
    looks = len(compiled)
    with computing(threads):
        seen = survey(outputs, peaked)
    assert len(compiled) == looks + 1
    for one, plain in zip(seen, survey_plainly(outputs, peaked), strict=True):
        assert one.finite
        assert plain.finite
        assert (one.peaks is None) == (plain.peaks is None)
        if one.peaks is not None:
            np.testing.assert_array_equal(one.peaks, plain.peaks)


@given(
    channels=st.integers(1, 40),
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_strange_number_anywhere_is_seen(channels: int, value: float, seed: int) -> None:
    outputs = [output(channels, 9, 13, seed + i) for i in range(3)]
    at = torch.randint(outputs[1].numel(), (1,), generator=torch.Generator().manual_seed(seed))
    outputs[1].permute(0, 2, 3, 1).reshape(-1)[at] = value
    for peaked in ((), (0, 1, 2)):
        for look in (survey, survey_plainly):
            assert [one.finite for one in look(outputs, peaked)] == [True, False, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_in_other_layouts_and_types_are_seen_alike(dtype: torch.dtype) -> None:
    image = output(80, 6, 9, 1).to(dtype)
    (wanted,) = survey_plainly([image], [0])
    for form in (image, image.contiguous()):
        (found,) = survey([form], [0])
        assert found.finite
        assert found.peaks is not None
        np.testing.assert_array_equal(found.peaks, wanted.peaks)
    assert survey([image], [])[0].peaks is None
