"""Both ends hold the same image after every frame, whatever the codec lost and the link dropped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload import limits
from fluxshard_core.offload.messages import BlockShards
from fluxshard_core.offload.proxy import ProxyDecoder, ProxyEncoder

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

HEIGHT, WIDTH = 96, 160
GRID = (HEIGHT // 16, WIDTH // 16)
EVERYTHING = np.ones(GRID, dtype=np.bool_)
NOTHING = np.zeros(GRID, dtype=np.bool_)
BLANK = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
CODECS = [("raw", None), ("jpeg", 60), ("webp", 60), ("h264", 30), ("h264", 12)]

each_codec = pytest.mark.parametrize(
    ("codec", "quality"), CODECS, ids=lambda value: str(value) if value else "default"
)


def _scene(seed: int) -> Iterator[UInt8]:
    """A smooth coloured pattern that drifts, with some noise: video to a codec."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    for t in range(1000):
        waves = [np.sin((x + 2 * t) / 9 + c) + np.cos((y - t) / 7 - c) for c in range(3)]
        image = 128 + 50 * np.stack(waves, axis=-1) + rng.normal(0, 3, (HEIGHT, WIDTH, 3))
        yield np.clip(image, 0, 255).astype(np.uint8)


def _critical(rng: np.random.Generator) -> Bool:
    share = rng.choice([0.0, 0.05, 0.3, 0.9, 1.0])
    return rng.random(GRID) < share


def _moved(proxy: UInt8, rng: np.random.Generator) -> UInt8:
    """What remapping does to a proxy: whole pixels, sometimes none."""
    dy, dx = rng.integers(-3, 4, 2) * rng.integers(0, 2)
    return np.roll(proxy, (dy, dx), axis=(0, 1))


def _pixels(blocks: Bool) -> Bool:
    return blocks.repeat(16, axis=0).repeat(16, axis=1)


