"""The generated scene: repeatable, moving as it says."""

import cv2
import numpy as np

from fluxshard_core.evaluation.scene import GeneratedScene


def test_the_same_seed_renders_the_same_frames() -> None:
    first = GeneratedScene(height=96, width=160, count=3, seed=3)
    second = GeneratedScene(height=96, width=160, count=3, seed=3)
    other = GeneratedScene(height=96, width=160, count=3, seed=4)
    for one, two, three in zip(first, second, other, strict=True):
        assert np.array_equal(one.image, two.image)
        assert not np.array_equal(one.image, three.image)


def test_frames_carry_media_time_and_number() -> None:
    frames = list(GeneratedScene(height=64, width=64, count=4, fps=20))
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [frame.stamp_ns for frame in frames] == [0, 50_000_000, 100_000_000, 150_000_000]
    assert all(frame.image.shape == (64, 64, 3) for frame in frames)


def test_the_background_pans_by_whole_pixels_exactly() -> None:
    scene = GeneratedScene(height=480, width=864, count=4, pan=3.0)
    first, second = scene.render(0), scene.render(1)
    floor = slice(450, 480)  # below every object
    assert np.array_equal(second[floor, :-3], first[floor, 3:])


def test_a_negative_pan_moves_the_other_way() -> None:
    scene = GeneratedScene(height=480, width=864, count=4, pan=-3.0)
    first, second = scene.render(0), scene.render(1)
    assert np.array_equal(second[450:480, 3:], first[450:480, :-3])


def test_objects_are_where_their_boxes_say() -> None:
    scene = GeneratedScene(height=480, width=864, count=30)
    thing = scene.objects[0]
    for number in (0, 29):
        x1, y1, x2, _ = thing.box(number)
        red = scene.render(number).astype(int)
        face = (red[..., 0] > 150) & (red[..., 1] < 80) & (red[..., 2] < 80)
        rows, cols = np.nonzero(cv2.erode(face.astype(np.uint8), np.ones((5, 5))))
        in_sign = (cols > x1 - 5) & (cols < x2 + 5)
        assert in_sign.any()
        assert abs(cols[in_sign].min() - x1) < 16
        assert abs(cols[in_sign].max() - x2) < 16
        assert abs(rows[in_sign].min() - y1) < 16
