"""Which block is critical at which level, one reason at a time."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.classifier import classify, due_ages, grown, too_fast
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.level_keys import head_key, shape_key
from fluxshard_core.reuse.salience import SalientBlocks, SalientRegion

SHAPE = (10, 12)
STRIDES = (2, 4, 8, 16, 32)
CONFIG = ReuseConfig(
    background_threshold=0.1,
    fine_threshold=0.04,
    deep_threshold=0.01,
    fine_stride=8,
    residual_share=0.02,
    reach=0,
    max_age=9,
    new_reach=0,
    fine_ease=0.0,
    deep_ease=0.0,
    head_smallest=2.0,
    head_largest=8.0,
    head_reach=0,
    still_threshold=0.0,
    reach_threshold=0.0,
    shape_confidence=0.5,
    shape_interval=2,
    cut_share=0.5,
)


class Scene:
    """Inputs for which nothing is critical; tests change one thing."""

    def __init__(self) -> None:
        self.cost = np.zeros(SHAPE, np.float32)
        self.salience = SalientBlocks(
            np.zeros(SHAPE, np.float32),
            np.full(SHAPE, np.inf, np.float32),
            np.ones(SHAPE, np.float32),
        )
        self.lost = np.zeros(SHAPE, dtype=bool)
        self.age = np.zeros(SHAPE, np.int32)
        self.residual = {stride: np.zeros(SHAPE, np.float32) for stride in STRIDES}

    def object_at(self, rows: slice, cols: slice, size: float = 100.0) -> None:
        self.salience.confidence[rows, cols] = 0.9
        self.salience.size[rows, cols] = size

    def critical(self, config: ReuseConfig = CONFIG) -> dict[int, list[list[int]]]:
        levels = classify(self.cost, self.salience, self.lost, self.age, self.residual, config)
        assert list(levels) == list(STRIDES)
        return {stride: np.argwhere(blocks).tolist() for stride, blocks in levels.items()}


def test_nothing_changed_nothing_is_critical() -> None:
    scene = Scene()
    scene.object_at(slice(2, 6), slice(2, 6))
    assert not any(scene.critical().values())


@pytest.mark.parametrize("reason", ["lost", "new content", "old"])
def test_outside_objects_a_block_is_critical_at_every_level_or_none(reason: str) -> None:
    scene = Scene()
    scene.cost[...] = 0.1
    scene.age[...] = 8
    due = due_ages(SHAPE, CONFIG.max_age)[3, 4]
    assert not any(scene.critical().values())
    if reason == "lost":
        scene.lost[3, 4] = True
    elif reason == "new content":
        scene.cost[3, 4] = 0.11
    else:
        scene.age[3, 4] = due
    assert scene.critical() == {stride: [[3, 4]] for stride in STRIDES}


@pytest.mark.parametrize(
    ("cost", "levels"), [(0.009, ()), (0.02, (16, 32)), (0.05, STRIDES)], ids=str
)
def test_on_an_object_deep_levels_see_smaller_changes(cost: float, levels: tuple[int, ...]) -> None:
    scene = Scene()
    scene.object_at(slice(2, 6), slice(2, 6))
    scene.cost[3, 4] = cost
    assert {stride for stride, blocks in scene.critical().items() if blocks} == set(levels)


def test_a_residual_matters_by_the_size_of_the_object() -> None:
    scene = Scene()
    scene.residual[16][...] = 3.0
    scene.object_at(slice(0, 1), slice(0, 1), size=149)
    scene.object_at(slice(5, 6), slice(5, 6), size=151)
    assert scene.critical() == {2: [], 4: [], 8: [], 16: [[0, 0]], 32: [[0, 0]]}


def test_what_is_recomputed_with_a_block_stays_on_the_object() -> None:
    scene = Scene()
    scene.object_at(slice(2, 4), slice(2, 8))
    scene.cost[2, 4] = 0.09
    config = ReuseConfig(
        **{f.name: getattr(CONFIG, f.name) for f in fields(CONFIG)} | {"reach": 16}
    )
    assert scene.critical(config)[2] == [[r, c] for r in (2, 3) for c in (3, 4, 5)]


@pytest.mark.parametrize(
    ("cost", "residual", "cols"),
    [(0.05, 0.0, (4,)), (0.05, 0.25, (3, 4, 5)), (0.07, 0.0, (3, 4, 5))],
    ids=["in their place", "moved", "in their place beside a large change"],
)
def test_surroundings_in_their_place_are_spared_unless_the_change_is_large(
    cost: float, residual: float, cols: tuple[int, ...]
) -> None:
    scene = Scene()
    scene.object_at(slice(2, 3), slice(2, 8))
    scene.residual[32][...] = residual
    scene.cost[2, 4] = cost
    config = replace(CONFIG, reach=16, reach_threshold=0.06)
    assert scene.critical(config) == {stride: [[2, col] for col in cols] for stride in STRIDES}


def test_without_any_tolerance_all_that_lies_off_its_place_on_an_object_is_critical() -> None:
    scene = Scene()
    scene.object_at(slice(2, 3), slice(2, 3))
    scene.residual[2][...] = 0.25
    strict = ReuseConfig(residual_share=0.0, reach=0)
    assert scene.critical(strict)[2] == [[2, 2]]


def test_a_certain_object_may_change_more() -> None:
    scene = Scene()
    scene.object_at(slice(2, 6), slice(2, 6))
    scene.cost[3, 3] = 0.05
    easy = replace(CONFIG, fine_ease=0.02)
    assert scene.critical(easy)[2] == []
    scene.salience.ease[...] = 0.4
    assert scene.critical(easy)[2] == [[3, 3]]


@pytest.mark.parametrize(("residual", "levels"), [(0.0, ()), (0.25, STRIDES)], ids=str)
def test_noise_on_content_exactly_in_its_place_is_no_change(
    residual: float, levels: tuple[int, ...]
) -> None:
    scene = Scene()
    scene.object_at(slice(2, 6), slice(2, 6))
    scene.residual[32][...] = residual
    scene.cost[3, 3] = 0.05
    found = scene.critical(replace(CONFIG, still_threshold=0.06))
    assert {stride for stride, blocks in found.items() if blocks} == set(levels)


def test_new_content_brings_its_surroundings() -> None:
    scene = Scene()
    scene.lost[3, 0] = True
    found = scene.critical(replace(CONFIG, new_reach=16))
    assert found[2] == [[r, c] for r in (2, 3, 4) for c in (0, 1)]


def test_blocks_that_were_new_together_come_due_one_after_the_other() -> None:
    due = due_ages((30, 54), 240)
    assert due.min() >= 240
    assert due.max() < 360
    assert np.bincount(due.reshape(-1)).max() <= 30 * 54 / 10


class BranchedScene(Scene):
    """With two heads and a shape branch."""

    def __init__(self) -> None:
        super().__init__()
        for key in (head_key(8), head_key(16), shape_key(4)):
            self.residual[key] = np.zeros(SHAPE, np.float32)
        self.owed: dict[int, np.ndarray] = {}

    def object_of(self, extent: float, trust: float = 0.9) -> None:
        self.object_at(slice(2, 6), slice(2, 6))
        near, covered = np.zeros((2, *SHAPE), dtype=bool)
        near[2:6, 2:6] = covered[3:5, 3:5] = True
        region = SalientRegion(near, covered, covered, extent, trust)
        self.salience = replace(self.salience, regions=(region,))

    def classified(self, config: ReuseConfig = CONFIG) -> dict[int, np.ndarray]:
        return classify(
            self.cost, self.salience, self.lost, self.age, self.residual, config, self.owed
        )


@pytest.mark.parametrize(
    ("extent", "heads"),
    [(10, (8,)), (31, (8,)), (33, (8, 16)), (64, (8, 16)), (65, (16,)), (900, (16,))],
)
def test_a_head_is_recomputed_only_near_objects_of_its_sizes(
    extent: float, heads: tuple[int, ...]
) -> None:
    scene = BranchedScene()
    scene.object_of(extent)
    scene.cost[3, 3] = 0.09
    found = scene.classified()
    assert {stride for stride in (8, 16) if found[head_key(stride)].any()} == set(heads)


def test_a_coarser_head_follows_changes_within_its_reach() -> None:
    scene = BranchedScene()
    scene.object_of(40)
    scene.cost[3, 3] = 0.09
    found = scene.classified(replace(CONFIG, head_reach=2))
    assert np.argwhere(found[head_key(8)]).tolist() == [[3, 3]]
    around = [[r, c] for r in range(1, 6) for c in range(1, 6)]
    assert np.argwhere(found[head_key(16)]).tolist() == around


def test_all_heads_see_new_content() -> None:
    scene = BranchedScene()
    scene.lost[7, 7] = True
    found = scene.classified()
    for stride in (8, 16):
        assert np.argwhere(found[head_key(stride)]).tolist() == [[7, 7]]
    assert not found[shape_key(4)].any()


def test_a_head_catches_up_with_what_it_owes_where_it_is_wanted() -> None:
    scene = BranchedScene()
    scene.object_of(20)
    scene.owed[head_key(8)] = np.zeros(SHAPE, np.int32)
    scene.owed[head_key(8)][3, 3] = scene.owed[head_key(8)][9, 9] = 1
    assert np.argwhere(scene.classified()[head_key(8)]).tolist() == [[3, 3]]


@pytest.mark.parametrize(
    ("owed", "trust", "due"), [(0, 0.9, False), (1, 0.9, True), (1, 0.4, False)]
)
def test_a_shape_is_brought_up_to_date_on_sure_objects_after_some_changes(
    owed: int, trust: float, due: bool
) -> None:
    scene = BranchedScene()
    scene.object_of(64, trust)
    scene.cost[2:6, 2:6] = 0.09
    scene.owed[shape_key(4)] = np.full(SHAPE, owed, np.int32)
    found = scene.classified()[shape_key(4)]
    assert np.argwhere(found).tolist() == ([[r, c] for r in (3, 4) for c in (3, 4)] if due else [])


@pytest.mark.parametrize(("cost", "due"), [(0.09, True), (0.0, False)])
def test_a_shape_that_slipped_is_brought_up_to_date_at_the_next_change(
    cost: float, due: bool
) -> None:
    scene = BranchedScene()
    scene.object_of(64)
    (region,) = scene.salience.regions
    scene.salience = replace(scene.salience, regions=(replace(region, slipped=True),))
    scene.cost[2:6, 2:6] = cost
    found = scene.classified()[shape_key(4)]
    assert np.argwhere(found).tolist() == ([[r, c] for r in (3, 4) for c in (3, 4)] if due else [])


def test_half_a_frame_of_new_content_is_a_cut() -> None:
    scene = Scene()
    scene.lost[:4] = True
    assert len(scene.critical()[2]) == 48
    scene.cost[4] = 0.5
    assert len(scene.critical()[2]) == 120


@given(motion=st.floats(0, 200), contest=st.floats(0, 1))
@example(motion=24.0, contest=0.3)
def test_a_frame_is_too_fast_where_fast_motion_meets_a_contested_class(
    motion: float, contest: float
) -> None:
    salience = replace(Scene().salience, motion=motion, contest=contest)
    config = replace(CONFIG, whole_motion=24.0, contested=0.3)
    assert too_fast(salience, config) == (motion >= 24 and contest >= 0.3)
    assert too_fast(replace(salience, motion=motion + 24, contest=1.0), config)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_deeper_level_never_has_fewer_blocks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = Scene()
    scene.cost[...] = rng.uniform(0, 0.12, SHAPE)
    scene.object_at(slice(1, 8), slice(3, 9), size=float(rng.uniform(20, 300)))
    for residual in scene.residual.values():
        residual[...] = rng.uniform(0, 8, SHAPE)
    found = scene.critical()
    for finer, deeper in pairwise(STRIDES):
        assert {tuple(block) for block in found[finer]} <= {tuple(b) for b in found[deeper]}


@pytest.mark.parametrize(("reach", "side"), [(0, 1), (16, 3), (32, 5)])
def test_growing_adds_a_square_and_stops_at_the_frame(reach: int, side: int) -> None:
    blocks = np.zeros((7, 7), dtype=bool)
    blocks[3, 3] = blocks[0, 0] = True
    expected = np.zeros((7, 7), dtype=bool)
    half = side // 2
    expected[3 - half : 4 + half, 3 - half : 4 + half] = True
    expected[: 1 + half, : 1 + half] = True
    np.testing.assert_array_equal(grown(blocks, reach), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fine_threshold": -0.1}, "fine_threshold"),
        ({"background_threshold": float("nan")}, "background_threshold"),
        ({"reach": 20}, "multiple of 16"),
        ({"max_age": 0}, "max_age"),
        ({"trust_decay": 1.5}, "trust_decay"),
        ({"agreement": 1.1}, "agreement"),
        ({"new_reach": 8}, "new_reach"),
        ({"shape_interval": 0}, "shape_interval"),
        ({"doubtful": 0.9, "certain": 0.8}, "doubtful"),
        ({"weak_interval": 0}, "weak_interval"),
        ({"min_margin": 50.0, "max_margin": 40.0}, "max_margin"),
    ],
)
def test_knobs_that_mean_nothing_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReuseConfig(**change)