@each_codec
@pytest.mark.parametrize("seed", [1, 2])
def test_both_ends_agree_on_every_pixel_of_every_frame(
    codec: str, quality: float | None, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    encoder, decoder = ProxyEncoder(codec, quality), ProxyDecoder()
    proxy = BLANK
    for number, image in zip(range(60), _scene(seed), strict=False):
        fresh = number == 0 or rng.random() < 0.1
        if fresh and number:
            encoder.reset()
            decoder.reset()
        critical = EVERYTHING if fresh else _critical(rng)
        moved = _moved(proxy, rng)
        shards, sent = encoder.encode(image, moved, critical)
        received = decoder.decode(shards, moved)
        np.testing.assert_array_equal(received, sent)
        assert np.array_equal(shards.ids, np.flatnonzero(critical))
        proxy = received


@each_codec
def test_critical_blocks_arrive_and_the_others_stay(codec: str, quality: float | None) -> None:
    encoder = ProxyEncoder(codec, quality)
    first, second = next(_scene(1)), next(_scene(2))
    _, proxy = encoder.encode(first, BLANK, EVERYTHING)
    critical = np.zeros(GRID, dtype=np.bool_)
    critical[1:4, 2:6] = True
    shifted = np.roll(second, 40, axis=1)
    _, after = encoder.encode(shifted, proxy, critical)
    inside = _pixels(critical)
    brought = np.abs(after.astype(int) - shifted)[inside].mean()
    assert brought <= (0 if codec == "raw" else 9)
    np.testing.assert_array_equal(after[~inside], proxy[~inside])


@each_codec
def test_neither_the_image_nor_the_moved_proxy_is_changed(
    codec: str, quality: float | None
) -> None:
    image, moved = next(_scene(1)), next(_scene(2))
    before = image.copy(), moved.copy()
    shards, proxy = ProxyEncoder(codec, quality).encode(image, moved, EVERYTHING)
    ProxyDecoder().decode(shards, moved)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(moved, before[1])
    assert not np.shares_memory(proxy, moved)


@each_codec
def test_after_a_lost_frame_a_reset_of_both_ends_makes_them_agree_again(
    codec: str, quality: float | None
) -> None:
    encoder, decoder = ProxyEncoder(codec, quality), ProxyDecoder()
    frames = _scene(5)
    shards, proxy = encoder.encode(next(frames), BLANK, EVERYTHING)
    decoder.decode(shards, BLANK)
    encoder.encode(next(frames), proxy, EVERYTHING)  # never arrives
    encoder.reset()
    decoder.reset()
    shards, proxy = encoder.encode(next(frames), BLANK, EVERYTHING)
    np.testing.assert_array_equal(decoder.decode(shards, BLANK), proxy)


def test_codecs_may_change_from_frame_to_frame() -> None:
    rng = np.random.default_rng(12)
    encoders, decoder = [ProxyEncoder(codec) for codec in sorted(limits.CODECS)], ProxyDecoder()
    proxy = BLANK
    for number, image in zip(range(60), _scene(12), strict=False):
        critical = EVERYTHING if number == 0 else _critical(rng)
        moved = _moved(proxy, rng)
        shards, proxy = rng.choice(encoders).encode(image, moved, critical)
        np.testing.assert_array_equal(decoder.decode(shards, moved), proxy)


def test_a_stream_that_starts_over_needs_no_reset_of_the_decoder() -> None:
    encoder, decoder = ProxyEncoder("h264", 24), ProxyDecoder()
    for image, again in zip(_scene(6), (False, False, True, False, True, False), strict=False):
        if again:
            encoder.reset()
        shards, proxy = encoder.encode(image, BLANK, EVERYTHING)
        np.testing.assert_array_equal(decoder.decode(shards, BLANK), proxy)


def test_a_stream_joined_in_the_middle_is_refused_until_it_starts_over() -> None:
    encoder, decoder = ProxyEncoder("h264", 24), ProxyDecoder()
    frames = _scene(7)
    _, proxy = encoder.encode(next(frames), BLANK, EVERYTHING)
    for _ in range(2):
        shards, proxy = encoder.encode(next(frames), proxy, EVERYTHING)
        with pytest.raises(InputError, match="h264"):
            decoder.decode(shards, proxy)
    encoder.reset()
    shards, proxy = encoder.encode(next(frames), proxy, EVERYTHING)
    np.testing.assert_array_equal(decoder.decode(shards, proxy), proxy)


def test_unmoved_blocks_that_are_not_critical_cost_next_to_nothing() -> None:
    encoder = ProxyEncoder("h264", 24)
    first, proxy = encoder.encode(next(_scene(8)), BLANK, EVERYTHING)
    other, proxy = encoder.encode(next(_scene(9)), proxy, NOTHING)
    assert len(other.payload) < 0.05 * len(first.payload)


def test_another_size_of_input_starts_another_stream() -> None:
    encoder, decoder = ProxyEncoder("h264", 24), ProxyDecoder()
    for height, width in ((96, 160), (64, 96), (96, 160)):
        image, blank = next(_scene(1))[:height, :width], BLANK[:height, :width]
        everything = EVERYTHING[: height // 16, : width // 16]
        shards, proxy = encoder.encode(image, blank, everything)
        np.testing.assert_array_equal(decoder.decode(shards, blank), proxy)


@pytest.mark.parametrize("codec", ["jpeg", "webp", "h264"])
def test_a_payload_that_claims_a_larger_picture_is_refused(codec: str) -> None:
    large = np.zeros((1024, 1024, 3), dtype=np.uint8)
    every = np.ones((64, 64), dtype=np.bool_)
    shards, _ = ProxyEncoder(codec).encode(large, large, every)
    forged = BlockShards(np.arange(4, dtype=np.int32), codec, shards.payload)
    with pytest.raises(InputError):
        ProxyDecoder().decode(forged, BLANK)


def test_a_jpeg_header_of_absurd_size_is_refused_before_a_pixel_is_decoded() -> None:
    shards, _ = ProxyEncoder("jpeg").encode(next(_scene(1)), BLANK, EVERYTHING)
    data = bytearray(shards.payload.tobytes())
    start = data.index(b"\xff\xc0") + 5  # the frame header's height and width
    data[start : start + 4] = b"\xff\xff\xff\xff"
    forged = BlockShards(shards.ids, "jpeg", np.frombuffer(bytes(data), dtype=np.uint8))
    with pytest.raises(InputError, match=r"65535|exceeds limit"):
        ProxyDecoder().decode(forged, BLANK)


def test_h264_shards_of_blocks_outside_the_image_are_refused() -> None:
    shards, _ = ProxyEncoder("h264").encode(next(_scene(1)), BLANK, EVERYTHING)
    forged = BlockShards(np.array([0, 60], dtype=np.int32), "h264", shards.payload)
    with pytest.raises(InputError, match=r"within \[0, 59\]"):
        ProxyDecoder().decode(forged, BLANK)


def test_blocks_that_need_little_care_cost_less_and_the_ends_agree() -> None:
    sizes = []
    for ease in (np.zeros(GRID, np.float32), np.ones(GRID, np.float32)):
        encoder, decoder = ProxyEncoder("h264", 20), ProxyDecoder()
        shards, proxy = encoder.encode(next(_scene(1)), BLANK, EVERYTHING, ease)
        np.testing.assert_array_equal(decoder.decode(shards, BLANK), proxy)
        sizes.append(len(shards.payload))
    assert sizes[1] < 0.7 * sizes[0]


def test_inputs_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(InputError, match="do not belong together"):
        ProxyEncoder().encode(BLANK, BLANK[:64], EVERYTHING)
    with pytest.raises(InputError, match="do not belong together"):
        ProxyEncoder().encode(BLANK, BLANK, EVERYTHING[:3])


@pytest.mark.parametrize(
    ("codec", "quality"),
    [("zip", None), ("jpeg", 0), ("webp", 101), ("h264", 52), ("raw", 5)],
)
def test_unknown_codecs_and_qualities_are_refused(codec: str, quality: float | None) -> None:
    with pytest.raises(InputError, match=f"{codec}|JPEG|WEBP|H.264"):
        ProxyEncoder(codec, quality)


def test_every_codec_a_message_may_name_is_implemented() -> None:
    for codec in limits.CODECS:
        shards, proxy = ProxyEncoder(codec).encode(next(_scene(1)), BLANK, EVERYTHING)
        np.testing.assert_array_equal(ProxyDecoder().decode(shards, BLANK), proxy)
