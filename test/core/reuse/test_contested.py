"""Objects of a doubtful class get exact pixels, and go on getting them for a while."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.contested import DECAY, UNSEEN_DECAY, Contests, coding_ease
from fluxshard_core.reuse.salience import Salience

ROWS, COLS = 6, 10
DOG, HORSE = 16, 17
BOX = (32.0, 32.0, 96.0, 64.0)
SHIFTED = (36.0, 32.0, 100.0, 64.0)  # overlaps it by 0.88
FAR = (112.0, 64.0, 160.0, 96.0)


def _see(contests: Contests, *found: tuple[tuple[float, ...], float, int]) -> None:
    contests.update(
        np.array([box for box, _, _ in found], dtype=np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], dtype=np.float32),
        np.array([name for _, _, name in found], dtype=np.int32),
    )


def _doubt(contests: Contests, row: int = 2, col: int = 3) -> float:
    return float(contests.blocks(ROWS, COLS)[row, col])


def test_overlapping_results_of_two_classes_contest_each_other_by_how_near_they_are() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), (SHIFTED, 0.45, HORSE), (FAR, 0.9, HORSE))
    assert _doubt(contests) == pytest.approx(0.7)  # the weaker one is also weak in itself
    assert _doubt(contests, 5, 8) == 0  # nothing contests the far one


@pytest.mark.parametrize("other", [(SHIFTED, 0.9, DOG), (FAR, 0.9, HORSE)], ids=["class", "place"])
def test_results_of_one_class_or_apart_do_not(other: tuple[tuple[float, ...], float, int]) -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), other)
    assert not contests.blocks(ROWS, COLS).any()


def test_a_result_that_turns_to_another_class_is_contested_wholly() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG))
    assert _doubt(contests) == 0
    _see(contests, (SHIFTED, 0.9, HORSE))
    assert _doubt(contests) == 1


@pytest.mark.parametrize("seen", [True, False])
def test_a_contest_fades_and_is_forgotten(seen: bool) -> None:
    contests = Contests()
    _see(contests, (BOX, 0.9, DOG), (BOX, 0.9, HORSE))
    again = [(BOX, 0.9, DOG)] if seen else []
    _see(contests, *again)
    assert _doubt(contests) == pytest.approx(DECAY if seen else UNSEEN_DECAY)
    fading = [_doubt(contests)]
    for _ in range(100):
        _see(contests, *again)
        fading.append(_doubt(contests))
    assert all(later <= before for before, later in pairwise(fading))
    assert fading[-1] == 0


@pytest.mark.parametrize(
    ("score", "doubt"), [(0.95, 0), (0.55, 0.5), (0.3, 1), (0.15, 0.5), (0.0, 0)]
)
def test_an_object_alone_is_in_doubt_where_it_may_fall_below_what_is_published(
    score: float, doubt: float
) -> None:
    contests = Contests()
    _see(contests, (BOX, score, DOG))
    assert _doubt(contests) == pytest.approx(doubt)


def test_a_contest_moves_with_its_object() -> None:
    contests = Contests()
    _see(contests, (BOX, 0.5, DOG), (BOX, 0.5, HORSE))
    motion = MotionField.zero(16 * ROWS, 16 * COLS)
    motion.vectors[...] = 4 * 48, 0
    contests.follow(motion)
    blocks = contests.blocks(ROWS, COLS)
    assert blocks[2, 6] == 1
    assert blocks[2, 3] == 0


def test_care_goes_to_contested_objects_first_and_to_no_object_last() -> None:
    salience = Salience(ReuseConfig(min_margin=16, max_margin=16))
    salience.update(np.array([BOX], np.float32), np.array([0.5], np.float32))
    salient = salience.blocks(ROWS, COLS)
    contested = np.zeros((ROWS, COLS), np.float32)
    contested[2:4, 2:6] = 0.75
    on, beside, apart = (2, 3), (1, 3), (5, 9)
    ease = coding_ease(salient, contested)
    assert ease[on] == 0.25
    assert ease[beside] == ease[apart] == 1
    contested[1] = 0.75  # of an object that overlaps the surroundings of this one
    assert coding_ease(salient, contested)[beside] == 0.75
