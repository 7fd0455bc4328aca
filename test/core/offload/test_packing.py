"""Maps and motion travel in few bytes, return bit for bit, and never unpack beyond their size."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import block_maps, motion_packing, validation
from fluxshard_core.offload.inflate import deflate, inflate
from fluxshard_core.offload.messages import ShardFrame

Bool = npt.NDArray[np.bool_]
BOX = Letterbox.fit(480, 854)
ROWS, COLS = 30, 54


def _field(vectors: npt.NDArray[np.int16], valid: Bool) -> MotionField:
    return MotionField(np.where(valid[..., None], vectors, 0).astype(np.int16), valid)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("limit", [1, 40, 32768])
def test_any_motion_returns_bit_for_bit(share: float, limit: int) -> None:
    rng = np.random.default_rng(limit)
    vectors = rng.integers(-limit, limit, (ROWS, COLS, 2)).astype(np.int16)
    field = _field(vectors, rng.random((ROWS, COLS)) < share)
    back = motion_packing.unpack(motion_packing.pack(field), BOX, 16)
    np.testing.assert_array_equal(back.vectors, field.vectors)
    np.testing.assert_array_equal(back.valid, field.valid)


def test_a_pan_with_an_object_takes_under_two_hundred_bytes() -> None:
    vectors = np.zeros((ROWS, COLS, 2), dtype=np.int16)
    vectors[..., 0] = 13
    vectors[8:15, 20:30] = (-9, 4)
    field = _field(vectors, np.ones((ROWS, COLS), dtype=np.bool_))
    assert len(motion_packing.pack(field)) < 200


def test_the_motion_of_blocks_that_are_sent_costs_nothing_and_that_of_others_stays() -> None:
    rng = np.random.default_rng(3)
    valid = rng.random((ROWS, COLS)) < 0.9
    field = _field(rng.integers(-40, 40, (ROWS, COLS, 2)).astype(np.int16), valid)
    sent = rng.random((ROWS, COLS)) < 0.5
    thin = motion_packing.without(field, sent)
    np.testing.assert_array_equal(thin.vectors[~sent], field.vectors[~sent])
    np.testing.assert_array_equal(thin.valid[~sent], field.valid[~sent])
    assert not thin.vectors[~thin.valid].any()
    assert len(motion_packing.pack(thin)) < 0.75 * len(motion_packing.pack(field))
    everything = np.ones_like(sent)
    assert len(motion_packing.pack(motion_packing.without(field, everything))) < 40


def _frame(make_frame: Callable[..., ShardFrame], seed: int) -> ShardFrame:
    rng = np.random.default_rng(seed)
    levels = np.maximum.accumulate(rng.random((4, 4, 6)) < 0.2, axis=0)
    ids = tuple(np.flatnonzero(levels[0]).tolist())
    return make_frame(ids=ids, critical=dict(zip((2, 8, 16, 32), levels, strict=True)))


@pytest.mark.parametrize("seed", range(8))
def test_any_maps_return_bit_for_bit(make_frame: Callable[..., ShardFrame], seed: int) -> None:
    frame = _frame(make_frame, seed)
    ids, critical = block_maps.unpack(
        block_maps.pack(frame), frame.letterbox, 16, sorted(frame.critical)
    )
    np.testing.assert_array_equal(ids, frame.shards.ids)
    assert list(critical) == list(frame.critical)
    for stride, blocks in critical.items():
        np.testing.assert_array_equal(blocks, frame.critical[stride])


def test_levels_that_agree_cost_nothing_more(make_frame: Callable[..., ShardFrame]) -> None:
    blocks = np.random.default_rng(1).random((4, 6)) < 0.5
    ids = tuple(np.flatnonzero(blocks).tolist())
    one = block_maps.pack(make_frame(ids=ids, critical={8: blocks}))
    five = block_maps.pack(make_frame(ids=ids, critical=dict.fromkeys((2, 4, 8, 16, 32), blocks)))
    assert len(five) <= len(one) + 4


def test_all_critical_levels_cost_nothing_beside_the_blocks_sent(
    make_frame: Callable[..., ShardFrame],
) -> None:
    """A cloud that computes frames whole is told so in every frame."""
    blocks = np.random.default_rng(1).random((4, 6)) < 0.5
    ids = tuple(np.flatnonzero(blocks).tolist())
    everything = dict.fromkeys((2, 4, 8, 16, 32), np.ones_like(blocks))
    frame = make_frame(ids=ids, critical=everything)
    one = block_maps.pack(make_frame(ids=ids, critical={8: blocks}))
    assert len(block_maps.pack(frame)) <= len(one) + 4
    back, critical = block_maps.unpack(
        block_maps.pack(frame), frame.letterbox, 16, (2, 4, 8, 16, 32)
    )
    np.testing.assert_array_equal(back, ids)
    assert all(level.all() for level in critical.values())


@pytest.mark.parametrize(
    ("strides", "named"),
    [((8,), "bits"), ((2, 4, 8, 16, 32), "bits"), ((16, 8), "ascending"), ((8, 8), "ascending")],
)
def test_maps_of_other_levels_are_refused(
    make_frame: Callable[..., ShardFrame], strides: tuple[int, ...], named: str
) -> None:
    blocks = np.ones((4, 6), dtype=np.bool_)
    frame = make_frame(ids=(), critical={8: blocks, 16: blocks})
    packed = block_maps.pack(frame)
    with pytest.raises(InputError, match=rf"{named}|more than"):
        block_maps.unpack(packed, frame.letterbox, 16, strides)


@pytest.mark.parametrize("strides", [(0,), (193,), (-8,), tuple(range(1, 18))])
def test_strides_no_network_has_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"stride|levels"):
        validation.check_strides(strides)


def test_grids_of_absurdly_many_blocks_are_refused_before_anything_is_allocated() -> None:
    huge = Letterbox(8192, 8192, 8192, 8192, 1.0, 0, 0)
    with pytest.raises(InputError, match="blocks, at most"):
        block_maps.unpack(np.zeros(1, np.uint8), huge, 1, (8,))
    with pytest.raises(InputError, match="blocks, at most"):
        motion_packing.unpack(np.zeros(1, np.uint8), huge, 2)


def test_a_bomb_is_not_decompressed_beyond_the_size_allowed() -> None:
    bomb = deflate(bytes(200_000_000))
    with pytest.raises(InputError, match="more than 1000 bytes"):
        inflate("a bomb", bomb, 1000)


def test_every_truncation_and_anything_behind_the_end_is_refused() -> None:
    packed = deflate(np.random.default_rng(0).bytes(40))
    for end in range(len(packed)):
        with pytest.raises(InputError):
            inflate("a part", packed[:end], 40)
    with pytest.raises(InputError, match="one whole"):
        inflate("two", np.append(packed, np.uint8(0)), 40)


def test_a_stream_of_another_format_is_refused() -> None:
    wrapped = np.frombuffer(zlib.compress(b"with a header"), dtype=np.uint8)
    with pytest.raises(InputError, match="cannot be decompressed"):
        inflate("zlib", wrapped, 100)
    with pytest.raises(InputError, match="plain bytes"):
        inflate("floats", np.zeros(4, np.float32), 100)  # type: ignore[arg-type]
