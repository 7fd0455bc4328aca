"""Names of levels: distinct, within a byte, and telling what they name."""

from __future__ import annotations

import pytest

from fluxshard_core.reuse.level_keys import (
    head_key,
    is_head,
    is_trunk,
    shape_key,
    source_of,
    stride_of,
)

STRIDES = (1, 2, 4, 8, 16, 32, 64)


def test_no_two_parts_share_a_name_and_each_fits_a_byte() -> None:
    keys = [make(stride) for stride in STRIDES for make in (int, head_key, shape_key)]
    assert len(set(keys)) == len(keys)
    assert max(keys) <= 255


@pytest.mark.parametrize("stride", STRIDES)
def test_a_name_tells_its_stride_and_kind(stride: int) -> None:
    for key in (stride, head_key(stride), shape_key(stride)):
        assert stride_of(key) == stride
    assert [is_trunk(key) for key in (stride, head_key(stride), shape_key(stride))] == [1, 0, 0]
    assert [is_head(key) for key in (stride, head_key(stride), shape_key(stride))] == [0, 1, 0]


def test_a_branch_starts_from_the_trunk() -> None:
    keys = (1, 2, 4, 8, 16, 32, head_key(8), shape_key(4))
    assert source_of(head_key(8), keys) == 8
    assert source_of(shape_key(4), keys) == 8
