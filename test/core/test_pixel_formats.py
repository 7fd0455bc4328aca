"""Image encodings: every one becomes the same RGB, and data that does not fit is refused."""

import cv2
import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.pixel_formats import ENCODINGS, compressed_to_rgb, image_to_rgb

HEIGHT, WIDTH = 6, 8
COLOUR = (200, 100, 50)


def flat_rgb() -> np.ndarray:
    return np.full((HEIGHT, WIDTH, 3), COLOUR, dtype=np.uint8)


def bayer(first: int, second: int, third: int, fourth: int) -> np.ndarray:
    mosaic = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mosaic[0::2, 0::2], mosaic[0::2, 1::2] = first, second
    mosaic[1::2, 0::2], mosaic[1::2, 1::2] = third, fourth
    return mosaic


def yuv422(order: str) -> np.ndarray:
    # BT.601, limited range: what cameras send and OpenCV expects.
    weights = np.array([[65.5, 128.6, 25.0], [-37.8, -74.2, 112.0], [112.0, -93.8, -18.2]])
    y, u, v = np.rint(weights @ np.array(COLOUR) / 255 + (16, 128, 128)).astype(int)
    pair = [u, y, v, y] if order == "uyvy" else [y, u, y, v]
    return np.tile(np.array(pair, dtype=np.uint8), (HEIGHT, WIDTH // 2))


red, green, blue = COLOUR
ENCODED = {
    "rgb8": flat_rgb(),
    "bgr8": flat_rgb()[..., ::-1],
    "8UC3": flat_rgb()[..., ::-1],
    "rgba8": np.dstack([flat_rgb(), np.full((HEIGHT, WIDTH), 255, np.uint8)]),
    "bgra8": np.dstack([flat_rgb()[..., ::-1], np.full((HEIGHT, WIDTH), 255, np.uint8)]),
    "bayer_rggb8": bayer(red, green, green, blue),
    "bayer_bggr8": bayer(blue, green, green, red),
    "bayer_gbrg8": bayer(green, blue, red, green),
    "bayer_grbg8": bayer(green, red, blue, green),
    "uyvy": yuv422("uyvy"),
    "yuv422": yuv422("uyvy"),
    "yuyv": yuv422("yuyv"),
    "yuv422_yuy2": yuv422("yuyv"),
    "mono8": np.full((HEIGHT, WIDTH), 77, np.uint8),
    "8UC1": np.full((HEIGHT, WIDTH), 77, np.uint8),
    "mono16": np.full((HEIGHT, WIDTH), 77 * 256 + 9, "<u2"),
}


def test_every_known_encoding_is_covered_here() -> None:
    assert set(ENCODED) == set(ENCODINGS)


@pytest.mark.parametrize("encoding", sorted(ENCODED))
@pytest.mark.parametrize("padding", [0, 5])
def test_encoding_becomes_rgb_whatever_the_row_padding(encoding: str, padding: int) -> None:
    rows = np.ascontiguousarray(ENCODED[encoding]).reshape(HEIGHT, -1).view(np.uint8)
    data = np.pad(rows, ((0, 0), (0, padding)), constant_values=255)
    rgb = image_to_rgb(
        data.tobytes(), height=HEIGHT, width=WIDTH, encoding=encoding, step=data.shape[1]
    )
    expected = (77, 77, 77) if encoding in {"mono8", "8UC1", "mono16"} else COLOUR
    assert rgb.shape == (HEIGHT, WIDTH, 3)
    # YUV rounds to 8 bits twice; everything else is exact.
    assert np.abs(rgb[2:4, 2:6].astype(int) - expected).max() <= (3 if "y" in encoding else 0)


def test_big_endian_samples_keep_their_high_byte() -> None:
    data = np.full((HEIGHT, WIDTH), 77 * 256 + 9, ">u2").tobytes()
    rgb = image_to_rgb(
        data, height=HEIGHT, width=WIDTH, encoding="mono16", step=2 * WIDTH, big_endian=True
    )
    assert (rgb == 77).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "rgb9"}, "unknown image encoding 'rgb9'"),
        ({"height": 0}, "sides must be >= 1"),
        ({"width": 1 << 20, "height": 1 << 20}, "sides must be >= 1"),
        ({"step": 3 * WIDTH - 1}, "step is 23 bytes"),
        ({"data": b"\0" * 10}, "truncated image: 10 bytes"),
        ({"data": b""}, "truncated image: 0 bytes"),
    ],
)
def test_a_message_that_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    fields = {
        "data": flat_rgb().tobytes(),
        "height": HEIGHT,
        "width": WIDTH,
        "encoding": "rgb8",
        "step": 3 * WIDTH,
    } | change
    with pytest.raises(InputError, match=message):
        image_to_rgb(fields.pop("data"), **fields)


def test_png_is_lossless_and_garbage_is_refused() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    encoded = cv2.imencode(".png", image[..., ::-1])[1]
    assert np.array_equal(compressed_to_rgb(encoded), image)
    for bad in (b"", b"not an image", encoded.tobytes()[:20]):
        with pytest.raises(InputError, match="not an image"):
            compressed_to_rgb(bad)
