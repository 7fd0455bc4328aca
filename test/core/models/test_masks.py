"""Masks are sampled from prototypes at the pixels of the original image."""

import numpy as np
import pytest
import torch

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.masks import decode_masks


def disc_prototypes(letterbox: Letterbox, x: float, y: float, radius: float) -> torch.Tensor:
    """One ``(1, h, w)`` prototype, positive inside a disc given in original pixels."""
    step = 4.0
    rows = (torch.arange(letterbox.input_height // 4) + 0.5) * step - letterbox.pad_y
    columns = (torch.arange(letterbox.input_width // 4) + 0.5) * step - letterbox.pad_x
    dy = rows[:, None] / letterbox.scale - y
    dx = columns[None, :] / letterbox.scale - x
    return (radius - torch.sqrt(dx**2 + dy**2))[None]


@pytest.mark.parametrize(
    "letterbox",
    [
        Letterbox.fit(240, 320),
        Letterbox.fit(240, 320, (480, 640)),
        Letterbox.fit(240, 320, (160, 160)),
        Letterbox.fit(231, 317, (320, 320)),
    ],
    ids=["native", "enlarged", "reduced and padded", "odd"],
)
def test_a_disc_lands_where_it_was_in_the_image(letterbox: Letterbox) -> None:
    x, y, radius = 120.0, 90.0, 50.0
    box = np.array([[x - 60, y - 60, x + 60, y + 60]], dtype=np.float32)
    (mask,) = decode_masks(
        torch.ones(1, 1), disc_prototypes(letterbox, x, y, radius), box, letterbox
    )
    assert (mask.x, mask.y, mask.width, mask.height) == (60, 30, 120, 120)
    rows, columns = np.mgrid[30:150, 60:180] + 0.5
    distance = np.hypot(columns - x, rows - y)
    found = mask.unpack()
    assert found[distance < radius - 1].all()
    assert not found[distance > radius + 1].any()


def test_nothing_outside_the_box_is_in_the_mask() -> None:
    letterbox = Letterbox.fit(64, 64)
    box = np.array([[10.2, 20.0, 30.0, 40.7]], dtype=np.float32)
    (mask,) = decode_masks(torch.ones(1, 1), torch.ones(1, 16, 16), box, letterbox)
    assert (mask.x, mask.y, mask.width, mask.height) == (11, 20, 19, 21)
    assert mask.unpack().all()


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (64, 64, 64, 64), (5.2, 5.3, 5.4, 5.5)])
def test_a_box_without_a_whole_pixel_still_gives_one_inside_the_image(
    box: tuple[float, float, float, float],
) -> None:
    letterbox = Letterbox.fit(64, 64)
    (mask,) = decode_masks(
        torch.ones(1, 1), torch.ones(1, 16, 16), np.array([box], dtype=np.float32), letterbox
    )
    assert (mask.width, mask.height) == (1, 1)
    assert 0 <= mask.x < 64
    assert 0 <= mask.y < 64
