"""What each codec sends, and what the cloud then sees."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fluxshard_core.baselines.image_codecs import (
    H264Images,
    ImageCodec,
    JpegImages,
    QuantisedImages,
    RawImages,
)
from fluxshard_core.frame import Frame

PALETTE_BYTES = 64 * 3


def error(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(left.astype(int) - right.astype(int)).mean())


def test_raw_images_arrive_untouched(still: Frame) -> None:
    received = RawImages().transmit(still.image)
    assert np.array_equal(received.image, still.image)
    assert received.payload_bytes == 96 * 128 * 3


def test_quantised_images_take_a_quarter_of_the_bytes(still: Frame) -> None:
    received = QuantisedImages().transmit(still.image)
    assert received.payload_bytes == 96 * 128 * 3 // 4 + PALETTE_BYTES
    assert len(np.unique(received.image.reshape(-1, 3), axis=0)) <= 64
    assert 0 < error(received.image, still.image) < 25


def test_a_picture_of_few_colours_survives_quantisation() -> None:
    image = np.zeros((32, 32, 3), dtype=np.uint8)
    image[:16] = 255, 0, 0
    image[16:, :8] = 0, 255, 255
    assert error(QuantisedImages().transmit(image).image, image) < 1


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [
        (JpegImages(95), JpegImages(20)),
        (H264Images(12), H264Images(40)),
        (H264Images(12, halved=True), H264Images(40, halved=True)),
        (H264Images(4), H264Images(4, halved=True)),
    ],
)
def test_lower_quality_costs_fewer_bytes_and_more_error(
    fine: ImageCodec, coarse: ImageCodec, still: Frame
) -> None:
    good, poor = fine.transmit(still.image), coarse.transmit(still.image)
    assert poor.payload_bytes < good.payload_bytes < still.image.nbytes
    assert 0 < error(good.image, still.image) < error(poor.image, still.image)


def test_a_stream_sends_what_changed_and_starts_over_after_a_reset(still: Frame) -> None:
    codec = H264Images()
    first, repeated = codec.transmit(still.image), codec.transmit(still.image)
    assert repeated.payload_bytes < first.payload_bytes / 10
    codec.reset()
    assert codec.transmit(still.image).payload_bytes == first.payload_bytes


def test_a_stream_follows_a_change_of_size(pan: list[Frame], still: Frame) -> None:
    codec = H264Images()
    codec.transmit(pan[0].image)
    assert codec.transmit(still.image).image.shape == still.image.shape
