"""Blocks survive the codec bit for bit, land where their ids say, and touch nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.messages import BlockShards

UInt8 = npt.NDArray[np.uint8]
RNG = np.random.default_rng(3)


def _image(height: int, width: int) -> UInt8:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _reference(target: UInt8, source: UInt8, ids: npt.NDArray[np.int32], block: int) -> UInt8:
    expected = target.copy()
    columns = source.shape[1] // block
    for index in ids.tolist():
        row, column = divmod(index, columns)
        where = np.s_[row * block : (row + 1) * block, column * block : (column + 1) * block]
        expected[where] = source[where]
    return expected


@pytest.mark.parametrize("block", [16, 32])
@pytest.mark.parametrize("size", [(96, 160), (32, 320), (320, 32)], ids=str)
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_blocks_return_exactly_and_others_stay(
    block: int, size: tuple[int, int], kept: float
) -> None:
    source, target = _image(*size), _image(*size)
    every = shard_codec.all_blocks(*size, block)
    chosen = np.sort(RNG.choice(every, int(kept * len(every)), replace=False)).astype(np.int32)
    expected = _reference(target, source, chosen, block)
    shard_codec.decode_into(target, shard_codec.encode(source, chosen, "raw", block))
    np.testing.assert_array_equal(target, expected)


def test_a_view_of_a_larger_image_can_be_encoded() -> None:
    source = _image(64, 200)[:, 5:101]
    target = np.zeros((64, 96, 3), dtype=np.uint8)
    shard_codec.decode_into(target, shard_codec.encode(source, shard_codec.all_blocks(64, 96)))
    np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("count", [6, 3])
def test_the_payload_does_not_follow_later_changes_of_the_image(count: int) -> None:
    image = _image(32, 48)
    shards = shard_codec.encode(image, shard_codec.all_blocks(32, 48)[:count])
    before = shards.payload.copy()
    image[:] = 0
    np.testing.assert_array_equal(shards.payload, before)


@pytest.mark.parametrize("name", ["jpeg", "webp"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 60])
def test_lossy_blocks_land_where_their_ids_say_and_others_stay(name: str, count: int) -> None:
    source, target = _image(96, 160), _image(96, 160)
    source[:] = source[:1, :1] // 2 + np.arange(160, dtype=np.uint8)[None, :, None] // 2
    chosen = np.sort(RNG.choice(60, count, replace=False)).astype(np.int32)
    expected = _reference(target, source, chosen, 16)
    before = target.copy()
    shard_codec.decode_into(target, shard_codec.encode(source, chosen, name))
    changed = np.zeros((96, 160), dtype=np.bool_)
    for index in chosen.tolist():
        row, column = divmod(index, 10)
        changed[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = True
    np.testing.assert_array_equal(target[~changed], before[~changed])
    assert count == 0 or np.abs(target.astype(int) - expected)[changed].mean() < 8


def test_an_unknown_codec_is_named_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'zip'.*raw"):
        shard_codec.encode(_image(32, 32), shard_codec.all_blocks(32, 32), "zip")


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32, 3), np.float32),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32), np.uint8),
        np.zeros((0, 32, 3), np.uint8),
        np.zeros((33, 32, 3), np.uint8),
    ],
    ids=["float", "rgba", "grey", "empty", "odd"],
)
def test_images_of_another_kind_are_refused(image: npt.NDArray[Any]) -> None:
    with pytest.raises(InputError):
        shard_codec.encode(image, np.zeros(1, np.int32))


@pytest.mark.parametrize("ids", [(-1,), (4,), (0, 0), (2, 1), (3, 2, 1, 0)], ids=str)
def test_ids_that_are_not_blocks_of_the_image_in_order_are_refused(ids: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        shard_codec.encode(_image(32, 32), np.array(ids, np.int32))


@pytest.mark.parametrize("size", [0, 767, 769])
def test_a_payload_of_another_length_leaves_the_image_alone(size: int) -> None:
    target = _image(32, 32)
    before = target.copy()
    shards = BlockShards(np.array([1], np.int32), "raw", np.zeros(size, np.uint8))
    with pytest.raises(InputError, match="need 768 bytes"):
        shard_codec.decode_into(target, shards)
    np.testing.assert_array_equal(target, before)


def test_shards_of_a_larger_image_are_refused() -> None:
    shards = shard_codec.encode(_image(64, 64), shard_codec.all_blocks(64, 64))
    with pytest.raises(InputError, match=r"within \[0, 3\]"):
        shard_codec.decode_into(_image(32, 32), shards)


def test_an_image_that_cannot_be_written_in_place_is_refused() -> None:
    shards = shard_codec.encode(_image(32, 32), shard_codec.all_blocks(32, 32))
    with pytest.raises(InputError, match="C-contiguous"):
        shard_codec.decode_into(_image(32, 64)[:, ::2], shards)
