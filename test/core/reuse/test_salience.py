"""Objects keep their surroundings fresh, where they moved and a while after they were seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.salience import (
    Salience,
    SalientRegion,
    around,
    margin,
    marked,
    median_step,
)

CONFIG = ReuseConfig(
    salience_threshold=0.1,
    sure=0.3,
    trust_decay=0.5,
    weak_interval=3,
    large=16.0,
    persistence=2,
    margin=0.25,
    min_margin=4.0,
    max_margin=20.0,
)
NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)


def boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 4)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def still() -> MotionField:
    return MotionField.zero(96, 160)


def test_a_box_moves_by_the_median_of_its_valid_blocks() -> None:
    motion = still()
    motion.vectors[1, 1:4] = [(40, 8), (48, 8), (400, 400)]
    motion.valid[1, 3] = False
    assert median_step(boxes((17, 17, 63, 31))[0], motion).tolist() == [11, 2]


def test_a_box_without_known_motion_follows_the_frame() -> None:
    motion = still()
    motion.vectors[...] = 12, 0
    motion.valid[:2] = False
    box = boxes((0, 0, 16, 16))[0]
    assert median_step(box, motion).tolist() == [3, 0]
    assert median_step(box, MotionField.invalid(32, 32)).tolist() == [0, 0]


def test_objects_follow_the_motion() -> None:
    salience = Salience(CONFIG)
    salience.update(boxes((36, 36, 60, 60)), scores(0.9))
    motion = still()
    motion.vectors[...] = 64, -128
    salience.follow(motion)
    (one,) = salience.objects
    assert one.box.tolist() == [52, 4, 76, 28]


@pytest.mark.parametrize(("size", "expected"), [(4, 4), (40, 10), (100, 20)])
def test_the_margin_grows_with_the_object_within_limits(size: float, expected: float) -> None:
    assert margin(size, CONFIG) == expected


@pytest.mark.parametrize("reach", [0.0, 8.0, 16.0, 40.0])
def test_blocks_within_reach_of_a_point(reach: float) -> None:
    near = marked(around(boxes((52, 44, 52, 44))[0], reach, 6, 10), 6, 10)
    rows, cols = np.indices((6, 10)) * 16
    cell = 4 + reach  # it is in the middle of a cell of 8 px; as many whole ones as reach needs
    expected = (cols < 52 + cell) & (cols + 16 > 52 - cell)
    expected &= (rows < 44 + cell) & (rows + 16 > 44 - cell)
    np.testing.assert_array_equal(near, expected)


@given(
    corner=st.tuples(st.integers(-90, 200), st.integers(-90, 150)),
    size=st.tuples(st.integers(-9, 160), st.integers(-9, 120)),
    reach=st.sampled_from([0, 3, 8, 9, 32]),
)
def test_an_area_is_all_cells_of_the_box_and_the_rings_around_them(
    corner: tuple[int, int], size: tuple[int, int], reach: int
) -> None:
    (left, top), (width, height) = corner, size
    box = boxes((left, top, left + width, top + height))[0]
    pixels = np.zeros((640, 640), dtype=bool)  # the frame's begin at (160, 160)
    rows = slice(top + 160, top + 160 + max(height, 0) + 1)
    pixels[rows, left + 160 : left + 160 + max(width, 0) + 1] = True
    cells = pixels.reshape(80, 8, 80, 8).any(axis=(1, 3))
    for _ in range(-(-reach // 8)):
        cells = cells | np.roll(cells, 1, 0) | np.roll(cells, -1, 0)
        cells = cells | np.roll(cells, 1, 1) | np.roll(cells, -1, 1)
    expected = cells[20:32, 20:40].reshape(6, 2, 10, 2).any(axis=(1, 3))
    np.testing.assert_array_equal(marked(around(box, reach, 6, 10), 6, 10), expected)


def test_blocks_near_an_object_get_its_confidence_and_size() -> None:
    salience = Salience(CONFIG)
    salience.update(boxes((36, 36, 60, 60), (36, 36, 140, 90)), scores(0.9, 0.5))
    asked = salience.blocks(6, 10)
    inner = np.zeros((6, 10), dtype=bool)
    inner[1:5, 1:5] = True  # 24 px and a margin of 6: pixels 30 to 66, in cells of 8
    outer = np.zeros((6, 10), dtype=bool)
    outer[1:6, 1:10] = True
    np.testing.assert_array_equal(asked.confidence == np.float32(0.9), inner)
    np.testing.assert_array_equal(asked.confidence == np.float32(0.5), outer & ~inner)
    np.testing.assert_array_equal(asked.size == 24, inner)
    np.testing.assert_array_equal(asked.size == 54, outer & ~inner)
    assert np.isinf(asked.size[~outer]).all()


def test_a_region_knows_what_its_object_covers_and_how_large_it_is() -> None:
    salience = Salience(CONFIG)
    salience.update(boxes((32, 32, 64, 50)), scores(0.9))
    (region,) = salience.blocks(6, 10).regions
    assert np.argwhere(region.covered).tolist() == [[r, c] for r in (2, 3) for c in (2, 3, 4)]
    assert region.near[1, 1]
    assert region.extent == pytest.approx(24)
    assert region.trust == np.float32(0.9)


@pytest.mark.parametrize(
    ("score", "side", "ease"), [(0.9, 64, 1), (0.6, 64, 0), (0.725, 64, 0.5), (0.9, 32, 0.5)]
)
def test_a_large_object_that_the_network_is_certain_of_needs_less_care(
    score: float, side: float, ease: float
) -> None:
    salience = Salience(replace(CONFIG, doubtful=0.6, certain=0.85, large=64.0))
    for _ in range(12):
        salience.update(boxes((0, 0, side, side)), scores(score))
    assert salience.blocks(6, 10).ease[0, 0] == pytest.approx(ease, abs=1e-3)


def test_certainty_is_lost_in_one_frame_and_won_back_in_several() -> None:
    salience = Salience(replace(CONFIG, doubtful=0.6, certain=0.85, large=16.0))
    eases = []
    for score in (0.9, 0.9, 0.9, 0.9, 0.5, 0.9, 0.9):
        salience.update(boxes((0, 0, 64, 64)), scores(score))
        eases.append(float(salience.blocks(6, 10).ease[0, 0]))
    assert eases[0] == 0
    assert eases[3] > 0.8
    assert eases[4] == 0
    assert 0 < eases[5] < eases[6] < eases[3]


@pytest.mark.parametrize(("found", "calm"), [((4, 0, 64, 64), True), ((8, 0, 64, 64), False)])
def test_an_object_that_is_not_where_the_motion_put_it_needs_all_care(
    found: tuple[float, ...], calm: bool
) -> None:
    salience = Salience(replace(CONFIG, large=16.0, agreement=0.9))
    for _ in range(12):
        salience.update(boxes((0, 0, 64, 64)), scores(0.9))
    salience.update(boxes(found), scores(0.9))
    assert (salience.blocks(6, 10).ease[0, 1] > 0.8) == calm


def test_boxes_that_keep_straying_make_a_shape_slip() -> None:
    salience = Salience(replace(CONFIG, shape_slip=0.1))
    slipped = []
    for right in (64, 60, 57, 54, 54, 54):  # IoUs of 0.94, 0.95 and 0.95 with the box before
        salience.update(boxes((0, 0, right, 64)), scores(0.9))
        slipped.append(salience.blocks(6, 10).regions[0].slipped)
    assert slipped == [True, False, True, False, False, False]


def of_shape(scene: float, config: ReuseConfig, own: float = 0.0) -> SalientRegion:
    """What is asked for an object that has kept its shape while the scene moved up and the object
    to the left by so many pixels."""
    salience = Salience(config)
    for _ in range(2):
        salience.update(boxes((own, 0, own + 48, 48)), scores(0.9))
        salience.blocks(6, 10)
    field = still()
    field.vectors[..., 1] = -4 * scene  # quarter pixels
    field.vectors[0:3, 0:4] = -4 * own, 0
    salience.follow(field)
    (region,) = salience.blocks(6, 10).regions
    return region


@pytest.mark.parametrize(
    ("scene", "own", "reach"),
    [(0, 0, 0), (7, 7, 0), (8, 0, 1), (0, 8, 1), (15, 7, 1), (7, 15, 1), (16, 9, 2), (34, 0, 4)],
    ids=str,
)
def test_shapes_in_fast_motion_are_due_at_every_change_twice_as_far_around_as_that(
    scene: int, own: int, reach: int
) -> None:
    region = of_shape(scene, replace(CONFIG, fast=8.0, shape_reach=2.0), own)
    assert int(region.shape[0].sum() - region.covered[0].sum()) == reach  # blocks
    assert region.slipped == (max(scene, own) >= 8)


@given(slower=st.integers(0, 400), faster=st.integers(0, 400), reach=st.floats(0, 4))
def test_a_faster_scene_never_asks_for_less_of_a_shape(
    slower: int, faster: int, reach: float
) -> None:
    """Motion in quarter pixels."""
    slower, faster = sorted((slower, faster))
    config = replace(CONFIG, shape_reach=reach)
    less, more = (of_shape(motion / 4, config) for motion in (slower, faster))
    assert (more.shape | ~less.shape).all()
    assert more.slipped or not less.slipped


def test_an_object_lost_for_one_frame_stays_salient_for_as_long_as_it_persists() -> None:
    salience = Salience(replace(CONFIG, trust_decay=1.0))
    salience.update(boxes((36, 36, 60, 60)), scores(0.9))
    seen = []
    for _ in range(4):
        salience.follow(still())
        seen.append(bool(salience.blocks(6, 10).confidence.any()))
        salience.update(*NOTHING)
    assert seen == [True, True, True, False]


def test_an_object_found_again_is_not_counted_twice_and_starts_anew() -> None:
    salience = Salience(CONFIG)
    for _ in range(10):
        salience.update(boxes((36, 36, 60, 60)), scores(0.9))
    assert [one.unseen for one in salience.objects] == [0]


def test_results_too_weak_to_be_salient_are_ignored() -> None:
    salience = Salience(CONFIG)
    salience.update(boxes((0, 0, 50, 50), (60, 60, 90, 90)), scores(0.1, 0.09))
    assert len(salience.objects) == 1


@pytest.mark.parametrize(
    ("large", "frames"),
    [(24.0, [True] + [False, False, True] * 2 + [False, False]), (25.0, [True] * 9)],
)
def test_a_weak_object_is_due_when_new_and_every_third_frame_unless_it_is_small(
    large: float, frames: list[bool]
) -> None:
    salience = Salience(replace(CONFIG, large=large))
    due = []
    for _ in range(9):
        salience.update(boxes((36, 36, 60, 60)), scores(0.2))
        salience.follow(still())
        due.append(bool(salience.blocks(6, 10).confidence.any()))
    assert due == frames


def test_one_weak_frame_does_not_cost_an_object_its_trust() -> None:
    """Or a dip that reuse itself caused would stop the refresh that could mend it."""
    salience = Salience(CONFIG)
    due = []
    for score in (0.9, 0.2, 0.2, 0.2, 0.2):
        salience.update(boxes((36, 36, 60, 60)), scores(score))
        salience.follow(still())
        due.append(bool(salience.blocks(6, 10).confidence.any()))
    assert due == [True, True, False, False, True]


def test_boxes_outside_the_frame_mark_nothing() -> None:
    salience = Salience(CONFIG)
    salience.update(boxes((-90, -90, -50, -50), (300, 0, 340, 40)), scores(0.9, 0.9))
    assert not salience.blocks(6, 10).confidence.any()


def test_boxes_and_scores_must_fit() -> None:
    with pytest.raises(InputError, match="2 scores"):
        Salience(CONFIG).update(boxes((0, 0, 1, 1)), scores(0.5, 0.5))
