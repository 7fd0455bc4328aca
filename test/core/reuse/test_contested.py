"""Objects of a doubtful class get exact pixels, and go on getting them for a while."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.contested import (
    AROUND_EASE,
    DECAY,
    MOST_CARE,
    REST_EASE,
    UNSEEN_DECAY,
    Contests,
    coding_ease,
)
from fluxshard_core.reuse.salience import Salience

ROWS, COLS = 12, 24
DOG, HORSE = 16, 17
BOX = (32.0, 32.0, 132.0, 132.0)  # of the usual extent: its size says nothing
SHIFTED = (36.0, 32.0, 136.0, 132.0)  # overlaps it by 0.92
FAR = (240.0, 32.0, 340.0, 132.0)
SMALL = (64.0, 64.0, 89.0, 89.0)  # a quarter of the usual extent
LARGE = (0.0, 0.0, 384.0, 104.1666)  # twice the usual
TORN = 0  # the ease of what is contested wholly


def _see(contests: Contests, *found: tuple[tuple[float, ...], float, int]) -> None:
    contests.update(
        np.array([box for box, _, _ in found], dtype=np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], dtype=np.float32),
        np.array([name for _, _, name in found], dtype=np.int32),
    )


def _ease(contests: Contests, row: int = 4, col: int = 4) -> float:
    return float(contests.ease(ROWS, COLS)[row, col])


def test_overlapping_results_of_two_classes_contest_each_other_by_how_near_they_are() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), (SHIFTED, 0.6, HORSE), (FAR, 0.9, HORSE))
    assert _ease(contests) == pytest.approx(1 / 3)
    assert _ease(contests, 4, 18) == 1  # nothing contests the far one


@pytest.mark.parametrize("other", [(SHIFTED, 0.9, DOG), (FAR, 0.9, HORSE)], ids=["class", "place"])
def test_results_of_one_class_or_apart_do_not(other: tuple[tuple[float, ...], float, int]) -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), other)
    assert (contests.ease(ROWS, COLS) == 1).all()


def test_a_result_that_turns_to_another_class_is_contested_wholly() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG))
    assert _ease(contests) == 1
    _see(contests, (SHIFTED, 0.9, HORSE))
    assert _ease(contests) == TORN


@pytest.mark.parametrize("seen", [True, False])
def test_a_contest_fades_and_is_forgotten(seen: bool) -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), (BOX, 0.9, HORSE))
    again = [(BOX, 0.9, DOG)] if seen else []
    _see(contests, *again)
    assert _ease(contests) == pytest.approx(1 + (TORN - 1) * (DECAY if seen else UNSEEN_DECAY))
    fading = [_ease(contests)]
    for _ in range(200):
        _see(contests, *again)
        fading.append(_ease(contests))
    assert all(later >= before for before, later in pairwise(fading))
    assert fading[-1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("score", "ease"), [(0.95, 1), (0.55, 0.5), (0.3, 0), (0.15, 0.5), (0.0, 1)]
)
def test_an_object_alone_is_in_doubt_where_it_may_fall_below_what_is_published(
    score: float, ease: float
) -> None:
    contests = Contests()
    _see(contests, (BOX, score, DOG))
    assert _ease(contests) == pytest.approx(ease)


@pytest.mark.parametrize(
    ("score", "eases"), [(0.9, [0.2, 1, 1]), (0.55, [-0.3, 0.5, 0.9]), (0.1, [0.4, 2 / 3, 0.8])]
)
def test_small_objects_get_more_care_and_large_ones_less(score: float, eases: list[float]) -> None:
    got = []
    for box in (SMALL, BOX, LARGE):
        contests = Contests()
        _see(contests, (box, score, DOG))
        got.append(_ease(contests))
    assert got == pytest.approx(eases, abs=0.001)


def test_a_contested_class_is_no_safer_for_being_large_and_care_has_an_end() -> None:
    for box, ease in ((LARGE, TORN), (SMALL, MOST_CARE)):
        contests = Contests()
        _see(contests, (box, 0.9, DOG), (box, 0.9, HORSE))
        assert _ease(contests) == pytest.approx(ease)


def test_the_highest_contest_is_that_of_objects_large_enough() -> None:
    contests = Contests()
    assert contests.highest(0) == 0
    _see(contests, (SMALL, 0.9, DOG), (SMALL, 0.9, HORSE), (FAR, 0.9, DOG), (FAR, 0.45, HORSE))
    assert contests.highest(25) == pytest.approx(1)
    assert contests.highest(26) == contests.highest(100) == pytest.approx(0.5)
    assert contests.highest(101) == 0


def test_a_contest_moves_with_its_object() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), (BOX, 0.9, HORSE))
    motion = MotionField.zero(16 * ROWS, 16 * COLS)
    motion.vectors[...] = 4 * 48, 0
    contests.follow(motion)
    ease = contests.ease(ROWS, COLS)
    assert ease[4, 10] == TORN
    assert ease[4, 3] == 1


def test_beside_an_object_less_care_is_taken_but_no_less_than_there_already() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), (BOX, 0.9, HORSE), ((148, 32, 248, 132), 0.7, DOG))
    ease = contests.ease(ROWS, COLS)
    assert ease[4, 8] == TORN
    assert ease[4, 1] == TORN + AROUND_EASE
    assert ease[4, 9] == TORN + AROUND_EASE  # on the second one, which asks for less
    assert ease[4, 10] == ease[4, 15] == pytest.approx(0.8)
    assert ease[4, 16] == 1


def test_where_no_object_is_due_nothing_needs_care_and_less_where_nothing_is_critical() -> None:
    salience = Salience(ReuseConfig(min_margin=16, max_margin=16))
    salience.update(np.array([BOX], np.float32), np.array([0.5], np.float32))
    salient = salience.blocks(ROWS, COLS)
    critical = np.ones((ROWS, COLS), dtype=np.bool_)
    critical[:, :4] = False
    ease = coding_ease(salient, np.full((ROWS, COLS), 0.25, np.float32), critical)
    assert ease[4, 4] == 0.25
    assert ease[4, 18] == 1
    assert (ease[:, :4] == REST_EASE).all()
