"""Attention equals its reference, bit for bit the same on any number of threads."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxshard_kernels.cpu.attention_kernel import Heads
from fluxshard_kernels.cpu.library import load
from fluxshard_kernels.reference.attention import attend as reference

NAN = float("nan")


def attend(
    heads: Heads, source: torch.Tensor, scale: float, threads: int = 1, *, values: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """The attention and the values; memory is NaN before, so that nothing unwritten passes."""
    kernel = load().attention
    room = torch.full((kernel.room(heads),), NAN)
    shape = heads.cells, heads.out_channels
    out, seen = (torch.full(shape, NAN, dtype=source.dtype) for _ in range(2))
    outputs = out.data_ptr(), seen.data_ptr() if values else None
    half = source.dtype is torch.bfloat16
    kernel.attend(heads, source.data_ptr(), scale, room.data_ptr(), outputs, threads, half=half)
    return out, seen


def noise(heads: Heads, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(heads.cells, heads.channels, generator=generator).to(dtype)


def expected(heads: Heads, source: torch.Tensor, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    return reference(source, heads.count, heads.key, heads.value, scale)


SIZES = st.builds(
    Heads, st.integers(1, 150), st.integers(1, 4), st.integers(1, 40), st.integers(1, 140)
)


@given(heads=SIZES, seed=st.integers(0, 2**31), half=st.booleans(), spread=st.sampled_from([1, 30]))
@example(heads=Heads(405, 4, 32, 64), seed=0, half=False, spread=1)  # yolo11m at 480x864
@example(heads=Heads(1, 1, 1, 1), seed=0, half=True, spread=1)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_attention_equals_the_reference_on_any_number_of_threads(
    heads: Heads, seed: int, half: bool, spread: int
) -> None:
    source = noise(heads, seed, torch.bfloat16 if half else torch.float32)
    scale = spread * heads.key**-0.5
    wanted, seen = expected(heads, source, scale)
    found = [attend(heads, source, scale, threads) for threads in (1, 2, 3)]
    for attended, values in found:
        assert torch.equal(attended, found[0][0])
        assert torch.equal(values.double(), seen)
    # A score's error is that of a sum of floats, and a weight's is the score's times the weight.
    tolerance = 1e-2 if half else 1e-6 * (4 + spread * math.sqrt(heads.key))
    torch.testing.assert_close(found[0][0].double(), wanted, rtol=tolerance, atol=tolerance)


def test_a_query_has_the_same_bits_whichever_queries_there_are_besides() -> None:
    """Exchanged queries exchange outputs, in whatever piece and place each is computed."""
    heads = Heads(101, 1, 16, 20)
    source = noise(heads, 3)
    order = torch.randperm(101, generator=torch.Generator().manual_seed(4))
    exchanged = source.clone()
    exchanged[:, :16] = source[order, :16]
    before, after = (attend(heads, given, 0.25)[0] for given in (source, exchanged))
    assert torch.equal(before[order], after)
    assert not torch.equal(before, after)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_scores_beyond_what_an_exponential_can_hold_leave_the_highest(sign: float) -> None:
    heads = Heads(50, 2, 8, 24)
    source = noise(heads, 1) * 100
    source[:, :8] = sign * source[:, :8].abs()
    wanted, _ = expected(heads, source, 1.0)
    torch.testing.assert_close(attend(heads, source, 1.0)[0].double(), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_equal_scores_of_any_size_give_the_mean(sign: float) -> None:
    heads = Heads(37, 1, 4, 9)
    source = noise(heads, 2)
    source[:, :8] = 1e4
    source[:, :4] *= sign  # all scores are 4e8, or minus that: also those below the padding's
    wanted = source[:, 8:].double().mean(0).expand(37, 9)
    torch.testing.assert_close(attend(heads, source, 1.0)[0].double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("place", ["query", "key", "value"])
@pytest.mark.parametrize("bad", [NAN, math.inf], ids=["nan", "infinity"])
def test_nan_and_infinity_reach_all_that_reads_them_and_nothing_else(
    dtype: torch.dtype, place: str, bad: float
) -> None:
    heads = Heads(43, 2, 5, 7)
    source = noise(heads, 5, dtype)
    channel = {"query": 17 + 2, "key": 17 + 7, "value": 17 + 10 + 3}[place]  # the second head's
    source[11, channel] = bad
    found = attend(heads, source, 1.0, 2)[0].isfinite()
    assert torch.equal(found, expected(heads, source, 1.0)[0].isfinite())
    if place != "key" or math.isnan(bad):  # a score of minus infinity weighs nothing
        assert int((~found).sum()) == {"query": 7, "key": 7 * 43, "value": 43}[place]


def test_values_are_written_only_where_they_are_wanted() -> None:
    heads = Heads(9, 2, 3, 4)
    source = noise(heads, 6)
    attended, values = attend(heads, source, 1.0, values=False)
    assert values.isnan().all()
    assert torch.equal(attended, attend(heads, source, 1.0)[0])


def test_sizes_that_are_not_positive_are_refused() -> None:
    with pytest.raises(ValueError, match="positive sizes"):
        Heads(4, 0, 8, 8)
