"""An endpoint over whole frames: what a still scene, a moving camera, a newcomer and a cut need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.completion import completed
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.salience import Salience
from fluxshard_core.session import Engine
from fluxshard_core.session.endpoint import Endpoint, Extent, Proposal
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.schedule import BlockScheduler

HEIGHT, WIDTH = 128, 192
NOBODY = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
ONE = np.array([[48, 48, 80, 80]], np.float32), np.array([0.9], np.float32)
Found = tuple[np.ndarray, np.ndarray]


# Nothing is recomputed but what changed itself, alike on every object.
SIMPLE = ReuseConfig(
    new_reach=0, fine_threshold=0.03, deep_threshold=0.01, fine_ease=0.0, deep_ease=0.0
)


def scenery() -> np.ndarray:
    rng = np.random.default_rng(2)
    noise = rng.uniform(0, 255, (20, 30, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (320, 240)), 0, 255).astype(np.uint8)


def view(dx: int = 0) -> np.ndarray:
    return np.ascontiguousarray(scenery()[32 : 32 + HEIGHT, 64 - dx : 64 - dx + WIDTH])


def pan(dx: int) -> MotionField:
    """The whole frame moves ``dx`` pixels to the right."""
    motion = MotionField.zero(HEIGHT, WIDTH)
    motion.vectors[..., 0] = 4 * dx
    return motion


class Robot:
    """An endpoint and the results it is told; nothing is computed."""

    def __init__(self, plan: Plan, config: ReuseConfig | None = None) -> None:
        self.config = config or SIMPLE
        self.endpoint = Endpoint(BlockScheduler(plan), plan.strides, (HEIGHT, WIDTH))
        self.salience = Salience(self.config)

    def propose(
        self, image: np.ndarray, motion: MotionField, extent: Extent = Extent.CRITICAL
    ) -> Proposal:
        motion = completed(motion)
        self.salience.follow(motion)
        self.endpoint.absorb(motion)
        salient = self.salience.blocks(HEIGHT // 16, WIDTH // 16)
        return self.endpoint.extended(self.endpoint.propose(image, salient, self.config), extent)

    def step(
        self, image: np.ndarray, motion: MotionField, found: Found = NOBODY
    ) -> dict[int, np.ndarray]:
        proposal = self.propose(image, motion)
        self.endpoint.settle(proposal, proposal.composed(image))
        self.salience.update(*found)
        return proposal.levels


@pytest.fixture(scope="module")
def plan(random_engine: Callable[[str], Engine]) -> Plan:
    return random_engine("yolo11n").plan(HEIGHT, WIDTH)


@pytest.fixture
def started(plan: Plan) -> Any:
    def start(found: Found = NOBODY, config: ReuseConfig | None = None) -> Robot:
        robot = Robot(plan, config)
        blocks = robot.step(view(), MotionField.invalid(HEIGHT, WIDTH), found)
        assert all(wanted.all() for wanted in blocks.values())
        return robot

    return start


@pytest.mark.parametrize("found", [NOBODY, ONE], ids=["empty", "with an object"])
def test_a_still_scene_costs_nothing(started: Any, found: Found) -> None:
    robot = started(found)
    for _ in range(3):
        blocks = robot.step(view(), pan(0), found)
        assert not any(wanted.any() for wanted in blocks.values())


def test_a_moving_camera_costs_what_enters(started: Any) -> None:
    robot = started()
    for frame in range(1, 5):
        blocks = robot.step(view(4 * frame), pan(4))
        for wanted in blocks.values():
            assert np.flatnonzero(wanted.any(axis=0)).tolist() == [0]


def test_deep_levels_of_an_object_that_moves_are_recomputed(started: Any) -> None:
    robot = started(ONE, replace(SIMPLE, residual_share=0.05))
    blocks = robot.step(view(4), pan(4), ONE)
    assert blocks[32][3:5, 3:5].all()
    assert not blocks[4][3:5, 3:5].any()


def test_a_newcomer_is_critical_where_it_appears_and_only_once(started: Any) -> None:
    robot = started()
    image = view()
    image[40:60, 100:130] = 255
    blocks = robot.step(image, pan(0))
    assert blocks[2][3, 7]
    assert not blocks[2][:2].any()
    blocks = robot.step(image, pan(0))
    assert not blocks[32].any()


def test_slow_fading_is_seen_once_it_adds_up(started: Any) -> None:
    """The reference is what the cache came from, not the last frame."""
    robot = started(config=replace(SIMPLE, background_threshold=0.1))
    critical = []
    for frame in range(1, 8):
        image = np.clip(view().astype(int) // 2 + 60 + 5 * frame, 0, 255).astype(np.uint8)
        if frame == 1:
            robot.endpoint.reset()
        critical.append(bool(robot.step(image, pan(0))[2].all()))
    assert critical == [True, False, False, False, False, False, True]


def test_a_cut_makes_everything_critical(started: Any) -> None:
    robot = started()
    blocks = robot.step(255 - view(), pan(0))
    assert all(wanted.all() for wanted in blocks.values())


@pytest.mark.parametrize(("contest", "fast"), [(0.3, True), (0.29, False)])
def test_a_frame_too_fast_for_contested_objects_is_whole_and_no_cut(
    started: Any, contest: float, fast: bool
) -> None:
    robot = started(config=replace(SIMPLE, whole_motion=32.0, contested=0.3))
    robot.salience.follow(pan(32))
    robot.endpoint.absorb(pan(32))
    salient = replace(robot.salience.blocks(HEIGHT // 16, WIDTH // 16), contest=contest)
    proposal = robot.endpoint.propose(view(32), salient, robot.config)
    assert (proposal.dense_reason != "") == fast
    assert all(blocks.all() for blocks in proposal.levels.values()) == fast
    assert proposal.pixels.all() == fast
    assert (proposal.critical_ratio == 1) == fast
    assert np.flatnonzero(proposal.important.any(axis=0)).tolist() == [0, 1]
    assert not proposal.cut
    extended = robot.endpoint.extended(proposal, Extent.WHOLE)
    assert extended.pixels.all() == fast, "computing more takes no pixels away"
    robot.endpoint.settle(proposal, proposal.composed(view(32)))
    view_now = robot.endpoint.view()
    assert (view_now.reference.age == 0).all() == fast


def test_blocks_without_a_vector_that_match_all_the_same_are_reused(started: Any) -> None:
    robot = started()
    motion = pan(16)
    motion.valid[2:6, 4:8] = False
    proposal = robot.propose(view(16), motion)
    blocks = proposal.blocks
    assert proposal.motion.valid[:, 1:].all()
    assert np.flatnonzero(blocks[2].any(axis=0)).tolist() == [0]


def test_after_a_reset_everything_is_critical(started: Any) -> None:
    robot = started()
    robot.endpoint.reset()
    assert all(w.all() for w in robot.step(view(), pan(0)).values())


def test_motion_of_frames_that_ran_elsewhere_adds_up(started: Any) -> None:
    """The other side runs three frames of a pan; this one then needs what entered in all four."""
    robot = started()
    for frame in range(1, 4):
        robot.propose(view(4 * frame), pan(4))
    blocks = robot.step(view(16), pan(4))
    for wanted in blocks.values():
        assert np.flatnonzero(wanted.any(axis=0)).tolist() == [0]


def test_an_endpoint_sees_only_the_critical_blocks_of_a_frame(started: Any) -> None:
    robot = started()
    image = view()
    image[40:60, 100:130] = 255
    noisy = image ^ np.random.default_rng(0).integers(0, 4, image.shape, dtype=np.uint8)
    proposal = robot.propose(noisy, pan(0))
    seen = proposal.composed(noisy)
    critical = proposal.critical.repeat(16, axis=0).repeat(16, axis=1)
    assert 0 < critical.mean() < 0.2
    assert np.array_equal(seen[critical], noisy[critical])
    assert np.array_equal(seen[~critical], view()[~critical])


def test_without_reuse_every_frame_is_whole(plan: Plan) -> None:
    endpoint = Endpoint(BlockScheduler(plan), plan.strides, (HEIGHT, WIDTH))
    salient = Salience(ReuseConfig()).blocks(HEIGHT // 16, WIDTH // 16)
    for reason in ("first frame", "reuse is off", "reuse is off"):
        proposal = endpoint.propose(view(), salient, None)
        endpoint.settle(proposal, proposal.composed(view()))
        assert proposal.dense_reason == reason
        assert proposal.critical.all()


def test_a_stream_brings_all_pixels_and_still_says_which_are_important(plan: Plan) -> None:
    streamed, usual = Robot(plan), Robot(plan)
    for frame in range(4):
        image = view(4 * frame)
        motion = pan(4) if frame else MotionField.invalid(HEIGHT, WIDTH)
        stream = streamed.propose(image, motion, Extent.STREAM)
        critical = usual.propose(image, motion)
        assert stream.pixels.all()
        assert stream.whole.all(), "nothing of it need be moved"
        np.testing.assert_array_equal(stream.important, critical.critical)
        assert stream.composed(image) is image
        for robot, proposal in ((streamed, stream), (usual, critical)):
            robot.endpoint.settle(proposal, proposal.composed(image))
        assert not streamed.endpoint.view().reference.age.any()
    assert not stream.important.all()


def test_a_frame_computed_whole_takes_no_more_pixels_and_goes_on_counting_their_age(
    plan: Plan,
) -> None:
    """Of a pan only what enters is taken, and what is left is taken anew when it is old."""
    ageing = replace(SIMPLE, max_age=10)
    parted, usual = Robot(plan, ageing), Robot(plan, ageing)
    for frame in range(14):
        image = view(4 * frame)
        motion = pan(4) if frame else MotionField.invalid(HEIGHT, WIDTH)
        whole, critical = parted.propose(image, motion, Extent.WHOLE), usual.propose(image, motion)
        assert whole.schedule.compute_ratio == 1
        assert all(blocks.all() for blocks in whole.levels.values())
        np.testing.assert_array_equal(whole.pixels, critical.critical)
        np.testing.assert_array_equal(whole.whole, whole.pixels)
        assert whole.critical_ratio == critical.schedule.compute_ratio
        assert whole.dense_reason
        assert bool(critical.dense_reason) == (frame == 0)
        for robot, proposal in ((parted, whole), (usual, critical)):
            robot.endpoint.settle(proposal, proposal.composed(image))
        ages, same_ages = (robot.endpoint.view().reference.age for robot in (parted, usual))
        np.testing.assert_array_equal(ages, same_ages)
    assert whole.pixels[:, 2:].any(), "nothing grew old"
