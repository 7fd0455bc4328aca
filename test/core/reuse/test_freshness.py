"""Background refresh: small pieces, the most urgent first, nothing twice, all in the end."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.freshness import FreshnessUpdater, staleness
from fluxshard_core.reuse.level_keys import head_key

KEYS = (1, 2, 4, 8, 16, 32, head_key(8))
SHAPE = (7, 10)


def wish_at(*places: tuple[int, int]) -> np.ndarray:
    wish = np.zeros(SHAPE, np.float32)
    for rank, place in enumerate(places):
        wish[place] = 10 - rank
    return wish


def test_the_most_urgent_cell_comes_first_whole_and_at_every_level() -> None:
    updater = FreshnessUpdater(KEYS, piece_blocks=4)
    first, second = islice(updater.pieces(wish_at((5, 3), (0, 0))), 2)
    assert sorted(first) == sorted(KEYS)
    assert np.argwhere(first[1]).tolist() == [[4, 2], [4, 3], [5, 2], [5, 3]]
    assert np.argwhere(second[1]).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_pieces_cover_all_that_is_wished_for_once() -> None:
    rng = np.random.default_rng(3)
    wish = (rng.uniform(0, 5, SHAPE) * rng.integers(0, 2, SHAPE)).astype(np.float32)
    pieces = [piece[1] for piece in FreshnessUpdater(KEYS, piece_blocks=8).pieces(wish)]
    covered = np.sum(pieces, axis=0)
    assert covered.max() == 1
    assert (covered[wish > 0] == 1).all()
    assert all(piece.sum() <= 8 for piece in pieces)


def test_nothing_to_wish_for_is_no_work() -> None:
    assert list(FreshnessUpdater(KEYS).pieces(wish_at())) == []


def test_a_generator_can_be_dropped_and_a_new_one_starts_from_new_wishes() -> None:
    updater = FreshnessUpdater(KEYS, piece_blocks=4)
    pieces = updater.pieces(wish_at((0, 0), (4, 4)))
    next(pieces)
    pieces.close()
    assert next(updater.pieces(wish_at((4, 4))))[1][4, 4]


def test_the_stalest_and_most_salient_ask_loudest_and_new_blocks_for_nothing() -> None:
    age = np.array([[0, 3, 3, 3, 9]], np.int32)
    cost = np.array([[0.5, 0.0, 0.02, 0.0, 0.0]], np.float32)
    confidence = np.array([[1.0, 0.0, 0.0, 0.9, 0.0]], np.float32)
    wish = staleness(age, cost, confidence)[0]
    assert wish[0] == 0
    assert np.argsort(-wish).tolist() == [3, 4, 2, 1, 0]


@pytest.mark.parametrize(("keys", "blocks"), [((), 4), ((head_key(8),), 4), (KEYS, 0)])
def test_an_updater_that_could_do_nothing_is_refused(keys: tuple[int, ...], blocks: int) -> None:
    with pytest.raises(InputError, match="leave no work"):
        FreshnessUpdater(keys, piece_blocks=blocks)
