"""Fitting images into the network's rectangle and mapping results back."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import BLOCK, INPUT_MULTIPLE, MAX_SIDE, PAD_VALUE, Letterbox

SIDES = st.integers(1, 2000)
INPUT_SIDES = st.integers(1, 40).map(lambda n: n * INPUT_MULTIPLE)


def noise(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_native_size_is_padded_but_never_resized() -> None:
    image = noise(480, 854)
    letterbox = Letterbox.fit(480, 854)
    framed = letterbox.apply(image)
    assert framed.shape == (480, 864, 3)
    np.testing.assert_array_equal(framed[:, :854], image)
    assert (framed[:, 854:] == PAD_VALUE).all()


def test_an_image_of_the_input_size_comes_back_as_an_equal_copy() -> None:
    image = noise(64, 96)
    framed = Letterbox.fit(64, 96).apply(image)
    np.testing.assert_array_equal(framed, image)
    assert not np.shares_memory(framed, image)
    assert framed.flags.c_contiguous


def test_a_strided_image_gives_a_contiguous_input() -> None:
    bgr = noise(64, 96)
    framed = Letterbox.fit(64, 96).apply(bgr[:, :, ::-1])
    np.testing.assert_array_equal(framed, bgr[:, :, ::-1])
    assert framed.flags.c_contiguous


def test_a_requested_size_keeps_the_aspect_ratio() -> None:
    letterbox = Letterbox.fit(360, 640, (640, 640))
    assert letterbox.scale == 1.0
    assert (letterbox.pad_x, letterbox.pad_y) == (0, 128)
    assert Letterbox.fit(720, 1280, (384, 640)).scale == 0.5


@settings(max_examples=50, deadline=None)
@given(height=SIDES, width=SIDES, size=st.none() | st.tuples(INPUT_SIDES, INPUT_SIDES))
def test_content_lies_inside_the_input_on_a_block(
    height: int, width: int, size: tuple[int, int] | None
) -> None:
    letterbox = Letterbox.fit(height, width, size)
    assert letterbox.input_height % INPUT_MULTIPLE == letterbox.input_width % INPUT_MULTIPLE == 0
    assert letterbox.pad_x % BLOCK == letterbox.pad_y % BLOCK == 0
    assert 0 <= letterbox.pad_x <= letterbox.input_width - letterbox.content_width
    assert 0 <= letterbox.pad_y <= letterbox.input_height - letterbox.content_height


@settings(max_examples=50, deadline=None)
@given(height=SIDES, width=SIDES, size=st.none() | st.tuples(INPUT_SIDES, INPUT_SIDES))
def test_the_content_rectangle_maps_to_the_whole_image(
    height: int, width: int, size: tuple[int, int] | None
) -> None:
    letterbox = Letterbox.fit(height, width, size)
    x, y = letterbox.pad_x, letterbox.pad_y
    content = np.array(
        [[x, y, x + letterbox.content_width, y + letterbox.content_height]], dtype=np.float32
    )
    original = letterbox.boxes_to_original(content)
    assert original.dtype == np.float32
    np.testing.assert_allclose(original, [[0, 0, width, height]], rtol=1e-5, atol=1e-3)


def test_points_outside_the_image_are_clipped_to_it() -> None:
    letterbox = Letterbox.fit(480, 854)
    points = np.array([[[-5.0, 10.0], [860.0, 500.0]]], dtype=np.float32)
    np.testing.assert_array_equal(letterbox.points_to_original(points), [[[0, 10], [854, 480]]])


def test_a_resized_bright_patch_is_found_where_it_was() -> None:
    image = np.zeros((240, 320, 3), dtype=np.uint8)
    image[60:120, 80:200] = 255
    letterbox = Letterbox.fit(240, 320, (512, 512))
    framed = letterbox.apply(image)
    rows, columns = np.nonzero(framed[:, :, 0] > 200)
    corners = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    box = np.array(corners, dtype=np.float32)
    np.testing.assert_allclose(letterbox.boxes_to_original(box), [[80, 60, 200, 120]], atol=1.0)


@pytest.mark.parametrize("size", [(0, 640), (480, -1), (MAX_SIDE + 1, 640)])
def test_an_image_of_an_impossible_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="outside 1"):
        Letterbox.fit(*size)


def test_an_input_size_off_the_grid_names_the_next_one() -> None:
    with pytest.raises(InputError, match="width 854 is not a multiple of 32: use 864"):
        Letterbox.fit(480, 854, (480, 854))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((480, 640, 3), dtype=np.uint8),
        np.zeros((480, 854), dtype=np.uint8),
        np.zeros((480, 854, 4), dtype=np.uint8),
        np.zeros((480, 854, 3), dtype=np.float32),
    ],
    ids=["other size", "grey", "alpha", "float"],
)
def test_an_image_it_was_not_made_for_is_refused(image: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(InputError, match="expected uint8"):
        Letterbox.fit(480, 854).apply(image)
